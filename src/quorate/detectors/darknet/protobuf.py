"""An ONNX file, written by hand: protobuf's wire format, and the few messages of onnx.proto.

The numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3),
which never change; the format of a field is https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 17
FLOAT, INT64 = 1, 7  # TensorProto.DataType

Attribute = float | int | str | Sequence[int]
Dimension = int | str  # a size, or the name of one that is open

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


@dataclass
class Message:
    """A message as it will be written: pieces, which are not copied, and their length."""

    pieces: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0

    def integer(self, number: int, value: int) -> None:
        """An int64 or an enumeration."""
        self._add(_varint(number << 3 | _VARINT) + _varint(value))

    def real(self, number: int, value: float) -> None:
        """A float."""
        self._add(_varint(number << 3 | _FIXED32) + struct.pack("<f", value))

    def text(self, number: int, value: str) -> None:
        """A string."""
        self.data(number, value.encode())

    def data(self, number: int, value: bytes | memoryview) -> None:
        """Bytes, which must not change until they are written."""
        self._add(_varint(number << 3 | _BYTES) + _varint(len(value)))
        self._add(value)

    def message(self, number: int, value: Message) -> None:
        """A message inside, which must be complete."""
        self._add(_varint(number << 3 | _BYTES) + _varint(value.size))
        self.pieces += value.pieces
        self.size += value.size

    def _add(self, piece: bytes | memoryview) -> None:
        self.pieces.append(piece)
        self.size += len(piece)


def node(
    operator: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, Attribute],
) -> Message:
    """A NodeProto; an input that is left out is named ""."""
    result = Message()
    for name in inputs:
        result.text(1, name)
    for name in outputs:
        result.text(2, name)
    result.text(3, outputs[0])
    result.text(4, operator)
    for key, value in attributes.items():
        result.message(5, _attribute(key, value))
    return result


def tensor(name: str, values: NDArray[Any]) -> Message:
    """A TensorProto of float32 or int64."""
    kinds = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
    result = Message()
    for size in values.shape:
        result.integer(1, size)
    result.integer(2, kinds[values.dtype])
    result.text(8, name)
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    result.data(9, little.reshape(-1).view(np.uint8).data)
    return result


def value(name: str, shape: Sequence[Dimension]) -> Message:
    """A ValueInfoProto of float32: an input or an output."""
    sizes = Message()
    for size in shape:
        dimension = Message()
        if isinstance(size, str):
            dimension.text(2, size)
        else:
            dimension.integer(1, size)
        sizes.message(1, dimension)
    tensor_type, kind, result = Message(), Message(), Message()
    tensor_type.integer(1, FLOAT)
    tensor_type.message(2, sizes)
    kind.message(1, tensor_type)
    result.text(1, name)
    result.message(2, kind)
    return result


def model(
    *,
    nodes: Sequence[Message],
    tensors: Sequence[Message],
    inputs: Sequence[Message],
    outputs: Sequence[Message],
    producer: str,
) -> Message:
    """A ModelProto with its GraphProto."""
    graph = Message()
    for item in nodes:
        graph.message(1, item)
    graph.text(2, producer)
    for number, items in ((5, tensors), (11, inputs), (12, outputs)):
        for item in items:
            graph.message(number, item)
    operators = Message()
    operators.integer(2, OPSET)
    result = Message()
    result.integer(1, IR_VERSION)
    result.text(2, producer)
    result.message(7, graph)
    result.message(8, operators)
    return result


def _attribute(key: str, value: Attribute) -> Message:
    """An AttributeProto: its name, its value in the field of its type, its type."""
    result = Message()
    result.text(1, key)
    if isinstance(value, float):
        result.real(2, value)
        result.integer(20, 1)
    elif isinstance(value, int):
        result.integer(3, value)
        result.integer(20, 2)
    elif isinstance(value, str):
        result.text(4, value)
        result.integer(20, 3)
    else:
        for item in value:
            result.integer(8, item)
        result.integer(20, 7)
    return result


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number is that of 64 bits."""
    value &= (1 << 64) - 1
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
