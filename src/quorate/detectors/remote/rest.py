"""The protocol over HTTP: JSON, with tensors in it or as bytes behind it."""

from __future__ import annotations

import logging
import ssl
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
import urllib3
from numpy.typing import NDArray

from quorate.detectors.remote.client import LARGEST, Refused, authorities, no_tls
from quorate.errors import DetectorError
from quorate.http.retrying import REASON, Busy, retry_after, short
from quorate.http.timed import pool_manager
from quorate.networks import Arrays, Graph
from quorate.open_inference.tensors import (
    BINARY,
    JSON_LENGTH,
    datatype_of,
    from_bytes,
    from_list,
    signature,
    to_bytes,
)

if TYPE_CHECKING:
    from quorate.detectors.remote.server import ModelServer

WORTH_A_RETRY = (429, 502, 503, 504)
LARGEST_UNPACKED = 1 << 27
"""Bytes that a packed answer may hold. It is not asked for, so no honest one needs more."""
PIECE = 1 << 20
T = TypeVar("T")

log = logging.getLogger("quorate.detectors")


class _Said(msgspec.Struct):
    """A tensor in a model's metadata."""

    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    inputs: list[_Said] = []
    outputs: list[_Said] = []


class _Tensor(_Said):
    """A tensor in an answer; its numbers are here, or `binary_data_size` bytes behind the JSON."""

    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


class _Server(msgspec.Struct):
    extensions: list[str] = []


class _Listed(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    models: list[str]


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


class RestClient:
    """A model of a server over HTTP; see `quorate.detectors.remote.client.Client`."""

    def __init__(self, spec: ModelServer, headers: Mapping[str, str]) -> None:
        """Nothing is sent yet; `headers` go with every request, and may hold secrets."""
        self.spec, self.headers, self.binary = spec, headers, spec.binary
        self.base = f"{spec.url.rstrip('/')}/v2"
        self.model = f"{self.base}/models/{quote(spec.model, safe='')}"
        if spec.version:
            self.model += f"/versions/{quote(spec.version, safe='')}"
        self.pool = pool_manager(maxsize=spec.concurrency, ssl_context=_tls(spec))

    def metadata(self) -> Graph:
        """See `Client`; with `binary: auto`, what the server announces settles it."""
        response = self._request("GET", self.model)
        if self.binary == "auto":
            # A server without this page announces nothing.
            about = self._request("GET", self.base)
            self.binary = about.status == 200 and BINARY in _read(about.body, _Server).extensions
            how = "bytes" if self.binary else "JSON"
            log.info("%s takes tensors as %s", self.spec.origin, how)
        if response.status != 200:
            raise _refused(response, unknown=400 <= response.status < 500)
        said = _read(response.body, _Metadata)
        return signature(said.inputs, said.outputs, origin=self.spec.origin)

    def ready(self) -> bool:
        """See `Client`."""
        return self._request("GET", f"{self.model}/ready").status == 200

    def models(self) -> list[str]:
        """See `Client`: Triton's and MLServer's index, or KServe's list."""
        response = self._request("POST", f"{self.base}/repository/index", b"{}")
        if response.status == 200:
            return [listed.name for listed in _read(response.body, list[_Listed])]
        response = self._request("GET", f"{self.base}/models")
        return _read(response.body, _Models).models if response.status == 200 else []

    def infer(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """See `Client`."""
        response = self._request("POST", f"{self.model}/infer", *self._body(outputs, feed))
        if response.status != 200:
            raise _refused(response)
        return _arrays(response)

    def _body(self, outputs: Sequence[str], feed: Arrays) -> tuple[bytes, dict[str, str]]:
        """A request's body, and the headers that say what it is."""
        inputs: list[dict[str, Any]] = []
        behind: list[bytes] = []
        for name, value in feed.items():
            said = {"name": name, "shape": value.shape, "datatype": datatype_of(value)}
            if self.binary:
                behind.append(to_bytes(value))
                inputs.append({**said, "parameters": {"binary_data_size": len(behind[-1])}})
            else:
                # Of what is no text JSON has base64, and msgspec writes bytes so.
                inputs.append({**said, "data": value.ravel().tolist()})
        how = {"parameters": {"binary_data": True}} if self.binary else {}
        wanted = [{"name": name, **how} for name in outputs]
        # An id is optional by the protocol, but KServe's server fails on an answer without one.
        request = {"id": uuid.uuid4().hex, "inputs": inputs, "outputs": wanted}
        start = msgspec.json.encode(request)
        if not self.binary:
            return start, {"Content-Type": "application/json"}
        about = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(start))}
        return b"".join([start, *behind]), about

    def _request(
        self, method: str, url: str, body: bytes | None = None, about: Mapping[str, str] = {}
    ) -> _Response:
        """One request; `Busy` where another may fare better."""
        try:
            response = self.pool.request(
                method,
                url,
                body=body,
                headers={"Accept": "*/*", **about, **self.headers},
                timeout=self.spec.request_timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with response:
                data: bytes | bytearray = bytearray()
                for piece in response.stream(PIECE, decode_content=False):
                    data += piece
                    if len(data) > LARGEST:
                        raise Refused(f"its answer is larger than {LARGEST >> 20:,} MiB")
                response.release_conn()
        except urllib3.exceptions.SSLError as error:
            refusal = no_tls(str(error), "http://")
            raise refusal or Refused(f"no encryption is agreed on ({short(str(error))})") from None
        except urllib3.exceptions.LocationValueError as error:
            raise Refused(short(str(error))) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _away(error) from None
        try:
            data = _unpacked(data, response.headers.get("Content-Encoding", "identity"))
        except Refused:
            if response.status == 200:
                raise
            data = b""  # its status says enough
        answer = _Response(response.status, response.headers, data)
        if answer.status in WORTH_A_RETRY:
            wait = retry_after(answer.headers.get("Retry-After"))
            raise Busy(_reason(answer), wait=wait)
        if answer.status in (401, 403):
            raise Refused(_reason(answer), access=True)
        if 300 <= answer.status < 400:
            to = short(answer.headers.get("Location", "nowhere"))
            raise Refused(f"it leads elsewhere, to {to}")
        return answer


def _unpacked(data: bytes | bytearray, encoding: str) -> bytes | bytearray:
    """An answer's own bytes; servers are asked for plain ones, but some pack them all the same."""
    encoding = encoding.strip().lower()
    if encoding == "identity":
        return data
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Refused(f"its answer is packed as '{short(encoding)}', which was not asked for")
    unpacking = zlib.decompressobj(wbits=47)  # gzip's or zlib's header
    try:
        body = unpacking.decompress(data, LARGEST_UNPACKED)
    except zlib.error as error:
        raise Refused(f"its packed answer is damaged ({error})") from None
    if unpacking.eof:
        return body
    if len(body) < LARGEST_UNPACKED:
        raise Refused("its packed answer is cut short")
    raise Refused(f"its packed answer holds more than {LARGEST_UNPACKED >> 20} MiB")


def _tls(spec: ModelServer) -> ssl.SSLContext | None:
    """How the server's certificate is checked; None for the system's authorities."""
    if spec.tls_verify and spec.tls_ca is None:
        return None
    context = authorities(spec.tls_ca)
    if not spec.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _arrays(response: _Response) -> dict[str, NDArray[Any]]:
    """The tensors of an answer."""
    length = response.headers.get(JSON_LENGTH, "")
    start = int(length) if length.isdigit() else len(response.body)
    rest = memoryview(response.body)[start:]
    found = {}
    for tensor in _read(response.body[:start], _Answer).outputs:
        whose = f"the server's '{tensor.name}'"
        size = (tensor.parameters or {}).get("binary_data_size")
        if isinstance(size, int):
            data, rest = rest[:size], rest[size:]
            found[tensor.name] = from_bytes(whose, tensor.datatype, tensor.shape, data)
        else:
            numbers = _read(bytes(tensor.data) or b"null", object)
            found[tensor.name] = from_list(whose, tensor.datatype, tensor.shape, numbers)
    return found


def _read(body: bytes | bytearray, kind: type[T]) -> T:
    """JSON of a shape, or DetectorError that shows what there is instead."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DetectorError(
            f"the server's answer is not the protocol's JSON ({error}): {short(_text(body))!r}.",
            hint="is the URL that of a server of the Open Inference Protocol? NaN is no JSON: "
            "a server that writes it needs `binary: true`, or gRPC",
        ) from None


def _refused(response: _Response, *, unknown: bool = False) -> Refused:
    return Refused(_reason(response), unknown=unknown or response.status == 404)


def _reason(response: _Response) -> str:
    """The status, and the `error` of the body where there is one."""
    try:
        said = msgspec.json.decode(response.body)
        text = said.get("error") or said.get("detail") if isinstance(said, dict) else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = _text(response.body)
    return f"HTTP {response.status}" + (f", {short(str(text))}" if text else "")


def _away(error: Exception) -> Busy:
    """A connection that was not made, or was cut."""
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return Busy("its name is not known", hint="check `url`")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return Busy(short(str(error).rpartition("] ")[2]).lower(), hint="is it up? Check `url`")
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return Busy("the connection was not made in time")
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return Busy("it took too long", hint="raise `request_timeout`, or lower `batch`")
    if any(word in repr(error) for word in ("RemoteDisconnected", "ConnectionResetError")):
        return Busy(
            "it ends the connection without an answer",
            hint="is it up? Where it speaks TLS, the URL begins with https://",
        )
    hint = "is this the server's gRPC port? Then the URL begins with grpc://"
    return Busy(short(str(error)), hint=hint if "BadStatusLine" in repr(error) else None)


def _text(body: bytes | bytearray) -> str:
    return body[: 2 * REASON].decode("utf-8", "replace")
