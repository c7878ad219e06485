"""Views through one detector: one vote or several, from the spec to the published boxes."""

import json
from pathlib import Path

import numpy as np
import pytest

from quorate.detections import Detections
from quorate.detectors import Boxes
from quorate.ensemble import DetectionEnsemble
from quorate.errors import SpecError
from quorate.labels import Labels
from quorate.spec import Consensus, EnsembleSpec, Votes, WeightedBoxesFusion
from quorate.spec.tta import NUMBERS, PHOTOMETRIC, View
from quorate.steps import Voter, Work
from quorate.steps.whole import run
from quorate.tta import Augmented, augmented
from tests.spots import Spots, SpotsPredictor, pool, rectangles

SOURCE = Path(__file__).parents[2]
LABELS = Labels.from_names(["red", "green"])
MOVED = ("hflip", "vflip", "hvflip", "transpose", "transverse", "rotate-90", "rotate-270",
         "translate-0.1-0.1")  # fmt: skip


def spots(name: str = "a", **more) -> Spots:
    return Spots(name=name, kind="spots", **more)


def picture(seed: int = 0, width: int = 64, height: int = 48) -> np.ndarray:
    scene = np.full((height, width, 3), 128, dtype=np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(rectangles(seed, width, height)):
        scene[y1:y2, x1:x2] = 0
        scene[y1:y2, x1:x2, label] = 255
    return scene


def test_every_view_sees_the_same_and_so_does_their_fusion():
    detector = spots(tta=MOVED)
    predictor = augmented(detector, detector.load())
    assert isinstance(predictor, Augmented)
    red, green = rectangles(0, 64, 48)
    for found in predictor.look([picture()])[0]:
        boxes = dict(zip(found.label.tolist(), found.xyxy.tolist(), strict=True))
        assert boxes.items() <= {0: list(red), 1: list(green)}.items()
    [fused] = predictor.predict([picture()])
    assert dict(zip(fused.label.tolist(), fused.xyxy.tolist(), strict=True)) == {
        0: list(red),
        1: list(green),
    }
    assert fused.score.tolist() == pytest.approx([0.9, 0.9])


def test_a_detector_without_views_or_tiles_is_left_alone():
    predictor = SpotsPredictor(spots())
    assert augmented(spots(), predictor) is predictor


class Together(SpotsPredictor):
    """One that is shown several pictures at once, and remembers them."""

    batch = 7

    def predict(self, pictures):
        self.shown = [*getattr(self, "shown", []), [shape.shape[:2] for shape in pictures]]
        return super().predict(pictures)


def test_one_view_of_several_pictures_is_shown_together():
    detector = spots(tta=("hflip", "transpose"))
    predictor = augmented(detector, Together(detector))
    assert predictor.batch == 2, "two pictures have six views, three would have nine"
    pictures = [picture(seed) for seed in (1, 2)]
    together = predictor.predict(pictures)
    assert predictor.predictor.shown == [[(48, 64)] * 4 + [(64, 48)] * 2]
    for boxes, alone in zip(together, pictures, strict=True):
        [expected] = augmented(detector, SpotsPredictor(detector)).predict([alone])
        assert len(boxes.score) == 2
        assert all(np.array_equal(a, b) for a, b in zip(boxes[:3], expected[:3], strict=True))
    assert predictor.predict([]) == []
    assert augmented(detector, SpotsPredictor(detector)).batch == 1


def test_views_that_vote_are_led_back_to_the_picture_they_are_of():
    detector = spots(tta=("hflip", "crop-0.5-0-0"), views="vote")
    voter = Voter.of(detector, Together(detector), LABELS)
    pictures = [picture(1), picture(2, 40, 30), picture(3)]
    together = voter.says.look(pictures)
    assert [len(views) for views in together] == [3, 3, 3]
    for views, alone in zip(together, pictures, strict=True):
        for boxes, expected in zip(views, *voter.says.look([alone]), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(boxes[:3], expected[:3], strict=True))


class Answers:
    """One box from each view, of the given score; 0 is none."""

    labels = ("thing",)

    def __init__(self, *scores, box=(10, 10, 30, 30)):
        self.scores, self.box = scores, box

    def predict(self, pictures):
        found = []
        for shown, score in zip(pictures, self.scores, strict=True):
            box = np.array([self.box], np.float32)
            if shown.shape[0] < 100:  # the crop: shifted by what it leaves out
                box -= 10
            rows = slice(0, 1 if score else 0)
            found.append(
                Boxes(box[rows], np.array([score], np.float32)[rows], np.zeros(1, np.int32)[rows])
            )
        return found


def fused_of(predictor, *views) -> Boxes:
    shown = np.zeros((100, 100, 3), np.uint8)
    return Augmented(predictor, tuple(View.parse(v) for v in views), 300).predict([shown])[0]


def test_a_view_that_finds_nothing_counts_nought():
    assert fused_of(Answers(0.9, 0.6, 0.0), "grey", "invert").score.tolist() == pytest.approx([0.5])


def test_a_crop_that_cannot_see_a_box_has_no_say_in_its_score():
    # crop-0.8 shows 10..90; the box starts at its edge, so the crop's is dropped as cut.
    found = fused_of(Answers(0.8, 0.9, box=(10, 20, 50, 60)), "crop-0.8")
    assert found.score.tolist() == pytest.approx([0.8])
    inside = fused_of(Answers(0.8, 0.4, box=(40, 40, 60, 60)), "crop-0.8")
    assert inside.score.tolist() == pytest.approx([0.6])


def test_boxes_of_one_view_are_never_merged():
    class Two(Answers):
        def predict(self, pictures):
            boxes = np.array([[10, 10, 30, 30], [11, 10, 31, 30]], np.float32)
            return [Boxes(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32))] * 2

    assert len(fused_of(Two(), "grey").score) == 2


def test_views_are_tiled_where_both_are_asked_for():
    detector = spots(tta=("hflip", "rotate-90"), tiles={"size": 32, "whole": False})
    [found] = augmented(detector, detector.load()).predict([picture(3)])
    red, green = rectangles(3, 64, 48)
    assert sorted(found.xyxy.tolist()) == sorted([list(red), list(green)])


def test_fused_views_have_one_vote_from_end_to_end(tmp_path):
    data = pool(tmp_path / "pool", 4)
    spec = DetectionEnsemble(
        name="views",
        data=str(data),
        labels=LABELS.names,
        detectors=(spots("a", tta=MOVED), spots("b", score=0.8), spots("c", blind="green")),
        fusion=Consensus(),
    )
    summary = run(spec, tmp_path / "out")
    assert [d.name for d in summary.detectors] == ["a", "b", "c"]
    assert summary.votes == {"3": 4, "2": 4}


def test_views_that_vote_are_voters_of_the_ensemble(tmp_path):
    data = pool(tmp_path / "pool", 4)
    spec = DetectionEnsemble(
        name="views",
        data=str(data),
        labels=LABELS.names,
        detectors=(
            spots("a", tta=("hflip", "rotate-90"), views="vote"),
            spots("b", blind="green"),
        ),
        fusion=Consensus(),
        publish={"attributes": ("votes", "detectors")},
        quorum=2,
    )
    summary = run(spec, tmp_path / "out", workers=2)
    names = ["a", "a+hflip", "a+rotate-90", "b"]
    assert [d.name for d in summary.detectors] == names
    assert [d.boxes for d in summary.detectors] == [8, 8, 8, 4]
    assert summary.votes == {"4": 4, "3": 4}  # 3 of 4 is a majority, though of one detector
    work = Work(tmp_path / "out/work")
    stored = Detections.from_parquet(work.detections(0, "a") / "detections.parquet")
    assert list(stored.detectors) == names[:3]
    manifest = json.loads((work.fused(0) / "manifest.json").read_text())
    assert manifest["detectors"] == names
    assert "a+rotate-90" in (tmp_path / "out/report.html").read_text()
    assert "a+hflip" in next((tmp_path / "out/cvat").glob("*.xml")).read_text()
    again = run(spec, tmp_path / "out", workers=1)
    assert again == summary


def test_a_detector_that_fails_takes_its_voting_views_along(tmp_path):
    data = pool(tmp_path / "pool", 2)
    spec = DetectionEnsemble(
        name="views",
        data=str(data),
        detectors=(
            spots("a", tta=("hflip",), views="vote", fails_at_width=64),
            spots("b"),
            spots("c"),
        ),
        fusion=Consensus(),
    )
    summary = run(spec, tmp_path / "out")
    assert summary.degraded
    assert {d.name: bool(d.failed) for d in summary.detectors} == {
        "a": True, "a+hflip": True, "b": False, "c": False,
    }  # fmt: skip
    assert summary.votes == {"2": 4}


def test_a_detectors_weight_is_that_of_each_of_its_voters():
    spec = EnsembleSpec(
        name="w",
        detectors=(spots("a", tta=("hflip", "vflip"), views="vote"), spots("b")),
        fusion=WeightedBoxesFusion(weights={"a": 2, "a+vflip": 5}),
    )
    assert spec.voting.weights == {"a": 2, "a+hflip": 2, "a+vflip": 5}
    with pytest.raises(SpecError, match=r"did you mean 'a\+hflip'"):
        EnsembleSpec(
            name="w", detectors=spec.detectors, fusion=WeightedBoxesFusion(weights={"a+hflp": 2})
        )


def test_votes_may_ask_for_as_many_as_there_are_views(tmp_path):
    spec = DetectionEnsemble(
        name="one",
        data=str(pool(tmp_path / "pool", 2)),
        detectors=(spots("a", tta=("hflip", "vflip"), views="vote"),),
        fusion=Votes(min_votes=3),
    )
    assert run(spec, tmp_path / "out").votes == {"3": 4}


@pytest.mark.parametrize(
    ("tta", "expected"),
    [
        ("[hflp]", "tta[0]: no view is called 'hflp', did you mean 'hflip'?"),
        ("[hflip, equalize]", "tta[1]: no view is called 'equalize', did you mean 'equalise'?"),
        ("[scale-9]", "tta[0]: 'scale': factor must be between 0.1 and 4, not 9"),
        ("[scale-1]", "would leave the picture as it is"),
        ("[translate-0-0]", "would leave the picture as it is"),
        ("[median-blur-4]", "side must be 3 or 5"),
        ("[posterise-2.5]", "bits must be a whole number between 1 and 7, not 2.5"),
        ("[hflip-3]", "'hflip' takes no number"),
        ("[identity]", "always the first view"),
        ("[gamma, gamma-1.5]", "'gamma' and 'gamma-1.5' are the same view"),
        ("[hflip]\n    views: votes", "detectors[0].views"),
        ("[hflip]\n    tiles: {size: 0}", "detectors[0].tiles.size"),
        ("[hflip]\n    tiles: {overlap: 0.9}", "detectors[0].tiles.overlap"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_its_place(tmp_path, tta, expected):
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"name: x\ndetectors:\n  - name: y\n    kind: onnx\n    weights: y.onnx\n    tta: {tta}\n"
    )
    with pytest.raises(SpecError) as caught:
        EnsembleSpec.from_yaml(path)
    assert expected in str(caught.value).replace("detectors[0].tta", "tta")


def test_every_name_is_done_and_documented():
    page = (SOURCE / "docs/concepts/test-time-augmentation.md").read_text()
    for name in NUMBERS:
        assert f"`{name}" in page, name
    assert len(NUMBERS) >= 33
    assert all(View.parse(name).name == name for name in NUMBERS)
    assert "invert" in PHOTOMETRIC


def test_the_voter_maps_and_checks_each_view():
    voter = Voter.load(spots(tta=("hflip",), views="vote"), LABELS)
    [found] = voter.says.look([picture()])
    assert len(found) == 2
    assert all(sorted(boxes.label.tolist()) == [1, 2] for boxes in found)
