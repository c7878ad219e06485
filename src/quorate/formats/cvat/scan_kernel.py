"""The compiled part of `scanning`: pictures, boxes and attributes out of the bytes of CVAT XML."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from quorate.compiled import kernel

FIELDS = (
    "image", "label", "source", "occluded", "z_order", "group_id", "start", "end",
)  # fmt: skip
"""The columns of a shape; `end` is 0 for a box, else the shape is the bytes start:end."""

_SPACE, _TAB, _LINE = 32, 9, 10
_LT, _GT, _QUOTE, _SLASH, _EQUALS, _AMP = 60, 62, 34, 47, 61, 38
_MINUS, _PLUS, _DOT, _ZERO, _NINE = 45, 43, 46, 48, 57


def _coded(word: bytes) -> int:
    """A name of up to nine ASCII characters as one number, as `_word` computes it."""
    code = 0
    for character in word:
        code = code << 7 | character
    return code


_IMAGE, _BOX, _ATTRIBUTE = _coded(b"image"), _coded(b"box"), _coded(b"attribute")
_NAME, _SUBSET, _ID = _coded(b"name"), _coded(b"subset"), _coded(b"id")
_WIDTH, _HEIGHT = _coded(b"width"), _coded(b"height")
_LABEL, _SOURCE, _OCCLUDED = _coded(b"label"), _coded(b"source"), _coded(b"occluded")
_Z_ORDER, _GROUP_ID, _ROTATION = _coded(b"z_order"), _coded(b"group_id"), _coded(b"rotation")
_XTL, _YTL, _XBR, _YBR = _coded(b"xtl"), _coded(b"ytl"), _coded(b"xbr"), _coded(b"ybr")


@njit(inline="always")
def _skip(data: Any, at: int) -> int:
    """Past white space."""
    while at < len(data) and (
        data[at] == _SPACE or data[at] == _LINE or data[at] == _TAB or data[at] == 13
    ):
        at += 1
    return at


@njit(inline="always")
def _word(data: Any, at: int) -> tuple[int, int]:
    """Past a name; and the name as a number, 0 where it is too long for one."""
    start = at
    code = 0
    while at < len(data):
        c = data[at]
        if not (97 <= c <= 122 or 65 <= c <= 90 or _ZERO <= c <= _NINE or c == 95 or c == _MINUS):
            break
        code = code << 7 | c
        at += 1
    return at, code if at - start <= 9 else 0


@njit
def _number(data: Any, start: int, end: int) -> tuple[float, bool]:
    """A plain decimal number, exactly as Python reads it; False where it is not plain.

    At most 15 digits over a power of ten up to 10^22 are both exact, so their quotient is right.
    """
    at = start
    sign = 1.0
    if at < end and (data[at] == _MINUS or data[at] == _PLUS):
        if data[at] == _MINUS:
            sign = -1.0
        at += 1
    mantissa, digits, scale = 0, 0, 1.0
    dot = False
    while at < end:
        c = data[at]
        if c == _DOT and not dot:
            dot = True
        elif _ZERO <= c <= _NINE:
            mantissa = mantissa * 10 + (c - _ZERO)
            digits += 1
            if dot:
                scale *= 10.0
        else:
            return 0.0, False
        at += 1
    if digits == 0 or digits > 15:
        return 0.0, False
    return sign * (mantissa / scale), True


@njit
def _intern(data: Any, start: int, end: int, strings: Any, table: Any, count: int) -> int:
    """The number of a string among those seen; equal to `count` where it is new."""
    code = np.uint64(14695981039346656037)
    for at in range(start, end):
        code = (code ^ np.uint64(data[at])) * np.uint64(1099511628211)
    mask = len(table) - 1
    code = (code ^ (code >> np.uint64(32))) * np.uint64(11400714819323198485)
    slot: int = np.int64(code >> np.uint64(40)) & mask  # type: ignore[assignment]
    while table[slot] != 0:
        known = table[slot] - 1
        other = strings[known, 0]
        if strings[known, 1] - other == end - start:
            same = True
            for i in range(end - start):
                if data[other + i] != data[start + i]:
                    same = False
                    break
            if same:
                return int(known)
        slot = (slot + 1) & mask
    table[slot] = count + 1
    strings[count, 0], strings[count, 1] = start, end
    return count


@njit
def _key(data: Any, at: int) -> tuple[int, int, int]:
    """One `key="value"`: the key as a number, start and end of the value; -1 where not plain."""
    start = at
    at, code = _word(data, at)
    if at == start or at + 1 >= len(data) or data[at] != _EQUALS or data[at + 1] != _QUOTE:
        return -1, 0, 0
    at += 2
    value = at
    while at < len(data) and data[at] != _QUOTE:
        if data[at] < _SPACE or data[at] == _LT:
            return -1, 0, 0
        at += 1
    if at >= len(data):
        return -1, 0, 0
    return code, value, at


@njit
def _end_of(data: Any, start: int, name: int) -> int:
    """Past the element that starts at `start`, its name ending at `name`; -1 if it never ends."""
    at = name
    while at < len(data) and data[at] != _GT:
        if data[at] == _QUOTE:
            at += 1
            while at < len(data) and data[at] != _QUOTE:
                at += 1
        at += 1
    if at >= len(data):
        return -1
    if data[at - 1] == _SLASH:
        return at + 1
    length = name - start - 1
    while at + length + 2 < len(data):
        if data[at] == _LT and data[at + 1] == _SLASH and data[at + 2 + length] == _GT:
            same = True
            for i in range(length):
                if data[at + 2 + i] != data[start + 1 + i]:
                    same = False
                    break
            if same:
                return at + length + 3
        if data[at] == _LT and data[at + 1] == 33:
            return -1
        at += 1
    return -1


@kernel
def scan(
    data: Any,
    strings: Any,
    pictures: Any,
    shapes: Any,
    numbers: Any,
    attributes: Any,
    table: Any,
) -> tuple[int, int, int, int]:
    """Fill the arrays from the bytes of whole `<image>` elements.

    Args:
        data: uint8 (bytes,).
        strings: int64 (…, 2), start and end of each different string.
        pictures: int64 (…, 5), name and subset (numbers of strings), id, width, height; -1: none.
        shapes: int64 (…, 8), see `FIELDS`.
        numbers: float64 (…, 5), x1, y1, x2, y2, rotation.
        attributes: int64 (…, 3), shape, name, value (numbers of strings).
        table: int32 (a power of two,), zeros; small ones stay in the processor's cache.

    Returns:
        How many strings, pictures, shapes and attributes; the first is -1 where the bytes are not
        plain, -2 where the table is too small.
    """
    n_strings = n_pictures = n_shapes = n_attributes = 0
    bad = (-1, 0, 0, 0)
    at = 0
    depth = 0  # 0 between pictures, 1 in a picture, 2 in a box
    while True:
        if 2 * n_strings + 8 > len(table):
            return (-2, 0, 0, 0)
        at = _skip(data, at)
        if at >= len(data):
            return (n_strings, n_pictures, n_shapes, n_attributes) if depth == 0 else bad
        if data[at] != _LT or at + 1 >= len(data):
            return bad
        if data[at + 1] == _SLASH:
            end, word = _word(data, at + 2)
            if end >= len(data) or data[end] != _GT:
                return bad
            if (depth == 1 and word == _IMAGE) or (depth == 2 and word == _BOX):
                depth -= 1
            else:
                return bad
            at = end + 1
            continue
        start = at
        name, word = _word(data, at + 1)
        image = depth == 0 and word == _IMAGE
        box = depth == 1 and word == _BOX
        attribute = depth == 2 and word == _ATTRIBUTE
        if depth == 1 and not box:
            end = _end_of(data, start, name)
            if end < 0 or name == start + 1:
                return bad
            shapes[n_shapes, :] = 0
            numbers[n_shapes, :] = 0.0
            shapes[n_shapes, 0] = n_pictures - 1
            shapes[n_shapes, 6], shapes[n_shapes, 7] = start, end
            n_shapes += 1
            at = end
            continue
        if not (image or box or attribute):
            return bad
        if image:
            pictures[n_pictures, 0] = pictures[n_pictures, 1] = pictures[n_pictures, 2] = -1
            pictures[n_pictures, 3] = pictures[n_pictures, 4] = 0
            n_pictures += 1
        elif box:
            shapes[n_shapes, :] = 0
            numbers[n_shapes, :] = 0.0
            shapes[n_shapes, 0] = n_pictures - 1
            shapes[n_shapes, 1] = shapes[n_shapes, 2] = -1
            n_shapes += 1
        corners = 0
        attribute_name = -1
        at = name
        while True:
            before = at
            at = _skip(data, at)
            if at + 1 >= len(data):
                return bad
            if data[at] == _GT or data[at] == _SLASH:
                break
            if at == before:
                return bad
            key, value, end = _key(data, at)
            if key < 0:
                return bad
            at = end + 1
            row = n_shapes - 1
            if key in (_NAME, _SUBSET, _LABEL, _SOURCE):
                if box != (key in (_LABEL, _SOURCE)) or (attribute and key != _NAME):
                    continue  # a key that means nothing here
                code = _intern(data, value, end, strings, table, n_strings)
                n_strings += code == n_strings
                # A key that stands twice is no XML; it would also overflow `strings`.
                if image:
                    column = 0 if key == _NAME else 1
                    if pictures[n_pictures - 1, column] >= 0:
                        return bad
                    pictures[n_pictures - 1, column] = code
                elif box:
                    column = 1 if key == _LABEL else 2
                    if shapes[row, column] >= 0:
                        return bad
                    shapes[row, column] = code
                else:
                    if attribute_name >= 0:
                        return bad
                    attribute_name = code
                continue
            place = -1
            column = 0
            if box:
                if key == _XTL:
                    place = 0
                elif key == _YTL:
                    place = 1
                elif key == _XBR:
                    place = 2
                elif key == _YBR:
                    place = 3
                elif key == _ROTATION:
                    place = 4
                elif key == _OCCLUDED:
                    column = 3
                elif key == _Z_ORDER:
                    column = 4
                elif key == _GROUP_ID:
                    column = 5
            elif image:
                if key == _ID:
                    column = 2
                elif key == _WIDTH:
                    column = 3
                elif key == _HEIGHT:
                    column = 4
            if place < 0 and not column:
                continue
            number, fine = _number(data, value, end)
            if not fine:
                return bad
            if place >= 0:
                numbers[row, place] = number
                corners |= 1 << place
            elif number != np.floor(number) or abs(number) > 2147483647:
                return bad
            elif box:
                shapes[row, column] = np.int64(number)
            elif number < 0:
                return bad
            else:
                pictures[n_pictures - 1, column] = np.int64(number)
        closed = data[at] == _SLASH
        if closed:
            at += 1
            if data[at] != _GT:
                return bad
        at += 1
        if image:
            if pictures[n_pictures - 1, 0] < 0:
                return bad
            depth = 0 if closed else 1
        elif box:
            if corners & 15 != 15 or shapes[n_shapes - 1, 1] < 0:
                return bad
            depth = 1 if closed else 2
        else:
            value = at
            if attribute_name < 0 or closed:
                return bad
            while at < len(data) and data[at] != _LT:
                if data[at] < _SPACE and data[at] != _LINE and data[at] != _TAB:
                    return bad
                at += 1
            if at + 1 >= len(data) or data[at + 1] != _SLASH:
                return bad
            end, word = _word(data, at + 2)
            if end >= len(data) or data[end] != _GT or word != _ATTRIBUTE:
                return bad
            code = _intern(data, value, at, strings, table, n_strings)
            n_strings += code == n_strings
            attributes[n_attributes, 0] = n_shapes - 1
            attributes[n_attributes, 1] = attribute_name
            attributes[n_attributes, 2] = code
            n_attributes += 1
            at = end + 1
