"""Does a detector keep its side of the contract? For the tests of a kind of your own.

    from quorate.detectors.conformance import assert_conforms

    def test_it_keeps_the_contract():
        assert_conforms(MyDetector(name="mine", weights="w.bin").load())

The duties are those of `quorate.detectors.Predictor`; docs/reference/plug-ins.md tells them in
full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.base import Boxes, Predictor
from quorate.errors import QuorateError
from quorate.masks import Masks

SHAPES = ((48, 64), (64, 48), (48, 64), (37, 53), (1, 1), (1, 90), (120, 1))
"""(height, width) of the pictures that are shown by default: odd, narrow, and a single pixel."""
THREADS = 4


def check_predictor(
    predictor: Predictor,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    *,
    tolerance: float = 0.0,
) -> list[str]:
    """Show pictures to a detector, and say which of its duties it breaks.

    Args:
        predictor: a loaded detector.
        pictures: uint8 (height, width, 3) each; by default noise of several sizes. Show it
            pictures in which it finds something: boxes that are not there cannot be wrong.
        tolerance: pixels, and hundredths of a score, that the boxes of one picture may differ
            by between calls. A GPU may need 1e-3; 0 is what most others keep.

    Returns:
        One sentence for each breach; empty where all is well.
    """
    given = made_pictures() if pictures is None else pictures
    findings = list(_labels(predictor)) + list(_batch(predictor))
    shown = [picture.copy() for picture in given]
    for picture in shown:
        picture.flags.writeable = False  # whoever writes to one fails
    try:
        alone = [_called(predictor, [picture])[0] for picture in shown]
    except Exception as error:  # whatever it raises is a finding
        return [*findings, f"one picture alone: {_said(error)}"]
    for picture, boxes in zip(shown, alone, strict=True):
        findings += _sound(boxes, picture, len(predictor.labels))
    if findings:
        return list(dict.fromkeys(findings))  # comparing what is malformed would tell no more
    findings += _same(predictor, shown, alone, tolerance)
    if any(not np.array_equal(a, b) for a, b in zip(shown, given, strict=True)):
        findings.append("it changes the pictures it is given")
    return list(dict.fromkeys(findings))


def assert_conforms(
    predictor: Predictor,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    *,
    tolerance: float = 0.0,
) -> None:
    """AssertionError that lists every breach; see `check_predictor`."""
    findings = check_predictor(predictor, pictures, tolerance=tolerance)
    if findings:
        raise AssertionError("\n".join(["the detector breaks its contract:", *findings]))


def made_pictures() -> list[NDArray[np.uint8]]:
    """Noise of several sizes, the same every time."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES]


def _called(predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
    found = predictor.predict(pictures)
    if len(found) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures in, {len(found)} answers out")
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _labels(predictor: Predictor) -> Iterator[str]:
    labels: Any = predictor.labels
    if not isinstance(labels, tuple) or not all(isinstance(label, str) for label in labels):
        yield "`labels` is no tuple of words"
    elif not labels or len(set(labels)) != len(labels):
        yield "`labels` is empty, or has a word twice"


def _batch(predictor: Predictor) -> Iterator[str]:
    batch = getattr(predictor, "batch", 1)
    if not isinstance(batch, int) or batch < 1:
        yield f"`batch` is {batch!r}, not a number of pictures"


def _sound(boxes: Any, picture: NDArray[np.uint8], labels: int) -> Iterator[str]:
    """What is wrong with the boxes of one picture."""
    if not isinstance(boxes, Boxes):
        yield f"it answers with {type(boxes).__name__}, not Boxes"
        return
    count = len(boxes.score)
    for name, dtype, shape in (
        ("xyxy", np.float32, (count, 4)),
        ("score", np.float32, (count,)),
        ("label", np.int32, (count,)),
    ):
        value = getattr(boxes, name)
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
            yield f"`{name}` is not {np.dtype(dtype)} {shape}"
            return
    xyxy, score = boxes.xyxy, boxes.score
    if not (np.isfinite(xyxy).all() and np.isfinite(score).all()):
        yield "a corner or a score is NaN or infinite"
        return
    height, width = picture.shape[:2]
    if count and (xyxy.min() < 0 or (xyxy > [width, height, width, height]).any()):
        yield "a box leaves its picture"
    if (xyxy[:, 2:] <= xyxy[:, :2]).any():
        yield "a box is empty or inverted: x2 and y2 are exclusive, and come last"
    if count and (score.min() < 0 or score.max() > 1):
        yield "a score lies outside 0..1"
    if (np.diff(score) > 0).any():
        yield "boxes are not by falling score"
    if count and (boxes.label.min() < 0 or boxes.label.max() >= labels):
        yield "a label number is no position in `labels`"
    yield from _sound_masks(boxes.masks, count, height, width)


def _sound_masks(masks: Any, count: int, height: int, width: int) -> Iterator[str]:
    """What is wrong with the masks of one picture's boxes; they may be left out."""
    if masks is None:
        return
    if not isinstance(masks, Masks) or len(masks) != count:
        yield f"`masks` is no `quorate.Masks` of {count} rows"
    elif (masks.size[masks.there] != [height, width]).any():
        yield "a mask is not of its picture's size"
    else:
        try:
            masks.check()
        except QuorateError as error:
            yield f"`masks`: {error.message}"


def _in_threads(predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
    """Each picture alone, several calls at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(_called, predictor, [picture]) for picture in pictures]
        return [call.result()[0] for call in calls]


def _same(
    predictor: Predictor,
    pictures: Sequence[NDArray[np.uint8]],
    alone: Sequence[Boxes],
    tolerance: float,
) -> Iterator[str]:
    """Whether the boxes depend on what else is in the call, or on other calls."""
    shown, expected = list(pictures), list(alone)
    ways = (
        ("no picture at all", _called, shown[:0], expected[:0]),
        ("all at once", _called, shown, expected),
        ("all at once, the last first", _called, shown[::-1], expected[::-1]),
        ("several threads", _in_threads, shown * THREADS, expected * THREADS),
    )
    for how, call, given, wanted in ways:
        try:
            found = call(predictor, given)
        except Exception as error:  # whatever it raises is a finding
            yield f"{how}: {_said(error)}"
            continue
        if not all(_near(a, b, tolerance) for a, b in zip(found, wanted, strict=True)):
            yield f"{how}: other boxes than one by one"


def _near(boxes: Boxes, others: Boxes, tolerance: float) -> bool:
    """Whether these are the same boxes; nearly equal scores may have changed places."""
    if len(boxes.score) != len(others.score):
        return False
    if tolerance == 0:
        masks, theirs = (None if b.masks is None else b.masks.counts() for b in (boxes, others))
        columns = zip(boxes[:3], others[:3], strict=True)
        return all(np.array_equal(a, b) for a, b in columns) and masks == theirs
    rows, expected = (
        np.column_stack([b.xyxy / tolerance, b.score / tolerance * 100, b.label * 10.0])
        for b in (boxes, others)
    )
    if not len(rows):
        return True
    distance = np.abs(rows[:, None] - expected[None]).max(axis=2)
    return bool(distance.min(axis=0).max() <= 1 and distance.min(axis=1).max() <= 1)
