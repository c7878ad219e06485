"""detect shows neighbours together to a detector that wants it, and nothing else changes."""

import numpy as np
import pytest
from PIL import Image
from pydantic import Field

from quorate.detectors import Boxes
from quorate.errors import DetectorError
from quorate.labels import Labels
from quorate.spec import Detector, EnsembleSpec
from quorate.steps import Voter, Work, detect, prepare
from quorate.steps.detect import PART_SIZE, _groups

COUNT = PART_SIZE + 7


class Mean(Detector):
    """A box whose score is the picture's first grey level."""

    kind: str = "mean"
    batch: int | None = Field(None, exclude=True)
    bad: int | None = Field(None, exclude=True)

    def load(self):
        return MeanPredictor(self.batch, self.bad)


class MeanPredictor:
    labels = ("thing",)

    def __init__(self, batch, bad):
        self.bad, self.calls = bad, []
        if batch:
            self.batch = batch

    def predict(self, pictures):
        levels = [int(picture[0, 0, 0]) for picture in pictures]
        self.calls.append(levels)
        if self.bad in levels:
            raise DetectorError("cannot")
        box = np.array([[0, 0, 2, 2]], dtype=np.float32)
        return [
            Boxes(box, np.array([level / 255], dtype=np.float32), np.zeros(1, dtype=np.int32))
            for level in levels
        ]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        pixels = np.full((4, 4, 3), 20 + number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    (folder / "005.png").write_bytes(b"no picture")
    return folder


def run(data, out, *detectors, workers=3, stop=None):
    ensemble = EnsembleSpec(name="e", data=str(data), labels=["thing"], detectors=list(detectors))
    work = Work(out)
    prepare(ensemble, work, labels=Labels.from_names(["thing"]))
    voters = [Voter.load(detector, work.images(0).labels) for detector in detectors]
    seen = 0

    def progress(count):
        nonlocal seen
        seen += count
        if stop is not None and seen >= stop:
            raise KeyboardInterrupt

    try:
        failed = detect(work, 0, voters, workers=workers, progress=progress)
    except KeyboardInterrupt:
        failed = None
    return work, voters, failed


def result(work, name):
    return (work.detections(0, name) / "detections.parquet").read_bytes()


def test_groups_are_neighbours_of_one_part():
    groups = list(_groups(0, COUNT, 10))
    assert [position for group in groups for position in group] == list(range(COUNT))
    assert all(group.start // PART_SIZE == (group.stop - 1) // PART_SIZE for group in groups)
    assert max(map(len, groups)) == 10
    assert list(_groups(64, 64, 10)) == []


@pytest.mark.parametrize("batch", [1, 8, 100])
def test_company_changes_no_byte(batch, data, tmp_path):
    plain, _, _ = run(data, tmp_path / "a", Mean(name="m"))
    work, [voter], failed = run(data, tmp_path / "b", Mean(name="m", batch=batch))
    assert not failed
    assert result(work, "m") == result(plain, "m")
    assert max(map(len, voter.says.predictor.calls)) == min(batch, PART_SIZE)
    assert sum(map(len, voter.says.predictor.calls)) == COUNT - 1


def test_each_detector_has_its_own_number_at_once(data, tmp_path):
    few, many = Mean(name="few"), Mean(name="many", batch=8)
    work, voters, failed = run(data, tmp_path, few, many)
    assert not failed
    assert [max(map(len, voter.says.predictor.calls)) for voter in voters] == [1, 8]
    assert (work.detections(0, "many") / "manifest.json").exists()


def test_a_failure_names_the_picture_it_is_about(data, tmp_path):
    work, _, failed = run(data, tmp_path, Mean(name="m", batch=8, bad=31), Mean(name="n", batch=4))
    assert failed == {"m": "011.png: cannot"}
    assert (work.detections(0, "n") / "manifest.json").exists()


def test_a_stopped_step_goes_on_with_the_same_company(data, tmp_path):
    whole, [first], _ = run(data, tmp_path / "a", Mean(name="m", batch=10), workers=1)
    run(data, tmp_path / "b", Mean(name="m", batch=10), stop=PART_SIZE + 1)
    work, [again], failed = run(data, tmp_path / "b", Mean(name="m", batch=10), workers=1)
    assert not failed
    assert result(work, "m") == result(whole, "m")
    calls = again.says.predictor.calls
    assert calls == first.says.predictor.calls[-len(calls) :]
    assert len(calls) == 1


def test_a_folder_of_weights_is_in_the_fingerprint(tmp_path):
    class Folder(Mean):
        weights: str

    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.bin").write_bytes(b"1")
    labels = Labels.from_names(["thing"])
    detector = Folder(name="m", weights=str(tmp_path / "w"))
    before = Voter.load(detector, labels).fingerprint
    assert Voter.load(detector, labels).fingerprint == before
    (tmp_path / "w" / "a.bin").write_bytes(b"2")
    assert Voter.load(detector, labels).fingerprint != before
