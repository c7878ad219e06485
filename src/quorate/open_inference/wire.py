"""How much memory a request over gRPC takes once it is read: many small values take far more.

Source: protobuf.dev/programming-guides/encoding; the fields are those of ModelInferRequest, whose
`inputs` and whose tensors' `contents` both have the number 5.
"""

from __future__ import annotations

INSIDE = 5
"""The field that holds messages in a request, and in a tensor of it."""
CONTENTS = 2
"""How deep the numbers are: in a tensor's contents, in a tensor, in a request."""
WIDTHS = {6: 4, 7: 8}
"""Bytes of each number in fp32_contents and fp64_contents."""
TEXTS = 8
"""The field bytes_contents."""
OBJECT, ELEMENT, NUMBER = 512, 128, 40
"""About how many bytes a field, an element of BYTES and a number take as objects, at most."""
PART = 1 << 20
_GOES_ON = bytes(range(128, 256))
"""The bytes of a whole number that have another behind them."""


def expanded(data: bytes, most: int) -> int:
    """About how many bytes the values of a ModelInferRequest take, beside its own.

    It is counted no further than `most`, and of what is no such message to where that shows.
    """
    total, at, ends = 0, 0, [len(data)]
    try:
        while at < len(data) and total <= most:
            while at >= ends[-1]:
                ends.pop()
            depth = len(ends) - 1
            total += ELEMENT if depth == CONTENTS else OBJECT
            tag, at = _number(data, at)
            field, kind = tag >> 3, tag & 7
            if kind == 2:
                length, at = _number(data, at)
                if depth < CONTENTS and field == INSIDE:
                    ends.append(at + length)
                    continue
                if depth == CONTENTS and field != TEXTS:
                    total += NUMBER * _count(data, at, at + length, field)
                at += length
            elif kind == 0:
                _, at = _number(data, at)
            else:
                at += {1: 8, 5: 4}.get(kind, 0)
    except IndexError:  # cut short, or lengths that do not fit
        pass
    return total


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A whole number, of 64 bits at most, and where it ends; IndexError where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError


def _count(data: bytes, start: int, end: int, field: int) -> int:
    """How many numbers a packed field holds."""
    if field in WIDTHS:
        return (end - start) // WIDTHS[field]
    end = min(end, len(data))
    parts = (data[i : min(i + PART, end)] for i in range(start, end, PART))
    return sum(len(part.translate(None, _GOES_ON)) for part in parts)
