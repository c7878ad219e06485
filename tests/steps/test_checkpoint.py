"""Finished parts outlive the machine they were made on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quorate.errors import StorageError
from quorate.labels import Labels
from quorate.spec import EnsembleSpec
from quorate.steps import Checkpoint, Voter, Work, detect, prepare
from quorate.steps.parts import PART_SIZE
from quorate.storage import open_tree
from tests.spots import Spots, pool
from tests.waiting import until

LABELS = Labels.from_names(["green", "red"])
COUNT = 3 * PART_SIZE + 5
A = Spots(name="a", kind="spots")


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pool(tmp_path_factory.mktemp("pool"), COUNT)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path):
    return (
        str(tmp_path / "kept")
        if request.param == "folder"
        else f"{request.getfixturevalue('s3_prefix')}/checkpoints/00000/a"
    )


def files(place):
    if not place.startswith("s3://") and not Path(place).exists():
        return []
    with open_tree(place) as tree:
        return list(tree.names())


def machine(folder, data, detector=A):
    """A work folder on a machine that knows nothing of the others."""
    work = Work(folder)
    spec = EnsembleSpec(name="e", data=str(data), labels=LABELS.names, detectors=[detector])
    prepare(spec, work, shard_size=COUNT)
    return work


def run(work, place, *, detector=A, kill=None):
    """Detect; the numbers of pictures told, and the warnings."""
    told, warned = [], []

    def progress(pictures):
        told.append(pictures)
        if kill is not None and sum(told) >= kill:
            raise Killed

    checkpoint = Checkpoint(place, warn=warned.append)
    voter = Voter.load(detector, LABELS)
    kept = {detector.name: checkpoint}
    try:
        failed = detect(work, 0, [voter], workers=2, checkpoints=kept, progress=progress)
    except Killed:
        failed = {}
    return told, warned, failed


def boxes(work):
    return (work.detections(0, "a") / "detections.parquet").read_bytes()


def test_another_machine_goes_on_from_the_last_part(tmp_path, data, place):
    whole = machine(tmp_path / "whole", data)
    detect(whole, 0, [Voter.load(A, LABELS)], workers=2)
    run(machine(tmp_path / "one", data), place, kill=2 * PART_SIZE + 9)
    assert files(place) == ["00000.json", "00000.parquet", "00001.json", "00001.parquet"]
    told, warned, _ = run(machine(tmp_path / "two", data), place, kill=COUNT - 2)
    assert told[0] == 2 * PART_SIZE
    third = machine(tmp_path / "three", data)
    told, warned, _ = run(third, place)
    assert told[0] == 3 * PART_SIZE
    assert warned == []
    assert boxes(third) == boxes(whole)
    assert files(place) == []
    assert sorted(file.name for file in third.detections(0, "a").iterdir()) == [
        "detections.parquet",
        "manifest.json",
    ]


def test_a_finished_shard_that_was_not_joined_is_not_seen_again(tmp_path, data, place):
    one = machine(tmp_path / "one", data)
    run(one, place, kill=COUNT)
    told, _, _ = run(machine(tmp_path / "two", data), place)
    assert told[0] == 3 * PART_SIZE  # the last, short part is written when all is seen


@pytest.mark.parametrize("other", ["detector", "damaged", "halved", "mixed"])
def test_parts_of_another_input_or_none_are_not_trusted(tmp_path, data, other):
    place = tmp_path / "kept"
    run(machine(tmp_path / "one", data), str(place), kill=2 * PART_SIZE + 9)
    detector = A
    if other == "detector":
        detector = A.model_copy(update={"shift": 3.0})
    elif other == "damaged":
        (place / "00000.parquet").write_bytes(b"no parquet")
    elif other == "mixed":  # two machines wrote there at once
        (place / "00000.parquet").write_bytes((place / "00001.parquet").read_bytes())
    else:
        (place / "00000.json").write_bytes((place / "00000.json").read_bytes()[:9])
    whole = machine(tmp_path / "whole", data, detector)
    detect(whole, 0, [Voter.load(detector, LABELS)], workers=2)
    two = machine(tmp_path / "two", data, detector)
    told, warned, _ = run(two, str(place), detector=detector)
    assert told[0] == 0
    assert boxes(two) == boxes(whole)
    assert warned == []
    assert files(str(place)) == []


def test_a_part_here_goes_before_the_checkpoint(tmp_path, data):
    place = str(tmp_path / "kept")
    one = machine(tmp_path / "one", data)
    run(one, place, kill=2 * PART_SIZE + 9)
    for file in (tmp_path / "kept").glob("00000.*"):
        file.unlink()
    told, _, _ = run(one, place, kill=2 * PART_SIZE + 20)
    assert told[0] == 2 * PART_SIZE
    assert files(place)[:2] == ["00000.json", "00000.parquet"]  # what is missing is kept again


def test_a_checkpoint_that_cannot_be_kept_loses_nothing(tmp_path, data):
    (tmp_path / "file").touch()
    whole = machine(tmp_path / "whole", data)
    detect(whole, 0, [Voter.load(A, LABELS)], workers=2)
    work = machine(tmp_path / "one", data)
    _, warned, failed = run(work, str(tmp_path / "file" / "below"))
    assert not failed
    assert boxes(work) == boxes(whole)
    assert len(warned) == 1
    assert "the checkpoint is not kept" in warned[0]


def test_a_store_that_is_down_loses_nothing(tmp_path, data, monkeypatch):
    from quorate.storage import s3

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "here")
    s3.client.cache_clear()
    work = machine(tmp_path / "one", data)
    _, warned, failed = run(work, "s3://pool/checkpoints/00000/a")
    s3.client.cache_clear()
    assert not failed
    assert (work.detections(0, "a") / "manifest.json").exists()
    assert len(warned) == 1
    assert "127.0.0.1:9" in warned[0]


def test_a_detector_that_fails_leaves_nothing_behind(tmp_path, data):
    place = str(tmp_path / "kept")
    broken = A.model_copy(update={"fails_at_width": 64})
    _, _, failed = run(machine(tmp_path / "one", data), place, detector=broken)
    assert failed
    assert files(place) == []


def test_what_is_finished_is_kept_when_the_pictures_cannot_be_reached(tmp_path, data, monkeypatch):
    place = str(tmp_path / "kept")
    work = machine(tmp_path / "one", data)
    from quorate.storage.folder import FolderTree

    read, seen = FolderTree.read, []

    def fails(self, name):
        seen.append(name)
        if len(seen) > PART_SIZE + 20:
            raise StorageError("gone")
        return read(self, name)

    monkeypatch.setattr(FolderTree, "read", fails)
    with pytest.raises(StorageError):
        run(work, place)
    assert files(place) == ["00000.json", "00000.parquet"]


MACHINE = """
import sys
from pathlib import Path
from tests.steps.test_checkpoint import machine, run
data, folder, place = sys.argv[1:]
told, _, _ = run(machine(Path(folder), data), place)
print(told[0])
"""


def test_a_killed_process_goes_on_elsewhere(tmp_path, data):
    """SIGKILL: nobody is asked, nothing is tidied."""
    place = tmp_path / "kept"
    words = [sys.executable, "-c", MACHINE, str(data)]
    root = Path(__file__).parents[2]
    holding = os.environ | {"SPOTS_HOLD_AT": str(2 * PART_SIZE - 1)}
    killed = subprocess.Popen([*words, str(tmp_path / "one"), str(place)], cwd=root, env=holding)
    until(lambda: (place / "00000.json").exists() or killed.poll() is not None)
    killed.kill()
    assert killed.wait() == -9, "it ended before it could be killed"
    again = subprocess.run(
        [*words, str(tmp_path / "two"), str(place)], cwd=root, capture_output=True, text=True
    )
    assert again.stdout == f"{PART_SIZE}\n", again.stderr
    whole = machine(tmp_path / "whole", data)
    detect(whole, 0, [Voter.load(A, LABELS)], workers=2)
    assert boxes(Work(tmp_path / "two")) == boxes(whole)
