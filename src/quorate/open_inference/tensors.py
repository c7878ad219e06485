"""Tensors as the Open Inference Protocol writes them: datatypes, bytes, JSON.

Source: github.com/kserve/open-inference-protocol, specification/protocol; the binary tensor data
extension as Triton's and KServe's documentation describe it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quorate.errors import DetectorError
from quorate.networks import Arrays, Graph, Tensor, tensor

KINDS = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float",
    "FP64": "double",
}
"""Each datatype, and onnxruntime's word for it. BF16 numpy does not have."""
OF_KINDS = {kind: datatype for datatype, kind in KINDS.items()}
BYTES = "BYTES"
"""The datatype of texts and files; arrays of it hold Python's `bytes` as objects."""
DTYPES = {
    datatype: np.dtype({"float": "f4", "double": "f8"}.get(kind, kind)).newbyteorder("<")
    for datatype, kind in KINDS.items()
}
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents that holds the numbers of a datatype."""
BINARY = "binary_tensor_data"
"""The name of the extension of binary tensors among those that a server announces."""
JSON_LENGTH = "Inference-Header-Content-Length"
"""The header that says where, in such a body, the JSON ends."""
_DATATYPES = {dtype.newbyteorder("="): datatype for datatype, dtype in DTYPES.items()}


def datatype_of(value: NDArray[Any]) -> str:
    """The protocol's word for an array's type; an array of objects holds `bytes`."""
    return BYTES if value.dtype == object else _DATATYPES[value.dtype]


def to_bytes(value: NDArray[Any]) -> bytes:
    """The bytes of an array: little-endian, row-major; elements with their lengths before them."""
    if value.dtype == object:
        return packed(value.reshape(-1).tolist())
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


class Described(Protocol):
    """A tensor in a model's metadata; a size of -1 is open."""

    name: str
    datatype: str
    shape: Any  # a sequence of whole numbers


def signature(inputs: Iterable[Described], outputs: Iterable[Described], *, origin: str) -> Graph:
    """A model's graph from its metadata; DetectorError where that does not tell its tensors."""
    graph = Graph(_tensors(inputs), _tensors(outputs), {})
    if not graph.inputs or not graph.outputs:
        missing = "inputs" if not graph.inputs else "outputs"
        raise DetectorError(
            f"{origin}: the server's metadata of the model names no {missing}.",
            hint="declare name, datatype and shape of its tensors on the server: `inputs` and "
            "`outputs` of model-settings.json (MLServer), get_input_types and get_output_types "
            "(KServe's Model), config.pbtxt (Triton)",
        )
    return graph


def _tensors(described: Iterable[Described]) -> tuple[Tensor, ...]:
    return tuple(
        tensor(one.name, tuple(one.shape), KINDS.get(one.datatype, one.datatype))
        for one in described
    )


def from_bytes(
    whose: str, datatype: str, shape: Sequence[int], data: bytes | memoryview
) -> NDArray[Any]:
    """An array of its own from little-endian, row-major bytes.

    `whose` tensor it is begins the sentence of the DetectorError where they are of another length.
    """
    if datatype == BYTES:
        return _objects(elements(whose, shape, data), shape)
    dtype = _dtype(whose, datatype, shape)
    if len(data) != dtype.itemsize * prod(shape):
        raise DetectorError(
            f"{whose} of {datatype} {list(shape)} has {len(data)} bytes, not "
            f"{dtype.itemsize * prod(shape)}."
        )
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))


def from_list(whose: str, datatype: str, shape: Sequence[int], data: Any) -> NDArray[Any]:
    """An array from JSON's numbers or texts, flat or nested, in row-major order.

    DetectorError where they are not of the datatype, or not as many as the shape says.
    """
    data = flat(data)
    if datatype == BYTES:
        return _texts(whose, shape, data)
    dtype = _dtype(whose, datatype, shape)
    if isinstance(data, list) and len(data) != prod(shape):  # before anything is made of them
        raise DetectorError(f"{whose} is not {datatype} {list(shape)}: it has {len(data)} numbers.")
    if not isinstance(data, list) or None in data:
        raise DetectorError(
            f"{whose} holds {'null' if isinstance(data, list) else 'no list'} "
            "where numbers belong.",
            hint="JSON has no NaN, and some servers write null for it; half precision overflows so",
        )
    try:
        if dtype.kind in "iu" and data and np.asarray(data).dtype.kind not in "iub":
            raise ValueError("they are no whole numbers")  # numpy would cut them off
        return np.array(data, dtype=dtype.newbyteorder("=")).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise DetectorError(f"{whose} is not {datatype} {list(shape)}: {error}.") from None


def _texts(whose: str, shape: Sequence[int], data: Any) -> NDArray[Any]:
    """Texts of JSON, or bytes of protobuf, as objects."""
    if not isinstance(data, list) or not all(isinstance(one, str | bytes) for one in data):
        raise DetectorError(f"{whose} holds no texts, which BYTES are.")
    if min(shape, default=1) < 0 or len(data) != prod(shape):
        raise DetectorError(f"{whose} of datatype BYTES {list(shape)} has {len(data)} elements.")
    return _objects([one.encode() if isinstance(one, str) else one for one in data], shape)


def _objects(values: Sequence[bytes], shape: Sequence[int]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found.reshape(shape)


def flat(data: Any) -> Any:
    """A nested list without its nesting; anything else as it is."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            break
        data = list(chain.from_iterable(data))
    return data


def elements(whose: str, shape: Sequence[int], data: bytes | memoryview) -> list[bytes]:
    """The elements of a tensor of BYTES: each with its length before it, 4 bytes little-endian.

    DetectorError where the lengths do not fit, or there are not as many as the shape says.
    """
    found: list[bytes] = []
    at, count = 0, prod(shape) if all(size >= 0 for size in shape) else -1
    while at < len(data) and len(found) <= count:
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data):
            raise DetectorError(f"{whose} of BYTES {list(shape)} is cut short.")
        found.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    if len(found) != count:
        more = "more" if len(found) > count else "fewer"
        raise DetectorError(f"{whose} of BYTES {list(shape)} has {more} elements than its shape.")
    return found


def packed(elements: Iterable[bytes]) -> bytes:
    """The bytes of a tensor of BYTES; see `elements`."""
    return b"".join(part for one in elements for part in (len(one).to_bytes(4, "little"), one))


def _dtype(whose: str, datatype: str, shape: Sequence[int]) -> np.dtype[Any]:
    if any(size < 0 for size in shape):
        raise DetectorError(f"{whose} has the shape {list(shape)}.")
    if datatype not in DTYPES:
        raise DetectorError(f"{whose} is of datatype {datatype}, of which no boxes can be made.")
    return DTYPES[datatype]


def checked(graph: Graph, wanted: Sequence[str], found: Arrays) -> dict[str, NDArray[Any]]:
    """The outputs wanted, held to what the metadata says of their shapes."""
    answer: dict[str, NDArray[Any]] = {}
    for name in wanted:
        if name not in found:
            raise DetectorError(
                f"the server's answer lacks '{name}'; it has {', '.join(found) or 'no outputs'}."
            )
        said = graph.output(name.lower())
        value = found[name]
        if said and len(said.shape) == 1 and value.shape[1:] == (1,):
            value = value[:, 0]  # a list, as MLServer's codec of arrays tells it
        wrong = None
        if said and (value.dtype == object) != (said.kind == BYTES):
            wrong = f"datatype {datatype_of(value)}"
        elif said and said.shape and not fits(said.shape, value.shape):
            wrong = f"shape {list(value.shape)}"
        if wrong:
            raise DetectorError(
                f"the server answers '{name}' of {wrong}, where its metadata says {said}."
            )
        answer[name] = value
    return answer


def fits(said: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    """Whether a tensor may have this shape; a size of None is open."""
    return len(said) == len(shape) and all(
        s in (None, size) for s, size in zip(said, shape, strict=True)
    )
