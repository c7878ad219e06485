"""What the data plane takes and gives, whichever way it came: requests, answers, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from numpy.typing import NDArray

from quorate.open_inference.tensors import from_bytes, from_list

VERSION = "1"
"""The one version of every ensemble, and of its members."""

Parameters = Mapping[str, Any]
"""Words of the protocol's `parameters`: texts, numbers, truths."""


class Why(Enum):
    """Why there is no answer: the status of HTTP, and the code of gRPC."""

    INVALID = 400, "INVALID_ARGUMENT"
    WHO = 401, "UNAUTHENTICATED"
    FORBIDDEN = 403, "PERMISSION_DENIED"
    UNKNOWN = 404, "NOT_FOUND"
    SLOW_SENDER = 408, "DEADLINE_EXCEEDED"
    TOO_LARGE = 413, "RESOURCE_EXHAUSTED"
    BUSY = 429, "RESOURCE_EXHAUSTED"
    HEADERS = 431, "RESOURCE_EXHAUSTED"
    GONE = 499, "CANCELLED"
    FAULT = 500, "INTERNAL"
    NOT_OFFERED = 501, "UNIMPLEMENTED"
    NOT_NOW = 503, "UNAVAILABLE"
    TOO_LATE = 504, "DEADLINE_EXCEEDED"

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The name of the code of gRPC."""
        return self.value[1]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is not answered, with a sentence for the one who asks.

    retry_after  seconds after which another try makes sense
    """

    def __init__(self, why: Why, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.why, self.sentence, self.retry_after = why, sentence, retry_after


@dataclass(frozen=True)
class Limits:
    """What one client may ask for, and what waits.

    request_bytes   of a request's body
    pictures        in one request
    pixels          of one picture, before it is decoded
    waiting         pictures that wait for one ensemble; what comes then is refused
    memory          bytes of all requests that are being read or looked at
    seconds         for a whole request, and the most that a client can ask for
    member_seconds  for one detector's look at a picture; longer costs its vote
    headers         of a request
    control         whether clients may load and unload
    """

    request_bytes: int = 64 << 20
    pictures: int = 32
    pixels: int = 50_000_000
    waiting: int = 64
    memory: int = 1 << 30
    seconds: float = 60.0
    member_seconds: float = 30.0
    headers: int = 64
    control: bool = False


class Given(NamedTuple):
    """A tensor of a request, as it came.

    data  its bytes in the binary form; a list of numbers, texts (of base64) or bytes; None
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview | Sequence[Any] | None
    parameters: Parameters = MappingProxyType({})

    @property
    def size(self) -> int:
        """At least about how many bytes it has; of lists in a list, so many that it is long."""
        if not isinstance(self.data, list):
            return len(self.data) if isinstance(self.data, bytes | memoryview) else 0
        nested = any(isinstance(one, list | str | bytes | dict) for one in self.data[:1])
        return 1 << 30 if nested else 16 * len(self.data)

    def array(self) -> NDArray[Any]:
        """Its numbers; DetectorError where they are not of its datatype, or not as many."""
        about = f"'{self.name}'", self.datatype, self.shape
        if isinstance(self.data, bytes | memoryview):
            return from_bytes(*about, self.data)
        return from_list(*about, self.data)


class Look(NamedTuple):
    """When a member looked at a group of pictures: seconds since 1970, and how many it took."""

    member: str
    began: float
    seconds: float


@dataclass
class Record:
    """What becomes of a request, for the log, the metrics and the traces.

    way       "http" or "grpc"
    what      the path, or the call
    id        the client's X-Request-Id, or one made here
    model     the model asked, where there is one
    code      as gRPC calls it, over HTTP too
    looks     when the members looked
    degraded  whether a member failed; None where no answer was made
    """

    way: str
    what: str
    id: str
    model: str = ""
    code: str = "OK"
    pictures: int = 0
    looks: Sequence[Look] = ()
    degraded: bool | None = None
    failed: str = ""


@dataclass(frozen=True)
class Request:
    """A request for inference.

    outputs  the names of the tensors asked for; none: those that a model gives by itself
    about    what is said of them besides
    record   what becomes of it
    """

    model: str
    inputs: Sequence[Given]
    outputs: Sequence[str] = ()
    about: Sequence[Parameters] = ()
    parameters: Parameters = field(default_factory=dict)
    version: str = ""
    id: str = ""
    record: Record = field(default_factory=lambda: Record("", "", ""))


@dataclass(frozen=True)
class Reply:
    """An answer to a request for inference.

    outputs  the tensors by their names; those of BYTES hold `bytes` as objects
    """

    model: str
    outputs: Mapping[str, NDArray[Any]]
    parameters: Parameters
    id: str = ""
    version: str = VERSION


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as metadata tell it; a size of -1 is open."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it may have this shape."""
        return len(shape) == len(self.shape) and all(
            said in (-1, size) for said, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class ModelInfo:
    """A model's metadata, with the fields of the protocol's answer, in its order."""

    name: str
    versions: Sequence[str]
    platform: str
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
