"""quorate check --try, --conformance: each detector of a spec is shown pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cli.output import note, print_json, print_table
from quorate.detectors.container import ContainerDetector
from quorate.errors import DetectorError, ImageError
from quorate.spec.ensemble import ENSEMBLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quorate.classifications import Choice
    from quorate.detectors.base import Boxes, Predictor
    from quorate.detectors.tensors.predictor import TensorPredictor
    from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble
    from quorate.spec import Detector

    Pictures = Sequence[NDArray[np.uint8]]

OWN = 4
"""Pictures of the spec's own data that are shown beside the made ones, for boxes to be found."""
SURE = 0.3
"""The score from which a box counts where two ways to feed a network are compared."""
AS_GOOD = 0.6
"""Of ways that make a network sure, the one that changes least needs so much of the best."""
MOST_LABELS = 5


def _detectors(ensemble: DetectionEnsemble, otherwise: str) -> Iterator[Detector]:
    """The detectors but containers, of which it is said what does it `otherwise`."""
    for detector in ensemble.detectors:
        if isinstance(detector, ContainerDetector):
            note(f"{detector.name}: {otherwise}")
        else:
            yield detector


def print_conformance(ensemble: DetectionEnsemble, *, tolerance: float, as_json: bool) -> None:
    """Print how each detector breaks its duties; DetectorError where one does.

    Raises StorageError where the pictures or the weights cannot be reached.
    """
    from quorate.detectors.conformance import check_predictor, made_pictures

    pictures = [*made_pictures(), *_own(ensemble)]
    rows: list[dict[str, Any]] = []
    for one in _detectors(ensemble, "`quorate check-container` tells what a container keeps"):
        boxes, findings = 0, []
        try:
            predictor = one.load()
        except DetectorError as error:
            findings = [f"it cannot be loaded: {error.message}"]
        else:
            findings = check_predictor(predictor, pictures, tolerance=tolerance)
            if not findings:
                boxes = sum(len(found.score) for found in predictor.predict(pictures))
        rows.append({"detector": one.name, "kind": one.kind, "boxes": boxes, "findings": findings})
    if as_json:
        print_json(rows)
    else:
        title = f"{ensemble.name}: the detectors' contract"
        told = [row | {"findings": "; ".join(row["findings"]) or "none"} for row in rows]
        print_table(told, title=title)
    broken = [str(row["detector"]) for row in rows if row["findings"]]
    if broken:
        raise DetectorError(
            f"{len(broken)} of {len(rows)} detectors do not keep the contract: "
            f"{', '.join(broken)}.",
            hint="docs/reference/plug-ins.md tells what each side owes the other; a GPU may need "
            "`--tolerance 0.001`",
        )


def _own(ensemble: DetectionEnsemble) -> Pictures:
    """The first pictures of the spec's data that can be read, if it names any."""
    from quorate.formats import read
    from quorate.pictures import decode
    from quorate.storage import open_tree

    found: list[NDArray[np.uint8]] = []
    if ensemble.data is None:
        return found
    dataset = read(ensemble.data)
    with open_tree(dataset.root) as tree:
        for image in dataset.images:
            if len(found) == OWN:
                break
            try:
                found.append(decode(tree.read(image.file_name), name=image.file_name))
            except ImageError:
                continue  # the run lists it; here another will do
    return found


def print_tries(ensemble: DetectionEnsemble, pictures: Sequence[str], *, as_json: bool) -> None:
    """Print a row for each detector, and a sentence for each that finds nothing or oddities."""
    from quorate.detectors.sanity import causes, suspicions
    from quorate.pictures import decode
    from quorate.storage import read_bytes

    shown = [decode(read_bytes(path), name=path) for path in pictures]
    sizes = [(picture.shape[0], picture.shape[1]) for picture in shown]
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    instead = "a container is not tried; `quorate run` on a few pictures does"
    for detector in _detectors(ensemble, instead):
        predictor = detector.load()
        found = predictor.predict(shown)
        rows.append({"detector": detector.name, **_row(found, predictor.labels)})
        odd = suspicions(found, sizes, predictor.labels)
        told = [f"{' and '.join(odd)}. {causes(getattr(predictor, 'told', {}))}"] if odd else []
        said += [f"{detector.name}: {one}" for one in (*told, *_better(predictor, shown, found))]
    print_table(rows, title=f"{ensemble.name}: {', '.join(pictures)}", as_json=as_json)
    for sentence in said:
        note(f"note: {sentence}")


def print_labels(
    ensemble: ClassificationEnsemble, pictures: Sequence[str], *, as_json: bool
) -> None:
    """Print a row for each picture and classifier: its likeliest labels; then what is decided."""
    rows: list[dict[str, Any]] = []
    with ensemble.load() as loaded:
        for path in pictures:
            said = loaded.look(path)
            rows += [
                {"picture": path, "classifier": name} | _choices(said.top_of(name, 3))
                for name in said.members
            ]
            rows.append({"picture": path, "classifier": ENSEMBLE} | _choices(said.top(3)))
    print_table(rows, title=f"{ensemble.name}: {ensemble.fusion.method}", as_json=as_json)


def _choices(top: Sequence[Choice]) -> dict[str, Any]:
    others = ", ".join(f"{one.label} {one.probability:.2f}" for one in top[1:])
    return {"label": top[0].label, "probability": top[0].probability, "then": others}


def _row(found: Sequence[Boxes], labels: Sequence[str]) -> dict[str, Any]:
    from collections import Counter

    numbers = Counter(labels[i] for boxes in found for i in boxes.label.tolist())
    best = max((float(boxes.score.max()) for boxes in found if len(boxes.score)), default=None)
    words = [f"{count} {label}" for label, count in numbers.most_common(MOST_LABELS)]
    more = len(numbers) - MOST_LABELS
    names = ", ".join(words) + (f" and {more} more labels" if more > 0 else "")
    return {"boxes": sum(numbers.values()), "best": best, "labels": names}


def _better(predictor: Predictor, shown: Pictures, found: Sequence[Boxes]) -> Iterator[str]:
    """Of a detector that is sure of nothing: another way to feed its network that makes it sure."""
    from quorate.detectors.tensors.predictor import TensorPredictor

    if not isinstance(predictor, TensorPredictor) or _sureness(found):
        return
    tried = []
    for words, other in _others(predictor):
        try:
            again = other.predict(shown)
        except DetectorError:
            continue  # scores beyond 1, or boxes without end: not the way
        tried.append((_sureness(again), words, again))
    most = max((sure for sure, _, _ in tried), default=0.0)
    good = [one for one in tried if one[0] and one[0] >= AS_GOOD * most]
    for _, words, again in sorted(good, key=lambda one: one[1].count(" and "))[:1]:
        row = _row(again, predictor.labels)
        yield (
            f"with {words} it finds {row['boxes']} boxes, the best scoring {row['best']:.2f} "
            f"({row['labels']}): is that what the model was trained with?"
        )


def _others(predictor: TensorPredictor) -> Iterator[tuple[str, TensorPredictor]]:
    """Ways to feed a network that models of this field were trained with, but the present one."""
    from dataclasses import replace
    from itertools import product

    from quorate.detectors.tensors.layouts.layout import IMAGENET
    from quorate.detectors.tensors.preprocess import Normalisation

    own = predictor.normalisation
    other = "rgb" if own.channels == "bgr" else "bgr"
    imagenet = f"`mean: {list(IMAGENET.mean)}`, `std: {list(IMAGENET.std)}`, `scale: 0.00392157`"
    scales = {
        "`scale: 1`": Normalisation(scale=1.0),
        "`scale: 0.00392157`": Normalisation(),
        imagenet: IMAGENET,
        "": own,
    }
    colours: dict[str, Any] = {"": own.channels, f"`channels: {other}`": other}
    resizes: dict[str, Any] = {"": predictor.resize}
    if predictor.resize in ("letterbox", "corner", "stretch"):
        ways = ("letterbox", "stretch")
        resizes |= {f"`resize: {way}`": way for way in ways if way != predictor.resize}
    for (scale, levels), (colour, channels), (resize, way) in product(
        scales.items(), colours.items(), resizes.items()
    ):
        fed = replace(levels, channels=channels, pad=own.pad)
        if fed != own or resize:
            words = " and ".join(word for word in (scale, colour, resize) if word)
            yield words, replace(predictor, normalisation=fed, resize=way)


def _sureness(found: Sequence[Boxes]) -> float:
    return float(sum(boxes.score[boxes.score >= SURE].sum() for boxes in found))
