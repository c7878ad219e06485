"""onnxruntime's side: opening a model, and saying in one sentence why it cannot be opened."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from quorate.detectors.files import check_start, start_of
from quorate.errors import DetectorError, InputError, did_you_mean
from quorate.networks import Arrays, Graph, tensor
from quorate.storage import is_s3, read_bytes

CPU = "CPUExecutionProvider"
BY_SPEED = ("CUDAExecutionProvider", "OpenVINOExecutionProvider", CPU)
"""What `auto` takes, the first that works. TensorRT is none of them: it spends minutes on every
new size of input before the first picture, so it is for those who name it."""

CUDA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
"""Those that take their inputs in the card's memory."""

log = logging.getLogger("quorate.detectors")


@dataclass(frozen=True)
class OnnxNetwork:
    """A graph that onnxruntime runs in this process; sessions take calls from any thread.

    device  "cuda" where inputs are copied to the card before the run, else None
    """

    session: onnxruntime.InferenceSession
    graph: Graph
    device: str | None = None

    def run(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """See `quorate.networks.Network`."""
        try:
            if self.device:
                values = self._bound(outputs, feed, self.device)
            else:
                values = self.session.run(list(outputs), dict(feed))
        except Exception as error:  # onnxruntime's exceptions share no base but this
            raise DetectorError(
                f"the model failed on an input of {_shapes(feed)}: {_plain(str(error))}"
            ) from None
        for name, value in zip(outputs, values, strict=True):
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
                raise DetectorError(f"the model's output '{name}' holds no plain numbers.")
        return dict(zip(outputs, values, strict=True))

    def _bound(self, outputs: Sequence[str], feed: Arrays, device: str) -> list[NDArray[Any]]:
        """With inputs laid on the device first, and only the outputs that are asked for fetched."""
        binding = self.session.io_binding()
        for name, value in feed.items():
            placed = onnxruntime.OrtValue.ortvalue_from_numpy(value, device, 0)
            binding.bind_ortvalue_input(name, placed)
        for name in outputs:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        values: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return values


def open_session(
    weights: str,
    *,
    threads: int,
    providers: Sequence[str] | Literal["auto"],
    model: bytes | None = None,
) -> OnnxNetwork:
    """Open a model for calls from any number of threads; DetectorError where it cannot be used.

    Each call runs on its caller's thread when `threads` is 1, which is what keeps many pictures
    at once fast and every result the same. `providers` are tried in order; where it is "auto",
    the log says which it is. `model` is the ONNX that `weights` were turned into, where they are
    none.
    """
    available = onnxruntime.get_available_providers()
    auto = providers == "auto"
    if auto:
        providers = [provider for provider in BY_SPEED if provider in available]
    for provider in providers:
        if provider not in available:
            raise DetectorError(
                f"This onnxruntime has no '{provider}'; it has {', '.join(available)}.",
                hint=did_you_mean(provider, available),
            )
    if any(provider in CUDA for provider in providers):
        onnxruntime.preload_dlls()  # CUDA's own, where they were installed as packages
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what matters is raised, and said below
    # A thread that spins while it waits takes the core of the next picture's decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    given = _model(weights) if model is None else model
    try:
        # What it falls back to would be the CPU: it would print, and fail a second time.
        session = onnxruntime.InferenceSession(
            given, options, list(providers), enable_fallback=list(providers) != [CPU]
        )
    except UnicodeDecodeError:
        raise _not_text(weights) from None
    except Exception as error:  # as above
        raise _refusal(weights, str(error)) from None
    if auto:
        used = session.get_providers()[0]
        log.info("%s runs on %s", weights, used)
        if used != providers[0]:
            log.warning("%s is there but cannot be used; is what it needs installed?", providers[0])
    elif session.get_providers()[0] != providers[0]:
        raise DetectorError(
            f"{weights}: '{providers[0]}' cannot be used on this machine; "
            f"onnxruntime offers {', '.join(session.get_providers())} instead.",
            hint="install what the provider needs, or leave `providers` out to run on the CPU",
        )
    try:
        graph = Graph(
            inputs=tuple(tensor(i.name, i.shape, i.type) for i in session.get_inputs()),
            outputs=tuple(tensor(o.name, o.shape, o.type) for o in session.get_outputs()),
            metadata=dict(session.get_modelmeta().custom_metadata_map),
            selects=_holds(given, "TopK"),
        )
    except UnicodeDecodeError:
        raise _not_text(weights) from None
    return OnnxNetwork(session, graph, "cuda" if session.get_providers()[0] in CUDA else None)


def _model(weights: str) -> str | bytes:
    """A path where there is one, so that external data is found beside it; else the bytes."""
    if not is_s3(weights) and os.path.exists(weights):
        start_of(weights, weights)
        return weights
    try:
        data = read_bytes(weights)
    except InputError as error:
        hints = [error.hint] if error.hint else []
        if not is_s3(weights):
            hints.append("a path in a spec is taken from the spec's own folder")
        raise DetectorError(error.message, hint="; ".join(hints) or None) from None
    check_start(weights, data)
    return data


def _holds(model: str | bytes, operator: str) -> bool:
    """Whether a node of an ONNX file, at a path or in memory, is of this operator.

    onnxruntime does not tell; in the file a node's operator is its field 4, a text with its length.
    """
    text = b"\x22" + bytes([len(operator)]) + operator.encode()
    if isinstance(model, bytes):
        return text in model
    with open(model, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return data.find(text) >= 0


def _not_text(weights: str) -> DetectorError:
    return DetectorError(
        f"{weights}: a name in the model, or its metadata, is not UTF-8 text.",
        hint="export the model anew, or correct it with the onnx package",
    )


_EXPORTS = {
    ".pt .pth .ckpt .torchscript": "it looks like a model of PyTorch: export it to ONNX, for "
    "example with `yolo export model=best.pt format=onnx` or with torch.onnx.export",
    ".engine .plan .trt": "it looks like an engine of TensorRT: name the ONNX file that it was "
    "built from, with `providers: [TensorrtExecutionProvider]`",
    ".tflite .pb .h5 .keras": "it looks like a model of TensorFlow: convert it with tf2onnx",
    ".xml .bin": "it looks like a model of OpenVINO: name the ONNX file that it was made from",
    ".pdmodel .pdiparams": "it looks like a model of Paddle: convert it with paddle2onnx",
    ".weights .cfg": "it looks like a model of darknet: `kind: darknet` reads .cfg and .weights",
    ".safetensors": "`kind: torchvision` and `kind: transformers` read it",
}
"""Endings of files that are no ONNX: what to do with such a one."""


def _refusal(weights: str, reason: str) -> DetectorError:
    if "INVALID_PROTOBUF" in reason or "No graph was found" in reason:
        ending = os.path.splitext(weights)[1].lower()
        known = [hint for endings, hint in _EXPORTS.items() if ending in endings.split()]
        return DetectorError(
            f"{weights}: not an ONNX model, or cut short.", hint=known[0] if known else None
        )
    if "xternal data" in reason:
        return DetectorError(
            f"{weights}: the file with its external data is missing or damaged: {_plain(reason)}",
            hint="large models keep their numbers in a second file; copy it beside the first",
        )
    if "opset" in reason.lower() or "IR version" in reason:
        return DetectorError(
            f"{weights}: written for a newer ONNX than this onnxruntime "
            f"({onnxruntime.__version__}) reads: {_plain(reason)}",
            hint="upgrade onnxruntime, or export the model with a lower opset, for example 17",
        )
    if "is not a registered function/op" in reason:
        return DetectorError(
            f"{weights}: needs an operator that onnxruntime does not have: {_plain(reason)}",
            hint="export the model without plug-in operators (TensorRT's are of that kind)",
        )
    return DetectorError(f"{weights}: onnxruntime cannot load it: {_plain(reason)}")


def _plain(reason: str) -> str:
    """What onnxruntime said, without its prefix, the paths of its sources and C++ signatures."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason)
    text = re.sub(r"^Load model from .*? failed:", "", text)
    text = re.sub(r"/\S+?\.(cc|h|cpp):\d+ .*?\) (?=[A-Z])", "", text)
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _shapes(feed: Arrays) -> str:
    return ", ".join(f"{name} {value.dtype}{value.shape}" for name, value in feed.items())
