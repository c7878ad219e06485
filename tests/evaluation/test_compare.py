import json
from dataclasses import replace

import numpy as np
import pytest

from quorate.annotations import Annotations
from quorate.dataset import Image
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.evaluation.coco import evaluate
from quorate.evaluation.compare import compare
from quorate.evaluation.matching import Matches
from quorate.evaluation.truth import Frame, ScoredBoxes, TruthBoxes
from tests.evaluation.made import random_case


def matched(found, truth) -> Matches:
    frame = Frame.of(truth)
    return Matches.of(ScoredBoxes.of(found, frame), TruthBoxes.of(truth, frame), frame)


def by_category(found, truth, weight) -> list[list[float]]:
    """AP and AP50 in the vocabulary's order."""
    return matched(found, truth).average_precision(weight)[Frame.of(truth).order]


def reference(found, truth) -> np.ndarray:
    rows = evaluate(found, truth, backend="pycocotools").categories
    return np.array([[c.ap, c.ap50] for c in rows], dtype=float)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_picture_once_is_the_ap_of_pycocotools(seed, ties):
    truth, found = random_case(seed, ties=ties)
    once = np.ones(len(truth.images), dtype=np.int64)
    np.testing.assert_allclose(by_category(found, truth, once), reference(found, truth), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_drawn_twice_counts_as_two_pictures(seed):
    truth, found = random_case(seed, images=12)
    ids = np.sort([image.id for image in truth.images])
    weight = np.random.default_rng(seed).integers(0, 4, len(ids))
    known = truth.annotations
    shift = 1 << 20
    copies = [ids[weight > turn] for turn in range(3)]
    parts = [np.isin(known.image_id, chosen) for chosen in copies]
    drawn = replace(
        truth,
        images=tuple(
            Image(id=int(i) + turn * shift, file_name="")
            for turn, chosen in enumerate(copies)
            for i in chosen
        ),
        annotations=Annotations.build(
            image_id=np.concatenate([known.image_id[p] + t * shift for t, p in enumerate(parts)]),
            **{
                name: np.concatenate([getattr(known, name)[p] for p in parts])
                for name in ("category_id", "xyxy", "area", "iscrowd")
            },
        ),
    )
    rows = [np.flatnonzero(np.isin(found.image_id, chosen)) for chosen in copies]
    seen = found.take(np.concatenate(rows))
    turn = np.repeat([0, 1, 2], [len(r) for r in rows])
    seen = replace(seen, image_id=seen.image_id + turn * shift)
    np.testing.assert_allclose(
        by_category(found, truth, weight), reference(seen, drawn), atol=1e-12
    )


def worse(found: Detections, seed: int = 0) -> Detections:
    random = np.random.default_rng(seed)
    noise = random.normal(0, 6, found.xyxy.shape).astype(np.float32)
    noise[:, 2:] = np.abs(noise[:, 2:])
    noise[:, :2] = -np.abs(noise[:, :2])
    return replace(found, xyxy=found.xyxy + noise)


def test_a_clear_difference_is_certain_and_nothing_against_itself_is_not():
    truth, found = random_case(3, images=60)
    result = compare({"good": found, "bad": worse(found), "same": found}, truth, samples=200)
    bad, same = result["bad"], result["same"]
    assert bad.ap_difference.value == pytest.approx(bad.metrics.ap - result["good"].metrics.ap)
    assert bad.ap_difference.high < 0
    assert bad.ap_difference.certain
    assert bad.ap_difference.above_zero == 0
    assert (same.ap_difference.low, same.ap_difference.high) == (0, 0)
    assert not same.ap_difference.certain
    assert same.ap_difference.above_zero == 0.5
    assert result["good"].ap_difference is None
    assert result["good"].ap.low < result["good"].metrics.ap < result["good"].ap.high


def test_intervals_have_the_spread_of_fresh_data_sets():
    """The spread of the bootstrap is that of AP over data sets of the same kind."""
    fresh = []
    for seed in range(40):
        truth, found = random_case(seed, images=80, crowds=False)
        fresh.append(evaluate(found, truth).ap50)
    truth, found = random_case(100, images=80, crowds=False)
    interval = compare({"a": found}, truth, samples=400)["a"].ap50
    assert 0.6 < (interval.high - interval.low) / (2 * 1.96 * np.std(fresh)) < 1.6


def test_the_same_seed_gives_the_same_intervals_and_another_does_not():
    truth, found = random_case(1)
    intervals = [compare({"a": found}, truth, samples=50, seed=seed)["a"].ap for seed in (5, 5, 6)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_pictures_that_gained_and_lost_are_named():
    truth, _ = random_case(0, crowds=False)
    known = truth.annotations
    perfect = Detections.build(
        image_id=known.image_id,
        category_id=known.category_id,
        xyxy=known.xyxy,
        score=0.9,
        detectors=["d"],
    )
    first, last = truth.images[0].id, truth.images[-1].id
    on_first, on_last = (int((known.image_id == i).sum()) for i in (first, last))
    assert min(on_first, on_last) > 0
    result = compare(
        {
            "without first": perfect.take(known.image_id != first),
            "without last": perfect.take(known.image_id != last),
        },
        truth,
        samples=0,
    )
    gained, lost = result.changed("without last")
    assert [truth.images[i].id for i in gained] == [first]
    assert [truth.images[i].id for i in lost] == [last]
    other = result["without last"]
    assert other.gain[0] == on_first
    assert other.pictures.missed.sum() == on_last
    assert other.pictures.false.sum() == 0
    assert other.ap_difference.low is None
    plain = result.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["results"][1]["gained"][0]["errors_of_baseline"] == on_first


def test_errors_are_counted_at_the_score_of_best_f1():
    truth, found = random_case(8, images=40, ties=True)
    matches = matched(found, truth)
    best = matches.best_score()

    def f1(score: float) -> float:
        true, false, missed = (int(n.sum()) for n in matches.errors(len(truth.images), score))
        return 2 * true / (2 * true + false + missed)

    assert f1(best) == max(f1(score) for score in np.unique(matches.score))


def test_nothing_found_and_nothing_to_find():
    truth, found = random_case(2)
    result = compare({"found": found, "nothing": Detections.empty()}, truth, samples=20)
    assert result["nothing"].metrics.ap == 0
    assert result["nothing"].pictures.missed.sum() == result["found"].metrics.objects
    never = [c for c in result["nothing"].categories if c.label == "never"]
    assert (never[0].ap, never[0].difference) == (None, None)


def test_a_wrong_baseline_names_the_nearest():
    truth, found = random_case(0)
    with pytest.raises(InputError, match="did you mean 'yolo'"):
        compare({"yolo": found}, truth, baseline="yol")
