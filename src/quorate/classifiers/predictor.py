"""Classifiers of bare tensors at work: pictures in, probabilities out, whoever runs the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.names import given_names, told_names
from quorate.detectors.tensors.feed import Feed
from quorate.detectors.tensors.geometry import LONGEST, Placement, in_batches, placed
from quorate.detectors.tensors.layouts.layout import IMAGENET, Activation, activated
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.errors import DetectorError, did_you_mean
from quorate.networks import Graph, Network, Tensor, names_of

if TYPE_CHECKING:
    from quorate.classifiers.spec import TensorClassifier

SIDE = 224
"""Pixels of a network's side where neither the graph nor the spec says."""
NEAR = 1e-3
"""How far probabilities of one picture may sum up to another number than 1: half precision."""


@dataclass(frozen=True)
class TensorClassPredictor:
    """A loaded classifier of tensors; see `quorate.classifiers.ClassPredictor` for its duties.

    activation  what makes probabilities of the network's numbers: none, softmax or sigmoid
    why         how that was found out
    size        (height, width) of the network's input
    """

    labels: tuple[str, ...]
    network: Network
    feed: Feed
    output: str
    activation: Activation
    why: str
    size: tuple[int, int]
    spec: TensorClassifier
    normalisation: Normalisation
    batch: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: TensorClassifier, network: Network, *, origin: str) -> TensorClassPredictor:
        """Settle all that the spec leaves open; `origin` is the model's name in errors."""
        graph = network.graph
        feed = Feed.of(graph, origin=origin)
        output = _output(spec, graph, origin)
        size = _size(spec, feed, origin)
        seen = _seen(network, feed, size, output.name, origin)
        if seen.shape[1] < 2:
            raise DetectorError(
                f"{origin}: the output {output} has one number for a picture; a network that "
                "classifies has one for each of two labels or more.",
                hint="of a network with one label and its absence, export both probabilities",
            )
        activation, why = _activation(spec, output, seen, origin)
        names, named = _names(spec, graph, seen.shape[1], origin)
        normalisation, guessed = _normalisation(spec, feed)
        notes = []
        if guessed:
            notes.append(
                f"{spec.name}: its model does not tell how it wants pixels; it is shown "
                f"{normalisation.told}, as networks trained on ImageNet are. Say `mean`, "
                "`std`, `scale` or `channels` of the classifier where it was trained otherwise."
            )
        if not named:
            notes.append(
                f"{spec.name}: its model has no names of labels, so they are called by their "
                "numbers; give them under `names` of the classifier."
            )
        return cls(
            names,
            network,
            feed,
            output.name,
            activation,
            why,
            size,
            spec,
            normalisation,
            feed.batch or spec.batch,
            tuple(notes),
        )

    @property
    def told(self) -> dict[str, str]:
        """What was found out, or said, of the model, in words: for `check` and the summary."""
        spec = self.spec
        fit = f"crop of {spec.crop:g}" if spec.resize == "crop" else spec.resize
        shown = self.feed.told(fit, self.size, spec.pad, antialias=spec.antialias)
        made = "probabilities" if self.activation == "none" else f"{self.activation} makes them"
        return {
            "output": f"{self.output}: {made}, {self.why}",
            "input": shown,
            "colours": self.normalisation.told,
            "names": told_names(self.labels, 0),
        }

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """float32 (n, k) probabilities; DetectorError where the model gives what cannot be some."""
        rows = np.empty((len(pictures), len(self.labels)), np.float32)
        shown = [_middle(p) if self.spec.resize == "crop" else p for p in pictures]
        spec = self.spec
        places = [placed(p.shape[:2], spec.resize, self.size, spec.crop) for p in shown]
        for group in in_batches(places, self.batch):
            said = self._run([shown[i] for i, _ in group], [place for _, place in group])
            for (i, _), numbers in zip(group, said, strict=False):
                rows[i] = self._probabilities(numbers)
        return rows

    def _run(
        self, pictures: Sequence[NDArray[np.uint8]], places: Sequence[Placement]
    ) -> NDArray[np.float64]:
        """(at least n, k) the network's own numbers; a graph of a fixed batch is shown zeros."""
        shown = self.feed.filled(
            pictures, places, self.normalisation, antialias=self.spec.antialias
        )
        found = self.network.run([self.output], shown)[self.output]
        count = self.feed.batch or len(pictures)
        numbers = _flat(found, count)
        if numbers is None or numbers.shape[1] != len(self.labels):
            raise DetectorError(
                f"the output '{self.output}' of shape {list(found.shape)} has no number for each "
                f"of {len(self.labels)} labels of {count} pictures"
            )
        return numbers

    def _probabilities(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """(k,) of one picture: each alone, so that its company changes nothing."""
        if not np.isfinite(numbers).all():
            raise DetectorError(
                "the model gave a number that is NaN or infinite",
                hint="half precision overflows so; run the model in single precision",
            )
        made = activated(numbers, self.activation)
        if made.min() < 0 or made.max() > 1:
            raise DetectorError(
                f"the model gave a probability of {made[np.abs(made - 0.5).argmax()]:g}",
                hint="set `activation: softmax` if it gives logits",
            )
        return made.astype(np.float32)


def _output(spec: TensorClassifier, graph: Graph, origin: str) -> Tensor:
    """The output with the labels' numbers."""
    names = [one.name for one in graph.outputs]
    if spec.output is not None:
        if spec.output not in names:
            raise DetectorError(
                f"{origin}: there is no output '{spec.output}'; there are {', '.join(names)}.",
                hint=did_you_mean(spec.output, names),
            )
        return graph.outputs[names.index(spec.output)]
    if len(names) != 1:
        raise DetectorError(
            f"{origin}: a network that classifies has one output, and this one {len(names)}: "
            f"{graph}.",
            hint=f"name the one with the labels' numbers: `output: {names[0] if names else '…'}`",
        )
    return graph.outputs[0]


def _size(spec: TensorClassifier, feed: Feed, origin: str) -> tuple[int, int]:
    """(height, width) of the network's input."""
    size = feed.size(spec.image_size, origin=origin)
    feed.check_resize(spec.resize, origin=origin)
    height, width = feed.frame
    return size or (height or width or SIDE, width or height or SIDE)


def _seen(
    network: Network, feed: Feed, size: tuple[int, int], output: str, origin: str
) -> NDArray[np.float64]:
    """(2, k) what the network says of a black input and of one of noise."""
    noise = np.random.default_rng(0).random((3, *size), np.float32)
    said = []
    for shown in (np.zeros_like(noise), noise * 255 if feed.whole else noise):
        found: Any = network.run([output], feed.made(shown, size))[output]
        numbers = _flat(found, feed.batch or 1)
        if numbers is None:
            raise DetectorError(
                f"{origin}: the output '{output}' of shape {list(found.shape)} is no list of "
                "numbers, one for each label, as of a network that classifies.",
                hint="for a network that finds boxes, write a DetectionEnsemble",
            )
        said.append(numbers[0])
    return np.stack(said)


def _flat(found: NDArray[Any], pictures: int) -> NDArray[np.float64] | None:
    """(n, k) of an output (n, k), (n, k, 1, 1), (n, 1, 1, k) or, for one picture, (k,)."""
    sizes = [size for size in found.shape[1:] if size != 1]
    each = found.ndim > 1 and len(found) == pictures and len(sizes) <= 1
    if not found.size or not (each or (pictures == 1 and not sizes)):
        return None
    return found.reshape(pictures, -1).astype(np.float64)


def _activation(
    spec: TensorClassifier, output: Tensor, seen: NDArray[np.float64], origin: str
) -> tuple[Activation, str]:
    """What makes probabilities of the numbers, and how that is known."""
    if spec.activation != "auto":
        return spec.activation, "as the spec says"
    if not np.isfinite(seen).all():
        raise DetectorError(
            f"{origin}: '{output.name}' has a number that is NaN or infinite for a black picture, "
            "or for one of noise.",
            hint="is the model whole? Half precision overflows so; else say `activation`",
        )
    within = bool(((seen >= 0) & (seen <= 1)).all())
    ones = bool((np.abs(seen.sum(axis=1) - 1) <= NEAR).all())
    if within and ones:
        return "none", "by its numbers for two made pictures"
    if not within:
        return "softmax", "by its numbers for two made pictures"
    sums = ", ".join(f"{one:g}" for one in seen.sum(axis=1))
    raise DetectorError(
        f"{origin}: the numbers of '{output.name}' lie within 0..1 for two made pictures, but sum "
        f"to {sums}: they may be logits, or probabilities that do not exclude each other.",
        hint="say `activation: softmax` for logits, `none` for probabilities",
    )


def _names(
    spec: TensorClassifier, graph: Graph, count: int, origin: str
) -> tuple[tuple[str, ...], bool]:
    """The labels, and whether they have names; else they are called by their numbers."""
    own = names_of(graph.metadata, origin=origin)
    names = given_names(spec.names) or own
    if not names:
        return tuple(map(str, range(count))), False
    if len(names) != count:
        said = f"`names` of the classifier '{spec.name}'" if names != own else "its metadata"
        raise DetectorError(
            f"{origin}: the network gives {count} numbers, but {said} has {len(names)} names.",
            hint="give one for each number, in their order; a background class has one too",
        )
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < count else ()
    # ImageNet has two cranes and two maillots.
    return tuple(f"{n} {i}" if n in twice else n for i, n in enumerate(names)), True


def _normalisation(spec: TensorClassifier, feed: Feed) -> tuple[Normalisation, bool]:
    """What becomes of pixels, and whether that is a guess."""
    given = {
        name: value
        for name in ("scale", "mean", "std", "channels")
        if (value := getattr(spec, name)) is not None
    }
    if feed.whole:
        return replace(Normalisation(scale=1.0, pad=spec.pad), **given), False
    # Whoever says a scale, or a mean, says how a pixel is reckoned; the rest is as it stands.
    plain = given.keys() & {"scale", "mean", "std"}
    own = Normalisation() if plain else IMAGENET
    return replace(own, **{"pad": spec.pad} | given), not given


def _middle(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A strip's middle: what is cut away of it would be resized first, to a length without end."""
    height, width = picture.shape[:2]
    most = LONGEST * min(height, width)
    top, left = max(height - most, 0) // 2, max(width - most, 0) // 2
    return picture[top : top + most, left : left + most]
