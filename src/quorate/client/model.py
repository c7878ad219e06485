"""A model of a server: found by its name, shown pictures, its answers read."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from quorate.client import answers
from quorate.client.answers import Box, Boxes, Label
from quorate.detectors.names import given_names
from quorate.detectors.remote.network import RemoteNetwork, models, open_network
from quorate.detectors.remote.spec import RemoteDetector
from quorate.detectors.tensors.feed import Feed
from quorate.detectors.tensors.geometry import stretch
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.errors import DetectorError, ImageError, InputError, QuorateError
from quorate.networks import Arrays, Graph
from quorate.open_inference.tensors import BYTES, DTYPES, OF_KINDS
from quorate.pictures import decode

SEVERAL = 8
A = TypeVar("A", Boxes, Label)


@dataclass
class _Timed:
    """A network that notes how long its last request took; see `quorate.networks.Network`."""

    inner: RemoteNetwork
    seconds: float = 0.0

    @property
    def graph(self) -> Graph:
        return self.inner.graph

    def run(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        start = time.perf_counter()
        try:
            return self.inner.run(outputs, feed)
        finally:
            self.seconds = time.perf_counter() - start


@dataclass(frozen=True)
class Model:
    """A model of a server that is ready.

    spec    where it is, and how it is asked
    pixels  what becomes of pixels, where the model takes them rather than files
    """

    spec: RemoteDetector
    network: RemoteNetwork
    pixels: Normalisation

    @classmethod
    def find(
        cls,
        url: str,
        name: str | None = None,
        *,
        connection: Mapping[str, Any] | None = None,
        pixels: Normalisation | None = None,
        names: str | None = None,
    ) -> Self:
        """Ask a server for its model.

        Args:
            url: http://, https://, grpc:// or grpcs://, and what stands before /v2.
            name: the model's; by default the server's only one. Members of an ensemble, which are
                called ENSEMBLE.MEMBER, do not count.
            connection: how it is asked, as a spec of `kind: remote` says it: `request_timeout`,
                `concurrency`, `headers`, `tls_ca`.
            pixels: what becomes of pixels; by default they are 0..1, in RGB.
            names: the labels' names, for a model that tells numbers: a file, or a vocabulary.

        Raises:
            InputError: the server has several models and none is named.
            SpecError: the address is none.
            DetectorError: the server does not know the model, or does not say what it takes.
            ServerError: the server does not answer, or its model is not ready.
            MissingExtraError: for gRPC, where grpcio or protobuf is not installed.
        """
        about: dict[str, Any] = {"url": url, **(connection or {})}
        if names is not None:
            about["names"] = names
        spec = RemoteDetector.model_validate({"name": "asked", "model": name or "-", **about})
        if name is None:
            spec = spec.model_copy(update={"model": _only(models(spec), url)})
        return cls(spec, open_network(spec), pixels or Normalisation())

    @property
    def graph(self) -> Graph:
        """Its inputs and outputs."""
        return self.network.graph

    @property
    def takes_files(self) -> bool:
        """Whether pictures are sent as files, which the server decodes."""
        inputs = self.graph.inputs
        return len(inputs) == 1 and inputs[0].kind == BYTES

    def tensors(self, picture: bytes, name: str) -> Arrays:
        """What the model is sent for one picture: its file, or its pixels, stretched to fit.

        ImageError where the server wants pixels, and the file is no picture.
        """
        if self.takes_files:
            file = np.empty((1,) * max(len(self.graph.inputs[0].shape), 1), object)
            file.flat[0] = picture
            return {self.graph.inputs[0].name: file}
        feed = Feed.of(self.graph, origin=self.spec.origin)
        height, width = feed.frame
        shown = decode(picture, name=name)
        frame = height or shown.shape[0], width or shown.shape[1]
        place = stretch(shown.shape[:2], frame)
        wants = replace(self.pixels, scale=1.0) if feed.whole else self.pixels
        given = feed.filled([shown], [place], wants, antialias=False)
        return {key: value.copy() for key, value in given.items()}

    def made(self, shapes: Mapping[str, Sequence[int]]) -> Arrays:
        """Made numbers for every input; an open first size is 1, others are as `shapes` says.

        InputError where a size is open, or an input is not there.
        """
        for name in shapes:
            if name not in [one.name for one in self.graph.inputs]:
                raise InputError(f"--shape {name}: the model has no such input: {self.graph}.")
        random = np.random.default_rng(0)
        found = {}
        for one in self.graph.inputs:
            sizes = shapes.get(one.name)
            if one.kind not in OF_KINDS:
                raise InputError(f"The model's input {one} is not of numbers that can be made.")
            if sizes is None:
                if None in one.shape[1:]:
                    raise InputError(
                        f"The model's input {one} says too little for made numbers.",
                        hint=f"give pictures, or a shape: --shape {one.name}=1,3,224,224",
                    )
                sizes = [size or 1 for size in one.shape]
            dtype = DTYPES[OF_KINDS[one.kind]]
            numbers = random.random(tuple(sizes))
            found[one.name] = (255 * numbers if dtype.kind in "iu" else numbers).astype(dtype)
        return found

    def outputs(self) -> list[str]:
        """What is asked for where answers are not read: an ensemble's own, not its members'."""
        names = [one.name for one in self.graph.outputs]
        return [name for name in names if "." not in name] or names

    def classifier(self) -> Telling[Label]:
        """To ask for labels; DetectorError where the outputs do not say one."""
        if answers.boxes_outputs(self.graph):
            raise DetectorError(
                f"{self.spec.origin}: the model finds boxes.", hint="quorate detect asks for them"
            )
        names = given_names(self.spec.names)
        members = answers.members(self.graph)
        read = partial(answers.label_of, names=names, asked=members)
        return Telling(self, answers.label_outputs(self.graph), read)

    def detector(self) -> Telling[Boxes] | RawDetector:
        """To ask for boxes, of `quorate serve` or of any network whose layout is known.

        DetectorError where the outputs are of no known layout.
        """
        if (wanted := answers.boxes_outputs(self.graph)) and self.takes_files:
            return Telling(
                self, wanted, partial(answers.boxes_of, asked=answers.members(self.graph))
            )
        if self.pixels == Normalisation():
            return RawDetector(self.spec, self.network)
        given = {key: getattr(self.pixels, key) for key in ("scale", "mean", "std", "channels")}
        return RawDetector(self.spec.model_copy(update=given), self.network)


class _Asked(ABC, Generic[A]):
    """A model that is asked picture by picture, from one thread."""

    network: _Timed

    def look(self, picture: bytes, name: str) -> tuple[A | QuorateError, float]:
        """The answer, or why there is none, and the seconds from the request to its answer.

        Decoding the picture here, and reading the answer, are not counted. ServerError where the
        server does not answer at all.
        """
        self.network.seconds = 0.0
        try:
            found: A | QuorateError = self._look(picture, name)
        except (DetectorError, ImageError) as error:
            found = error
        return found, self.network.seconds

    @abstractmethod
    def _look(self, picture: bytes, name: str) -> A:
        """The answer; DetectorError or ImageError for why there is none."""


class Telling(_Asked[A]):
    """A model whose outputs tell a label, or boxes as `quorate serve` does."""

    def __init__(self, model: Model, outputs: Sequence[str], read: Callable[[Arrays], A]) -> None:
        self.model, self.outputs = model, outputs
        self._read: Callable[[Arrays], A] = read
        self.network = _Timed(model.network)

    def read(self, found: Arrays) -> A:
        """What the outputs say."""
        return self._read({one: found[one] for one in self.outputs})

    def _look(self, picture: bytes, name: str) -> A:
        return self.read(self.network.run(self.outputs, self.model.tensors(picture, name)))


class RawDetector(_Asked[Boxes]):
    """A network of a known layout, which a server runs for us."""

    def __init__(self, spec: RemoteDetector, network: RemoteNetwork) -> None:
        self.network = _Timed(network)
        self.predictor = TensorPredictor.of(spec, self.network, origin=spec.origin)

    def _look(self, picture: bytes, name: str) -> Boxes:
        [found] = self.predictor.predict([decode(picture, name=name)])
        rows = zip(found.label.tolist(), found.score.tolist(), found.xyxy.tolist(), strict=True)
        labels = self.predictor.labels
        return Boxes(
            tuple(Box(labels[label], score, tuple(xyxy), None) for label, score, xyxy in rows)
        )


def _only(known: Sequence[str], url: str) -> str:
    """The server's only model, members of an ensemble aside."""
    own = [name for name in known if name.rpartition(".")[0] not in known]
    if len(own) == 1:
        return own[0]
    some = ", ".join(own[:SEVERAL]) + (", …" if len(own) > SEVERAL else "")
    said = f"has {len(own)} models" if own else "does not tell its models"
    raise InputError(f"{url}: the server {said}.", hint=f"name one with --model: {some or 'NAME'}")
