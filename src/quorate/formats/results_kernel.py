"""The compiled part of `coco_results`: columns out of the bytes of a results list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from quorate.compiled import kernel

X, Y, WIDTH, HEIGHT, SCORE, VOTES, AGREEMENT = range(7)
"""The columns of a detection's numbers."""

CUT, STRANGE, FULL, CLOSED = range(4)
"""Why a scan ended: in the middle of a detection, before one that it cannot read, because there
are too many numbers for Python, at the end of the list."""

_OK, _HARD, _NONE, _END = range(4)
_QUOTE, _COMMA, _COLON, _MINUS, _PLUS, _DOT = 34, 44, 58, 45, 43, 46
_OPEN, _SHUT, _BEGIN, _ENDING, _BACKSLASH = 91, 93, 123, 125, 92
_POWERS = np.array([float(f"1e{i}") for i in range(23)])
_EXACT = np.uint64(1 << 53)


def _packed(word: bytes) -> tuple[int, int]:
    """A name of up to 16 bytes as two numbers, as `_key` computes them."""
    low, high = word[:8], word[8:]
    return int.from_bytes(low, "big"), int.from_bytes(high, "big")


_IMAGE_ID, _CATEGORY_ID = _packed(b"image_id"), _packed(b"category_id")
_BBOX, _SCORE = _packed(b"bbox")[0], _packed(b"score")[0]
_VOTES, _AGREEMENT = _packed(b"votes")[0], _packed(b"agreement")


@kernel
def scan(
    data: Any,
    at: int,
    first: bool,
    ids: Any,
    numbers: Any,
    image_spans: Any,
    category_spans: Any,
    table: Any,
    hard: Any,
) -> tuple[int, int, int, int, int, int]:
    """Read detections from `data[at:]`: whole objects of the four keys and plain others.

    Args:
        data: uint8 (b,) JSON, read-only.
        at: where to begin: at the comma behind a detection, or at the `first` of the list.
        first: whether there is none before.
        ids: int32 (n, 2), to be filled with positions in the spans.
        numbers: float64 (n, 7), likewise; see `X` and so on.
        image_spans: int64 (n + 1, 2), the different image ids by the bytes they stand in.
        category_spans: int64 (n + 1, 2), likewise.
        table: int32 (2, t), zeros; t a power of two above 2 n.
        hard: int64 (h, 4), numbers left to Python: row, column, first and last byte.

    Returns how many detections, where it ended and why, how many image spans, category spans and
    hard numbers. A detection that is not plain is left to a reader of all JSON, and so is saying
    what is wrong with one.
    """
    end = len(data)
    row = images = categories = hards = 0
    image = category = 0
    while True:
        begin = at
        at = _skip(data, at)
        if at == end:
            return row, begin, CUT, images, categories, hards
        if data[at] == _SHUT:
            return row, begin, CLOSED, images, categories, hards
        if not first or row > 0:
            if data[at] != _COMMA:
                return row, begin, STRANGE, images, categories, hards
            at = _skip(data, at + 1)
        if at == end:
            return row, begin, CUT, images, categories, hards
        if data[at] != _BEGIN or row == len(ids):
            return row, begin, STRANGE, images, categories, hards
        if hards + 8 > len(hard):
            return row, begin, FULL, images, categories, hards
        numbers[row, VOTES] = numbers[row, AGREEMENT] = 1.0
        seen = 0
        hards_before = hards
        state = CLOSED
        while True:
            at = _skip(data, at + 1)  # past the brace or the comma
            low, high, at = _key(data, at)
            if at < 0:
                state = STRANGE if at == -1 else CUT
                break
            at = _skip(data, at)
            if at == end or data[at] != _COLON:
                state = CUT if at == end else STRANGE
                break
            at = _skip(data, at + 1)
            if at == end:
                state = CUT
                break
            column = -1
            if low == _IMAGE_ID[0] and high == _IMAGE_ID[1]:
                start = at
                at = _token(data, at)
                if at > 0 and not _same(data, start, at, image_spans, image, images):
                    image = _intern(data, start, at, image_spans, table[0], images)
                    images += int(image == images)
                seen |= 1
            elif low == _CATEGORY_ID[0] and high == _CATEGORY_ID[1]:
                start = at
                at = _token(data, at)
                if at > 0:
                    category = _intern(data, start, at, category_spans, table[1], categories)
                    categories += int(category == categories)
                seen |= 2
            elif low == _BBOX and high == 0:
                at, hards = _box(data, at, numbers[row], row, hard, hards)
                seen |= 4
            else:
                if low == _SCORE and high == 0:
                    column = SCORE
                    seen |= 8
                elif low == _VOTES and high == 0:
                    column = VOTES
                elif low == _AGREEMENT[0] and high == _AGREEMENT[1]:
                    column = AGREEMENT
                if column < 0:
                    at = _token(data, at)
                else:
                    start = at
                    value, at, kind = _number(data, at)
                    numbers[row, column] = value
                    if kind == _HARD:
                        hard[hards, 0], hard[hards, 1] = row, column
                        hard[hards, 2], hard[hards, 3] = start, at
                        hards += 1
                    elif kind != _OK:
                        at = -1 if kind == _NONE else -2
            if at < 0 or hards + 5 > len(hard):
                state = CUT if at == -2 else STRANGE
                break
            at = _skip(data, at)
            if at == end:
                state = CUT
                break
            if data[at] == _ENDING:
                break
            if data[at] != _COMMA:
                state = STRANGE
                break
        if state == CLOSED and seen != 15:
            state = STRANGE
        if state != CLOSED:
            return row, begin, state, images, categories, hards_before
        ids[row, 0], ids[row, 1] = image, category
        row += 1
        at += 1


@njit(inline="always")
def _skip(data: Any, at: int) -> int:
    """Past white space."""
    while at < len(data) and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@njit(inline="always")
def _key(data: Any, at: int) -> tuple[int, int, int]:
    """A key as two numbers, and where it ends; -1 for none that is plain, -2 at the end."""
    low = high = size = 0
    if at == len(data):
        return 0, 0, -2
    if data[at] != _QUOTE:
        return 0, 0, -1
    at += 1
    while at < len(data):
        c = data[at]
        if c == _QUOTE:
            return low, high, at + 1
        if c == _BACKSLASH or c < 32:
            return 0, 0, -1
        if size < 8:
            low = low << 8 | c
        elif size < 15:
            high = high << 8 | c
        else:
            high = -1  # too long for any that is known
        size += 1
        at += 1
    return 0, 0, -2


@njit
def _token(data: Any, at: int) -> int:
    """Past a plain string, number, true, false or null; -1 for anything else, -2 at the end."""
    if data[at] == _QUOTE:
        at += 1
        while at < len(data):
            c = data[at]
            if c == _QUOTE:
                return at + 1
            if c == _BACKSLASH or c < 32:
                return -1
            at += 1
        return -2
    start = at
    while at < len(data) and 97 <= data[at] <= 122:
        at += 1
    if at == len(data):
        return -2
    if at > start:
        size, letter = at - start, data[start]
        if (size == 5 and letter == 102) or (size == 4 and letter in (110, 116)):
            return at
        return -1
    _, at, kind = _number(data, at)
    return -1 if kind == _NONE else -2 if kind == _END else at


@njit
def _number(data: Any, at: int) -> tuple[float, int, int]:
    """A number of JSON, where it ends, and whether it was read.

    Up to 19 digits over a power of ten up to 10^22 come out as Python reads them: a quotient of
    two exact numbers, or else one whose rounding error is put right (Dekker 1971).
    """
    end = len(data)
    negative: Any = at < end and data[at] == _MINUS
    at += negative
    start = at
    mantissa = np.uint64(0)
    digits, places = 0, 0
    while at < end and 48 <= data[at] <= 57:
        if digits < 19:
            mantissa = mantissa * np.uint64(10) + np.uint64(data[at] - 48)
        digits += int(mantissa > 0)
        at += 1
    if at == end:
        return 0.0, at, _END
    if at == start or (data[start] == 48 and at > start + 1):
        return 0.0, at, _NONE
    if data[at] == _DOT:
        at += 1
        dot = at
        while at < end and 48 <= data[at] <= 57:
            if digits < 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(data[at] - 48)
            digits += int(mantissa > 0)
            at += 1
        if at == end:
            return 0.0, at, _END
        places = at - dot
        if places == 0:
            return 0.0, at, _NONE
    if data[at] == 101 or data[at] == 69:
        at += 1
        below = at < end and data[at] == _MINUS
        at += at < end and (data[at] == _MINUS or data[at] == _PLUS)
        start, exponent = at, 0
        while at < end and 48 <= data[at] <= 57:
            exponent = min(exponent * 10 + (data[at] - 48), 10000)
            at += 1
        if at == end:
            return 0.0, at, _END
        if at == start:
            return 0.0, at, _NONE
        places += exponent if below else -exponent
    if digits > 19 or places > 22 or places < 0:
        return 0.0, at, _HARD
    value = np.float64(mantissa)
    scale = _POWERS[places]
    quotient = value / scale
    if mantissa > _EXACT:
        low = np.float64(np.int64(mantissa - np.uint64(value)))
        product = quotient * scale
        split = quotient * 134217729.0
        q_high = split - (split - quotient)
        q_low = quotient - q_high
        split = scale * 134217729.0
        s_high = split - (split - scale)
        s_low = scale - s_high
        error = ((q_high * s_high - product) + q_high * s_low + q_low * s_high) + q_low * s_low
        quotient += (((value - product) - error) + low) / scale
    return -quotient if negative else quotient, at, _OK


@njit
def _box(data: Any, at: int, numbers: Any, row: int, hard: Any, hards: int) -> tuple[int, int]:
    """Past `[x, y, w, h]`, which is put into `numbers`; and how many numbers are hard."""
    if data[at] != _OPEN:
        return -1, hards
    for column in range(4):
        at = _skip(data, at + 1)
        start = at
        value, at, kind = _number(data, at)
        if kind in (_NONE, _END):
            return -1 if kind == _NONE else -2, hards
        numbers[column] = value
        if kind == _HARD:
            hard[hards, 0], hard[hards, 1] = row, column
            hard[hards, 2], hard[hards, 3] = start, at
            hards += 1
        at = _skip(data, at)
        if at == len(data):
            return -2, hards
        if data[at] != (_SHUT if column == 3 else _COMMA):
            return -1, hards
    return at + 1, hards


@njit(inline="always")
def _same(data: Any, start: int, end: int, spans: Any, known: int, count: int) -> bool:
    """Whether the bytes are those of a known span."""
    if known >= count or spans[known, 1] - spans[known, 0] != end - start:
        return False
    other = spans[known, 0]
    for i in range(end - start):  # noqa: SIM110  numba has no generators within functions
        if data[other + i] != data[start + i]:
            return False
    return True


@njit
def _intern(data: Any, start: int, end: int, spans: Any, table: Any, count: int) -> int:
    """The number of a string of bytes among those seen; `count` where it is new, and now seen."""
    code = np.uint64(14695981039346656037)
    for at in range(start, end):
        code = (code ^ np.uint64(data[at])) * np.uint64(1099511628211)
    code = (code ^ (code >> np.uint64(32))) * np.uint64(11400714819323198485)
    mask = len(table) - 1
    slot: Any = np.int64(code >> np.uint64(33)) & mask
    while table[slot] != 0:
        known = table[slot] - 1
        if _same(data, start, end, spans, known, count):
            return int(known)
        slot = (slot + 1) & mask
    table[slot] = count + 1
    spans[count, 0], spans[count, 1] = start, end
    return count
