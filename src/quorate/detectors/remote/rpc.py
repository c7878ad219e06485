"""The protocol over gRPC, with tensors as raw bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from numpy.typing import NDArray

from quorate.detectors.remote.client import LARGEST, Refused, authorities, no_tls
from quorate.errors import MissingExtraError
from quorate.http.retrying import Busy, short
from quorate.networks import Arrays, Graph
from quorate.open_inference.messages import MESSAGES, PUSHBACK, SERVICE
from quorate.open_inference.tensors import (
    CONTENTS,
    datatype_of,
    from_bytes,
    from_list,
    signature,
    to_bytes,
)

try:
    import grpc
except ImportError as error:
    raise MissingExtraError("gRPC", "remote") from error

if TYPE_CHECKING:
    from quorate.detectors.remote.server import ModelServer

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.enable_http_proxy", 0),
    # Retries are counted in one place, for both ways to a server.
    ("grpc.enable_retries", 0),
)


class RpcClient:
    """A model of a server over gRPC; see `quorate.detectors.remote.client.Client`."""

    def __init__(self, spec: ModelServer, headers: Mapping[str, str]) -> None:
        """Nothing is sent yet; `headers` go with every request, and may hold secrets."""
        target = urlsplit(spec.url).netloc
        if spec.url.startswith("grpcs"):
            if spec.tls_ca is not None:
                authorities(spec.tls_ca)  # gRPC would say nothing of what is wrong with it
            trusted = Path(spec.tls_ca).read_bytes() if spec.tls_ca else None
            credentials = grpc.ssl_channel_credentials(root_certificates=trusted)
            self.channel = grpc.secure_channel(target, credentials, options=OPTIONS)
        else:
            self.channel = grpc.insecure_channel(target, options=OPTIONS)
        self.spec = spec
        self.headers = tuple((name.lower(), value) for name, value in headers.items())

    def metadata(self) -> Graph:
        """See `Client`."""
        said = self._call("ModelMetadata", name=self.spec.model, version=self.spec.version)
        return signature(said.inputs, said.outputs, origin=self.spec.origin)

    def ready(self) -> bool:
        """See `Client`."""
        answer = self._call("ModelReady", name=self.spec.model, version=self.spec.version)
        return bool(answer.ready)

    def models(self) -> list[str]:
        """See `Client`: Triton's and MLServer's index; KServe has none over gRPC."""
        return [model.name for model in self._call("RepositoryIndex").models]

    def infer(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """See `Client`."""
        answer = self._call(
            "ModelInfer",
            model_name=self.spec.model,
            model_version=self.spec.version,
            inputs=[
                {"name": name, "datatype": datatype_of(value), "shape": value.shape}
                for name, value in feed.items()
            ],
            outputs=[{"name": name} for name in outputs],
            raw_input_contents=[to_bytes(value) for value in feed.values()],
        )
        raw = answer.raw_output_contents
        found = {}
        for position, tensor in enumerate(answer.outputs):
            about = f"the server's '{tensor.name}'", tensor.datatype, list(tensor.shape)
            if position < len(raw):
                found[tensor.name] = from_bytes(*about, raw[position])
            else:
                contents = getattr(tensor.contents, CONTENTS.get(tensor.datatype, "fp32_contents"))
                found[tensor.name] = from_list(*about, list(contents))
        return found

    def _call(self, method: str, **fields: Any) -> Any:
        """One call; `Busy` where another may fare better."""
        request = MESSAGES[f"{method}Request"](**fields)
        call: Callable[..., Any] = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=MESSAGES[f"{method}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{method}Response"].FromString,
        )
        try:
            return call(request, timeout=self.spec.request_timeout, metadata=self.headers)
        except grpc.RpcError as error:
            raise _meant(error) from None


def _meant(error: Any) -> Busy | Refused:
    """What a failed call means for the next one."""
    code, details = error.code(), short(error.details() or "")
    reason = f"{code.name}, {details}" if details else str(code.name)
    if refusal := no_tls(details, "grpc://"):
        return refusal
    if "larger than max" in details:
        return Refused(f"{reason}; lower `batch`")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        trailing = dict(error.trailing_metadata() or ())
        pushback = str(trailing.get(PUSHBACK, ""))
        wait = int(pushback) / 1000 if pushback.isdigit() else None
        hint = None
        if "http1" in details.lower():
            hint = "is this the server's HTTP port? Then the URL begins with http://"
        elif details.endswith("Socket closed"):
            hint = "is it up? Where it speaks TLS, the URL begins with grpcs://"
        return Busy(reason, wait=wait, hint=hint)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Busy("it took too long", hint="raise `request_timeout`, or lower `batch`")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return Refused(reason, access=True)
    return Refused(reason, unknown=code == grpc.StatusCode.NOT_FOUND)
