"""The search: what it finds where the answer is known, and what it must never look at."""

import json
from dataclasses import replace

import numpy as np
import pytest

from quorate.annotations import Annotations
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.fusion import fuse
from quorate.labels import Labels
from quorate.spec import Consensus, SoftNms, TemperatureCalibration, Votes, WeightedBoxesFusion
from quorate.tuning import folds, tune
from quorate.tuning.bench import Bench, Memory
from quorate.tuning.space import METHODS, Space
from tests.tuning.samples import LABELS, ensemble, sample


def tuned(made, spec=None, **more):
    spec = spec or ensemble(*made.found.detectors, fusion=WeightedBoxesFusion())
    more = {"settings": 160, "samples": 50, "workers": 2} | more
    return tune(spec, made, folds(made.dataset.images, 4), **more)


def test_a_useless_detector_gets_little_weight_and_the_gain_holds_on_fresh_pictures():
    made, fresh = (sample(pictures=60, useless=1, seed=s) for s in (0, 1))
    spec = ensemble("d0", "d1", "d2", fusion=WeightedBoxesFusion())
    result = tuned(made, spec)
    weights = result.fusion.weights
    assert weights["d2"] < 0.5 * max(weights["d0"], weights["d1"])
    assert result.better
    assert result.over_given.low > 0
    assert result.single in ("d0", "d1")
    bench = Bench(fresh, spec, "ap")
    once = np.ones((1, 60), dtype=np.int64)
    before, after = (bench.measure(bench.matches(f), once)[0] for f in (spec.fusion, result.fusion))
    # Cross-validation foretold what fresh pictures show.
    assert after - before == pytest.approx(result.over_given.value, abs=0.05)
    assert after > before


def test_the_same_seed_finds_the_same_whatever_the_threads():
    made = sample(pictures=20)
    one, two = (tuned(made, workers=w, settings=60).to_dict() for w in (1, 3))
    assert one | {"seconds": 0} == two | {"seconds": 0}
    assert tuned(made, settings=60, seed=5).to_dict()["parts"] != one["parts"]


def test_a_fold_is_measured_with_a_setting_that_has_not_seen_it():
    """Were the truth of a fold turned to nonsense, its own search would not notice."""
    made = sample(pictures=24)
    fold = folds(made.dataset.images, 4)
    hidden = [i.id for i, f in zip(made.dataset.images, fold, strict=True) if f == 2]
    truth = made.dataset.annotations
    spoilt = np.where(
        np.isin(truth.image_id, hidden)[:, None], truth.xyxy + np.array([7, 3, 40, 9]), truth.xyxy
    )
    other = replace(made, dataset=replace(made.dataset, annotations=replace(truth, xyxy=spoilt)))
    one, two = tuned(made, settings=80), tuned(other, settings=80)
    assert one.parts[2].fusion == two.parts[2].fusion
    assert one.parts[2].single == two.parts[2].single
    assert one.parts[2].given != two.parts[2].given


def test_report_pictures_are_only_reported_on():
    made, fresh = sample(pictures=40, useless=1), sample(pictures=30, useless=1, seed=9)
    result = tuned(made, report=fresh)
    assert result.held_out == "30 pictures apart"
    assert [part.pictures for part in result.parts] == [30]
    assert result.spread is None
    assert result.parts[0].fusion == result.fusion
    assert "30 pictures apart" in result.sentence()


def test_nothing_better_leaves_the_spec_alone():
    made = sample(pictures=20, good=1)
    spec = ensemble("d0", fusion=Consensus())
    result = tuned(made, spec, settings=40, methods=["voting"])
    kept = result.applied(spec)
    assert kept.fusion == (result.fusion if result.better else spec.fusion)
    assert result.better == (result.over_given.value > 0)


@pytest.mark.parametrize("objective", ["ap", "ap50", "f1"])
def test_each_objective(objective):
    made = sample(pictures=30, useless=1)
    result = tuned(made, objective=objective, settings=80)
    assert result.tuned > result.given
    assert 0 < result.tuned <= 1
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["objective"] == objective
    assert len(plain["parts"]) == 4


def test_calibrations_are_applied_before_the_search():
    made = sample(pictures=20, power=[3.0, 1.0])
    plain = ensemble("d0", "d1", fusion=WeightedBoxesFusion())
    mapped = plain.model_copy(
        update={
            "detectors": (
                plain.detectors[0].model_copy(
                    update={"calibration": TemperatureCalibration(temperature=3.0)}
                ),
                plain.detectors[1],
            )
        }
    )
    assert tuned(made, mapped, settings=20).given != tuned(made, plain, settings=20).given


def test_a_label_without_truth_and_a_detector_without_boxes():
    labels = Labels.from_names(["bolt", "nut", "never"])
    made = sample(pictures=20, names=["d0", "d1"])
    found = Detections.concat([made.found, Detections.empty(["blind"])])
    made = replace(made, dataset=replace(made.dataset, labels=labels), found=found)
    result = tuned(made, settings=40)
    assert 0 < result.tuned < 1
    assert result.single != "blind"


def test_pictures_without_an_object_cannot_be_reported_on():
    made = sample(pictures=20)
    bare = replace(made, dataset=replace(made.dataset, annotations=Annotations.empty()))
    with pytest.raises(InputError, match="no object"):
        tuned(made, report=bare, settings=20)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    made = sample(pictures=16)
    whole = tuned(made, memory=tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(task, done, total):
        if task == "settings" and done >= 64:
            raise StopError

    with pytest.raises(StopError):
        tuned(made, memory=tmp_path / "killed", progress=stop)
    (file,) = (tmp_path / "killed").iterdir()
    with file.open("a") as rest:
        rest.write('["half a li')
    again = tuned(made, memory=tmp_path / "killed")
    assert again.settings < whole.settings
    assert again.fusion == whole.fusion
    assert again.parts == whole.parts
    assert tuned(made, memory=tmp_path / "killed").settings == 0
    assert tuned(sample(pictures=16, seed=1), memory=tmp_path / "killed").settings > 0


def test_memory_keeps_numbers_exactly(tmp_path):
    memory = Memory(tmp_path / "m.jsonl")
    memory.add([Consensus()], [np.array([0.1 + 0.2, np.nan])])
    back = Memory(tmp_path / "m.jsonl").get(Consensus())
    assert back[0] == 0.1 + 0.2
    assert np.isnan(back[1])
    assert Memory(tmp_path / "m.jsonl").get(SoftNms()) is None


def test_many_pictures_are_searched_by_halving():
    made = sample(pictures=600, boxes=2)
    result = tuned(made, settings=40)
    assert result.settings > 40  # draws on a part of the pictures, leaders on all
    assert sum(part.pictures for part in result.parts) == 600


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_setting_of_the_space_can_be_fused(count):
    random = np.random.default_rng(count)
    names = [f"d{i}" for i in range(count)]
    made = sample(pictures=2, good=count, names=names)
    space = Space(Consensus(), names)
    setting = space.draw(random)
    methods = set()
    for turn in range(120):
        setting = space.draw(random) if turn % 4 == 0 else space.near(setting, random, 0.5)
        fuse(made.found, setting, detectors=names, labels=LABELS)
        methods.add(setting.method)
        assert not setting.weights or max(setting.weights.values()) == 1
    assert {"wbf", "nms", "soft_nms", "nmw"} < methods
    assert "votes" in methods or count < 4


def test_what_is_not_searched_stays():
    given = Votes(min_votes=2, overlap="ios", categories={"nut": {"iou": 0.7}}, weights={"gone": 2})
    space = Space(given, ["d0", "d1"])
    random = np.random.default_rng(0)
    for setting in (space.draw(random), space.near(given, random, 0.1)):
        assert setting.overlap == "ios"
        assert setting.categories == given.categories
        assert setting.weights["gone"] == 2


@pytest.mark.parametrize("name", ["wbff", "voting2"])
def test_an_unknown_method_names_the_nearest(name):
    with pytest.raises(InputError, match=name) as caught:
        Space(Consensus(), ["a"], [name])
    assert "did you mean" in caught.value.hint
    assert set(METHODS) == {"voting", "wbf", "nms", "soft_nms", "nmw"}


def test_f1_is_that_of_the_published_boxes():
    made = sample(pictures=10)
    bench = Bench(made, ensemble("d0", "d1"), "f1")
    matches = bench.matches(WeightedBoxesFusion())
    kept = matches.score >= 0.25
    true = np.count_nonzero(matches.outcome[0, kept] == 1)
    expected = 2 * true / (np.count_nonzero(kept) + len(matches.objects))
    once = np.ones((1, 10), dtype=np.int64)
    assert bench.measure(matches, once)[0] == pytest.approx(expected)
    assert np.isnan(bench.measure(matches, 0 * once)[0])
