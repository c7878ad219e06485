"""Dumps that lie in S3: what is learnt from them is what is learnt from the same dump here."""

import json
import zipfile

import numpy as np
import pytest
import yaml

from quorate.cli import main
from quorate.formats import read, write
from quorate.storage import open_tree, write_bytes
from tests.formats.samples import sample
from tests.training.pictures import trainer
from tests.training.test_dumps import PICTURES, learnt

pytestmark = pytest.mark.s3


@pytest.fixture
def stored(s3_prefix):
    """Puts a local file or folder, or what is in an archive, into S3; where it then lies."""

    def stored(path, name, *, unpacked=False):
        place = f"{s3_prefix}/{name}"
        if unpacked:
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    write_bytes(f"{place}/{member}", archive.read(member))
        elif path.is_dir():
            for file in (one for one in path.rglob("*") if one.is_file()):
                write_bytes(f"{place}/{file.relative_to(path)}", file.read_bytes())
        else:
            write_bytes(place, path.read_bytes())
        return place

    return stored


def same(one, other):
    """Assert that two of `learnt` have the same pictures with the same boxes in the same parts."""
    assert {part: set(files) for part, files in one.items()} == {
        part: set(files) for part, files in other.items()
    }
    for part, files in one.items():
        for file, boxes in files.items():
            theirs = other[part][file]
            assert [box[0] for box in boxes] == [box[0] for box in theirs]
            for mine, box in zip(boxes, theirs, strict=True):
                np.testing.assert_allclose(mine[1:], box[1:], atol=0.01)


@pytest.mark.parametrize("unpacked", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        PICTURES["project-b"],
        "project-b.cvat-2.15.coco-1.0.images",
        "task-a.cvat-2.15.yolo-1.1.images",
        "task-a.cvat-2.15.mot-1.1.images",
    ],
)
def test_a_dump_in_s3(stored, tmp_path, name, unpacked):
    place = stored(sample(name), "dump" if unpacked else "dump.zip", unpacked=unpacked)
    _, found = learnt(place, tmp_path / "found")
    _, expected = learnt(sample(name), tmp_path / "expected")
    same(found, expected)


@pytest.mark.parametrize("form", ["yolo-1.1", "datumaro-1.0", "labelme-3.0"])
def test_a_dump_and_its_pictures_in_two_places_of_s3(stored, tmp_path, form):
    labels = stored(sample(f"project-b.cvat-2.15.{form}"), "labels", unpacked=True)
    photos = stored(sample(PICTURES["project-b"]), "photos", unpacked=True)
    _, found = learnt(labels, tmp_path / "found", images=photos)
    _, expected = learnt(sample(PICTURES["project-b"]), tmp_path / "expected")
    same(found, expected)


@pytest.mark.parametrize("kind", ["folder", "archive", "file"])
def test_records_with_pictures_inside_in_s3(stored, tmp_path, kind):
    name = PICTURES["task-a" if kind == "file" else "project-b"]
    data = read(sample(name))
    target = tmp_path / ("records.zip" if kind == "archive" else "records")
    write(data, data.annotations, target, format="tfrecord", pictures=True)
    place = stored(target, target.name)
    if kind == "file":
        [file] = target.glob("*.tfrecord")
        place = f"{place}/{file.name}"
    done, found = learnt(place, tmp_path / "found")
    _, expected = learnt(sample(name), tmp_path / "expected")
    same(found, expected)
    again, _ = learnt(place, tmp_path / "found")
    assert again == done


def test_a_plan_of_a_dump_in_s3(stored, tmp_path, capsys):
    place = stored(sample(PICTURES["project-b"]), "dump.zip")
    values = {"kind": "Training", "name": "cars", "data": place, "trainers": [trainer()]}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", str(tmp_path / "training.yaml"), "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["labels"] == {"car": 6, "person": 6}
    values["data"] = place.replace("dump", "dmup")
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", str(tmp_path / "training.yaml"), "--plan"]) == 2
    assert "dmup.zip" in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_told_before_anything_learns(s3_prefix, tmp_path, capsys):
    values = {"kind": "Training", "name": "cars", "data": str(sample(PICTURES["project-b"]))}
    values |= {"trainers": [trainer(epochs=1)], "publish": "s3://no-such-bucket-anywhere/models"}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    command = ["train", str(tmp_path / "training.yaml"), "-o", str(tmp_path / "out")]
    assert main(command) != 0
    assert "no-such-bucket-anywhere" in capsys.readouterr().err
    assert not (tmp_path / "out/trainers").exists()
    values["publish"] = f"{s3_prefix}/models"
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    assert main(command) == 0
    with open_tree(f"{s3_prefix}/models") as tree:
        assert not [name for name in tree.names() if name.startswith(".")]
