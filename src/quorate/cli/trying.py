"""quorate check --try: what a detector finds in a picture, and would find if fed otherwise."""

from __future__ import annotations

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from quorate.detectors.base import Boxes, Predictor
    from quorate.detectors.tensors.predictor import TensorPredictor
    from quorate.ensemble import DetectionEnsemble

SURE = 0.3
"""The score from which a box counts where two ways to feed a network are compared."""
AS_GOOD = 0.6
"""Of ways that make a network sure, the one that changes least needs so much of the best."""
MOST_LABELS = 5


def print_tries(ensemble: DetectionEnsemble, pictures: Sequence[str], *, as_json: bool) -> None:
    """Print a row for each detector, and a sentence for each that finds nothing or oddities."""
    from quorate.cli.output import note, print_table
    from quorate.detectors.container import ContainerDetector
    from quorate.detectors.sanity import causes, suspicions
    from quorate.pictures import decode
    from quorate.storage import read_bytes

    shown = [decode(read_bytes(path), name=path) for path in pictures]
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    for detector in ensemble.detectors:
        if isinstance(detector, ContainerDetector):
            note(f"{detector.name}: a container is not tried; `quorate run` on a few pictures does")
            continue
        predictor = detector.load()
        found = predictor.predict(shown)
        rows.append({"detector": detector.name, **_row(found, predictor.labels)})
        sizes = [(picture.shape[0], picture.shape[1]) for picture in shown]
        odd = suspicions(found, sizes, predictor.labels)
        if odd:
            said.append(
                f"{detector.name}: {' and '.join(odd)}. {causes(getattr(predictor, 'told', {}))}"
            )
        said += [f"{detector.name}: {better}" for better in _better(predictor, shown, found)]
    print_table(rows, title=f"{ensemble.name}: {', '.join(pictures)}", as_json=as_json)
    for sentence in said:
        note(f"note: {sentence}")


def _row(found: Sequence[Boxes], labels: Sequence[str]) -> dict[str, Any]:
    from collections import Counter

    numbers = Counter(labels[i] for boxes in found for i in boxes.label.tolist())
    best = max((float(boxes.score.max()) for boxes in found if len(boxes.score)), default=None)
    words = [f"{count} {label}" for label, count in numbers.most_common(MOST_LABELS)]
    more = len(numbers) - MOST_LABELS
    return {
        "boxes": sum(numbers.values()),
        "best": best,
        "labels": ", ".join(words) + (f" and {more} more labels" if more > 0 else ""),
    }


def _better(
    predictor: Predictor, shown: Sequence[NDArray[np.uint8]], found: Sequence[Boxes]
) -> Iterator[str]:
    """Of a detector that is sure of nothing: another way to feed its network that makes it sure."""
    from quorate.detectors.tensors.predictor import TensorPredictor
    from quorate.errors import DetectorError

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

    own = predictor.normalisation
    scales: dict[str, dict[str, Any]] = {
        "`scale: 1`": {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
        "`scale: 0.00392157`": {"scale": 1 / 255, "mean": (0.0,) * 3, "std": (1.0,) * 3},
        f"`mean: {list(IMAGENET.mean)}`, `std: {list(IMAGENET.std)}`, `scale: 0.00392157`": {
            "scale": 1 / 255,
            "mean": IMAGENET.mean,
            "std": IMAGENET.std,
        },
        "": {},
    }
    colours: dict[str, dict[str, Any]] = {"": {}}
    other = "rgb" if own.channels == "bgr" else "bgr"
    colours[f"`channels: {other}`"] = {"channels": other}
    resizes: dict[str, dict[str, Any]] = {"": {}}
    if predictor.resize in ("letterbox", "corner", "stretch"):
        for name in ("letterbox", "stretch"):
            if name != predictor.resize:
                resizes[f"`resize: {name}`"] = {"resize": name}
    for (scale, a), (colour, b), (resize, c) in product(
        scales.items(), colours.items(), resizes.items()
    ):
        fed = replace(own, **a, **b)
        if fed != own or c:
            words = " and ".join(word for word in (scale, colour, resize) if word)
            yield words, replace(predictor, normalisation=fed, **c)


def _sureness(found: Sequence[Boxes]) -> float:
    return float(sum(boxes.score[boxes.score >= SURE].sum() for boxes in found))
