"""What a model finds on pictures, how good that is, and whether its ONNX finds the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.detectors.base import Boxes, Predictor
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.errors import DetectorError, MissingExtraError
from quorate.evaluation.coco import evaluate
from quorate.networks import Network
from quorate.steps.boxes import as_columns
from quorate.training.torch.learner import Learner, Rows
from quorate.training.torch.samples import Samples

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

AT_ONCE = 8
"""Pictures that are held in memory together."""
PICTURES = 200
"""Most pictures that an export is checked on."""
APART = 1e-3
"""How far a box's sides, of the picture's, a score or a mask's pixel may lie apart."""
LEVELS = 3.0
"""How many grey levels apart pixels may be that the library and we prepare: on photographs they are
up to 2, for both round what they resize across, and again what they resize down."""
MAP_APART = 1e-3
"""How far the AP may lie apart: a tenth of a point."""
NOISE = 1e-6
"""What single precision may cost each number inside a network: some eight of its last digits."""
DRAWS = 16
"""How often a network is asked with that noise whether it agrees with itself."""


def found_by(predictor: Predictor, samples: Samples) -> list[Boxes]:
    """What a detector finds on the pictures, in their order."""
    found: list[Boxes] = []
    for start in range(0, len(samples), AT_ONCE):
        chosen = range(start, min(start + AT_ONCE, len(samples)))
        found += predictor.predict([samples.picture(i) for i in chosen])
    return found


def detections_of(found: Sequence[Boxes], dataset: Dataset, *, name: str) -> Detections:
    """The boxes of a data set's pictures as its detections."""
    numbers = np.array(dataset.labels.ids, np.int32)
    boxes = [one._replace(label=numbers[one.label]) for one in found]
    return as_columns(boxes, [image.id for image in dataset.images], (name,))


def mean_ap(detections: Detections, dataset: Dataset) -> float:
    """COCO's AP, 0..1."""
    return evaluate(detections, dataset).ap or 0.0


@dataclass(frozen=True)
class Agreement:
    """How an exported model and its original agree.

    Both were given the very same tensors, those that the detector of `kind: onnx` makes of the
    pictures, and of the first one turned, halved and cropped too: so a graph that holds for one
    size alone is found out. Compared is every row that comes out, with all its labels' scores.

    pictures  that both were shown
    rows      of the original: queries, or boxes that are left after its suppression
    apart     the largest distance of a box's side from its twin's, of the picture's side
    score_apart, mask_apart  likewise of a score, and of a pixel of a mask
    tied      pictures whose rows are not the same, as they are not with the original itself where
              each of its numbers has the noise of single precision: what it chooses there is open
    levels    the largest distance, in grey levels, of a pixel that the library prepared from ours
    map_original, map_export  AP, each with its own preparation
    """

    pictures: int
    rows: int
    apart: float
    score_apart: float
    mask_apart: float
    tied: int
    levels: float
    map_original: float
    map_export: float

    @property
    def sentence(self) -> str:
        """What was compared, and how it came out."""
        ap = f"mAP is {self.map_export:.4f} beside {self.map_original:.4f}"
        if self.tied == self.pictures:
            return (
                f"The ONNX file could not be held against the model: on all {self.tied} pictures "
                f"which boxes it chooses hangs on the last digits; has it learnt anything? {ap}."
            )
        levels = f", whose grey levels are {self.levels:.3g} apart at most" if self.levels else ""
        tied = (
            f" On {self.tied} more, which boxes the model chooses hangs on the last digits."
            if self.tied
            else ""
        )
        return (
            f"The ONNX file finds the same: given the same tensors of "
            f"{self.pictures - self.tied} pictures, all {self.rows:,} rows lie within "
            f"{self.apart:.1e} of a side and {self.score_apart:.1e} of a score; each with its own "
            f"tensors{levels}, {ap}.{tied}"
        )


def check_export(
    learner: Learner, model: nn.Module, export: TensorPredictor, held: Samples, found: list[Boxes]
) -> Agreement:
    """Hold an export against its model; DetectorError where they do not find the same.

    `found` is what the model finds on all pictures of `held`, as its own library prepares them.
    """
    step = max(len(held) // PICTURES, 1)
    indexes = list(range(0, len(held), step))[:PICTURES]
    sides = _Sides(learner, learner.graph(model.eval()), export)
    boxes: list[Boxes] = []
    levels = 0.0
    for index in indexes:
        picture = held.picture(index)
        name = held.dataset.images[index].file_name
        boxes.append(sides.compare(picture, name))
        levels = max(levels, _levels(learner, export, picture, name))
    for view, word in _views(held.picture(indexes[0])):
        sides.compare(view, f"{held.dataset.images[indexes[0]].file_name}, {word}")
    part = _part(held.dataset, indexes)
    first, second = (
        mean_ap(detections_of(one, part, name=learner.trainer.name), part)
        for one in ([found[i] for i in indexes], boxes)
    )
    # Where nothing at all differs, nothing may; else two boxes may have changed places.
    slack = 1 / max(sum(len(held.rows[i]) for i in indexes), 1) if levels or sides.tied else 0.0
    if abs(first - second) > MAP_APART + slack:
        raise _other(f"its mAP is {second:.4f}, not {first:.4f}")
    apart, score_apart, mask_apart = sides.apart.tolist()
    return Agreement(
        pictures=sides.pictures,
        rows=sides.rows,
        apart=apart,
        score_apart=score_apart,
        mask_apart=mask_apart,
        tied=sides.tied,
        levels=levels,
        map_original=first,
        map_export=second,
    )


class _Sides:
    """The model and its export side by side."""

    def __init__(self, learner: Learner, graph: nn.Module, export: TensorPredictor) -> None:
        self.learner, self.graph = learner, graph
        self.seen = _Seen(export.network)
        self.export = replace(export, network=self.seen, batch=1)
        self.pictures = self.rows = self.tied = 0
        self.apart = np.zeros(3)

    def compare(self, picture: NDArray[np.uint8], name: str) -> Boxes:
        """What the export finds; DetectorError where what the model finds on it is another."""
        [boxes] = self.export.predict([picture])
        size = (picture.shape[0], picture.shape[1])
        [pixels] = self.seen.feed.values()
        # The order of the outputs is that of the learner's, whichever layout reads them.
        given = self.seen.network.run(self.learner.outputs, self.seen.feed)
        exported = self.learner.rows([given[one] for one in self.learner.outputs], size)
        own = self._rows(pixels, size)
        self.pictures += 1
        faults, apart = _strays(own, exported)
        if not faults:
            self.rows += len(own.boxes)
            self.apart = np.maximum(self.apart, apart)
        elif self._wavers(own, pixels, size, faults):
            self.tied += 1
        else:
            raise _other(
                f"of {len(own.boxes)} rows for {name} {faults} have no twin within {APART} of a "
                "side and of a score, given the same tensor"
            )
        return boxes

    def _rows(self, pixels: NDArray[Any], size: tuple[int, int]) -> Rows:
        with torch.inference_mode():
            outputs = self.graph(torch.from_numpy(pixels.copy()))
        return self.learner.rows([one.numpy() for one in outputs], size)

    def _wavers(self, own: Rows, pixels: NDArray[Any], size: tuple[int, int], faults: int) -> bool:
        """Whether the noise of single precision costs the model itself half as many rows."""
        with _noisy(self.graph):
            return any(
                2 * _strays(own, self._rows(pixels, size))[0] >= faults for _ in range(DRAWS)
            )


class _Seen:
    """A network that remembers what it was fed."""

    def __init__(self, network: Network) -> None:
        self.network, self.graph = network, network.graph
        self.feed: dict[str, NDArray[Any]] = {}

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `Network`."""
        self.feed = {name: value.copy() for name, value in feed.items()}
        return self.network.run(outputs, feed)


def _strays(one: Rows, other: Rows) -> tuple[int, NDArray[np.float64]]:
    """How many rows of either have no twin in the other; how far twins lie apart at most (3,).

    Twins stand at the same place, but where the network chooses its rows. A row that scores so
    little that the other may have left it out has no need of one.
    """
    if len(one.boxes) == len(other.boxes):
        pairs = zip(one[:3], other[:3], strict=True)
        far = [0.0 if p is None else float(np.abs(p - q).max(initial=0.0)) for p, q in pairs]
        if max(far) <= APART:  # in the same order
            return 0, np.array(far)
    faults = 0
    worst = np.zeros(3)
    for a, b in ((one, other), (other, one)):
        for row in range(len(a.boxes)):
            places = slice(None) if a.chosen else slice(row, row + 1)
            parts = [(a.boxes, b.boxes), (a.score, b.score), (a.masks, b.masks)]
            apart = np.stack([
                np.abs(q[places] - p[row]).max(axis=1, initial=0.0)
                if p is not None and q is not None
                else np.zeros(len(b.boxes[places]))
                for p, q in parts
            ])  # fmt: skip
            twin = apart[:, apart.max(axis=0).argmin()] if apart.shape[1] else np.full(3, np.inf)
            if twin.max() <= APART:
                worst = np.maximum(worst, twin)
            elif not (a.score[row].max() <= b.floor + APART and b.floor):
                faults += 1
    return faults, worst


@contextlib.contextmanager
def _noisy(module: nn.Module) -> Iterator[None]:
    """Each part of a module gives its numbers with noise of their last digits, from one seed."""
    draw = torch.Generator().manual_seed(0)

    def shaken(part: nn.Module, given: Any, outputs: Any) -> Any:
        if not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
            return outputs
        return outputs * (1 + NOISE * torch.randn(outputs.shape, generator=draw))

    parts = [one for one in module.modules() if not any(True for _ in one.children())]
    hooks = [part.register_forward_hook(shaken) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _levels(
    learner: Learner, export: TensorPredictor, picture: NDArray[np.uint8], name: str
) -> float:
    """How many grey levels the library's tensor of a picture and ours lie apart at most."""
    theirs = learner.prepared(picture)
    if theirs is None:
        return 0.0
    [ours] = export.tensors([picture], [export.place(picture.shape[:2])]).values()
    if theirs.shape != ours.shape:
        raise _other(f"{name} is {list(ours.shape)} to it, {list(theirs.shape)} to its library")
    how = export.normalisation
    gain = np.array(how.std).reshape(1, 3, 1, 1) / how.scale
    levels = float((np.abs(theirs - ours) * gain).max())
    if levels > LEVELS:
        raise _other(f"{name} is prepared with grey levels that are {levels:.1f} apart")
    return round(levels, 3)


def _views(picture: NDArray[np.uint8]) -> list[tuple[NDArray[np.uint8], str]]:
    """A picture in other sizes: on its side, at half the size, and a part of it."""
    height, width = picture.shape[:2]
    return [
        (np.ascontiguousarray(np.rot90(picture)), "turned"),
        (np.ascontiguousarray(picture[::2, ::2]), "halved"),
        (np.ascontiguousarray(picture[: height // 3 + 1, : width // 2 + 1]), "cropped"),
    ]


def _part(dataset: Dataset, indexes: Sequence[int]) -> Dataset:
    """The data set of some of the pictures."""
    images = tuple(dataset.images[i] for i in indexes)
    shapes = dataset.annotations
    assert shapes is not None  # of a labelled data set
    shapes = shapes.take(np.isin(shapes.image_id, [image.id for image in images]))
    return replace(dataset, images=images, annotations=shapes)


def _other(how: str) -> DetectorError:
    return DetectorError(
        f"The ONNX file does not find what the model finds: {how}.",
        hint="its weights are kept in `model/`: a detector of their own kind reads them",
    )
