"""The pictures of a request: files in a tensor of BYTES, or pixels in one of UINT8."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate import pictures
from quorate.errors import DetectorError, ImageError
from quorate.open_inference.tensors import elements, flat
from quorate.serving.values import Given, Limits, Refused, Request, TensorInfo, Why

NAME = "image"
INPUTS = (TensorInfo(NAME, "BYTES", (-1,)),)
"""What metadata tell; pixels are taken under the same name."""
HOW = (
    f"send one tensor '{NAME}': BYTES [n] with n files, such as JPEG or PNG, or UINT8 [n, height, "
    "width, 3] or [n, 3, height, width] with RGB pixels"
)


def pictures_of(request: Request, limits: Limits) -> list[bytes | NDArray[np.uint8]]:
    """The pictures of a request, in order; Refused, with a sentence, for anything else.

    A file's size is read from its header here, so that none is decoded that is too large.
    """
    if [one.name for one in request.inputs] != [NAME]:
        names = ", ".join(f"'{one.name}'" for one in request.inputs) or "none"
        raise _invalid(f"The inputs are {names}; {HOW}.")
    [given] = request.inputs
    if given.datatype not in ("BYTES", "UINT8"):
        raise _invalid(f"'{NAME}' is of datatype {given.datatype}; {HOW}.")
    if any(size < 0 for size in given.shape):
        raise _invalid(f"'{NAME}' has the shape {[*given.shape]}.")
    count = given.shape[0] if given.shape and given.datatype == "UINT8" else prod(given.shape)
    if not given.shape or not count:
        raise _invalid(f"'{NAME}' of shape {[*given.shape]} holds no picture; {HOW}.")
    if count > limits.pictures:
        raise _invalid(f"{count} pictures are more than {limits.pictures}, the most in a request.")
    try:
        found = _files(given) if given.datatype == "BYTES" else _pixels(given, request, limits)
    except DetectorError as error:
        raise _invalid(_sentence(error.message)) from None
    for position, one in enumerate(found):
        if isinstance(one, bytes):
            _check_size(one, f"picture {position}", limits)
    return found


def _files(given: Given) -> list[bytes | NDArray[np.uint8]]:
    if isinstance(given.data, bytes | memoryview):
        return [*elements(f"'{NAME}'", given.shape, given.data)]
    data = given.data
    if isinstance(data, list) and data and all(_is_bytes(one) for one in data):
        values = data  # the bytes of each file as numbers
    else:
        values = flat(data)
    if len(given.shape) == 1 and given.shape[0] == 1 and _is_bytes(values):
        values = [values]
    if not isinstance(values, list):
        raise _invalid(f"'{NAME}' holds no list of files.")
    if len(values) != prod(given.shape):
        raise _invalid(
            f"'{NAME}' of shape {[*given.shape]} has {len(values)} elements: not as many."
        )
    return [_file(value, position) for position, value in enumerate(values)]


def _is_bytes(value: Any) -> bool:
    """Whether it is a list of numbers: the bytes of a file, one by one."""
    return isinstance(value, list) and bool(value) and type(value[0]) is int


def _file(value: Any, position: int) -> bytes:
    """The bytes of a file in JSON: base64, {"b64": base64}, or numbers from 0 to 255."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == {"b64"}:
        value = value["b64"]
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if isinstance(value, list):
            return bytes(value)
    except (binascii.Error, ValueError, TypeError):
        pass
    raise _invalid(
        f"Picture {position} of '{NAME}' is neither base64 nor a list of bytes; JSON has no other "
        "way for a file's bytes."
    )


def _pixels(given: Given, request: Request, limits: Limits) -> list[bytes | NDArray[np.uint8]]:
    shape, who = given.shape, f"'{NAME}'"
    if len(shape) != 4:
        raise _invalid(f"{who} of UINT8 has the shape {[*shape]}; {HOW}.")
    channels_last = _layout(given, request)
    height, width = shape[1:3] if channels_last else shape[2:]
    if not height or not width:
        raise _invalid(f"{who} of shape {[*shape]} has no pixels.")
    if height * width > limits.pixels:
        raise _too_large("a picture", width, height, limits)
    array = given.array()
    if not channels_last:
        array = array.transpose(0, 2, 3, 1)
    return [np.ascontiguousarray(one) for one in array]


def _layout(given: Given, request: Request) -> bool:
    """Whether the channels are last: as the shape says, or `layout` where both would fit."""
    shape = given.shape
    said = given.parameters.get("layout", request.parameters.get("layout"))
    if said not in (None, "NHWC", "NCHW"):
        raise _invalid(f"The parameter `layout` is '{said}'; it is NHWC or NCHW.")
    fits = {"NHWC": shape[3] == 3, "NCHW": shape[1] == 3}
    if said is None and all(fits.values()):
        raise _invalid(
            f"'{NAME}' of shape {[*shape]} may be NHWC or NCHW: say which it is with the "
            "parameter `layout`."
        )
    said = said or next((layout for layout, fit in fits.items() if fit), None)
    if said is None or not fits[said]:
        raise _invalid(f"'{NAME}' of UINT8 has the shape {[*shape]}; {HOW}.")
    return said == "NHWC"


def _check_size(data: bytes, name: str, limits: Limits) -> None:
    try:
        width, height = pictures.size(data, name=name, most=limits.pixels)
    except ImageError as error:
        raise _invalid(_sentence(error.message)) from None
    if width * height > limits.pixels:
        raise _too_large(name, width, height, limits)


def _too_large(name: str, width: int, height: int, limits: Limits) -> Refused:
    return _invalid(
        f"{name[0].upper()}{name[1:]} of {width} × {height} pixels is too large: at most "
        f"{limits.pixels:,} are decoded."
    )


def _invalid(sentence: str) -> Refused:
    return Refused(Why.INVALID, sentence)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def names_wanted(
    request: Request, known: Sequence[TensorInfo], default: Sequence[str]
) -> Sequence[str]:
    """The outputs asked for: as they were named, else the `default` ones; Refused for no output."""
    names = [one.name for one in known]
    for name in request.outputs:
        if name not in names:
            raise _invalid(f"There is no output '{name}'; there are {', '.join(names)}.")
    return [*dict.fromkeys(request.outputs)] or default
