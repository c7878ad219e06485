"""What all writers keep to: options are their own, and a failure leaves nothing behind."""

import json
from dataclasses import replace

import pytest

from quorate.annotations import Annotations, Kind
from quorate.cli import main
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.errors import InputError, LabelError
from quorate.formats import WRITES, read, write
from quorate.formats.base import open_target
from quorate.labels import Labels
from quorate.storage import open_tree, read_bytes, write_bytes


def one_box(label="car", name="a.jpg", **more):
    dataset = Dataset(
        "", (Image(1, "sub/x.jpg", 9, 9), Image(2, name, 9, 9)), Labels((label,), (3,))
    )
    return dataset, Annotations.build(image_id=[2], category_id=3, xyxy=[[1, 2, 3, 4.25]], **more)


BAD = {
    "voc, a label": ("voc", one_box("no:colon")),
    "voc, a character": ("voc", one_box("a\x01b")),
    "voc, one file for two": ("voc", one_box(name="sub/x.png")),
    "yolo, one file for two": ("yolo", one_box(name="sub/x.png")),
    "cvat, a character": ("cvat", one_box("a\x01b")),
}


@pytest.mark.parametrize("target", ["out", "some/where/out", "out.zip", "some/out.zip"])
@pytest.mark.parametrize(("format", "what"), BAD.values(), ids=BAD)
def test_a_failed_conversion_leaves_nothing_behind(tmp_path, format, what, target):
    with pytest.raises(InputError):
        write(*what, tmp_path / target, format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", WRITES)
def test_a_category_that_has_no_label_is_refused(tmp_path, format):
    dataset, shapes = one_box()
    with pytest.raises(LabelError, match=r"^The category id 4 is not in the vocabulary"):
        write(dataset, replace(shapes, category_id=shapes.category_id + 1), tmp_path, format=format)


@pytest.mark.parametrize("format", WRITES)
def test_annotations_of_other_pictures_are_refused(tmp_path, format):
    dataset, shapes = one_box()
    with pytest.raises(InputError, match="pictures that are not in the data set"):
        write(dataset, replace(shapes, image_id=shapes.image_id + 1), tmp_path, format=format)
    assert list(tmp_path.iterdir()) == []


def broken(target):
    with open_target(target) as out:
        out.put("a/new.txt", b"1")
        out.put("a/c/d.txt", b"2")
        raise RuntimeError


@pytest.mark.parametrize("target", ["out", "some/where/out", "some/out.zip"])
def test_nor_does_one_that_fails_in_the_middle(tmp_path, target):
    with pytest.raises(RuntimeError):
        broken(tmp_path / target)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_as_it_was(tmp_path):
    (tmp_path / "out/a").mkdir(parents=True)
    for name in ("old.txt", "new.txt"):
        (tmp_path / "out/a" / name).write_text(name)
    with pytest.raises(RuntimeError):
        broken(tmp_path / "out")
    there = {p.name: p.read_text() for p in (tmp_path / "out/a").iterdir()}
    assert there == {"old.txt": "old.txt", "new.txt": "new.txt"}
    with open_target(tmp_path / "out") as out:
        out.put("a/new.txt", b"1")
        assert (tmp_path / "out/a/new.txt").read_text() == "new.txt"
    assert {p.name: p.read_text() for p in (tmp_path / "out/a").iterdir()} == {
        "old.txt": "old.txt",
        "new.txt": "1",
    }


def test_a_failed_conversion_to_s3_leaves_nothing_there(s3_prefix):
    write_bytes(f"{s3_prefix}/out/a/new.txt", b"before")
    with pytest.raises(RuntimeError):
        broken(f"{s3_prefix}/out")
    with open_tree(f"{s3_prefix}/out") as tree:
        assert {name: tree.read(name) for name in tree.names()} == {"a/new.txt": b"before"}
    with open_target(f"{s3_prefix}/out") as out:
        out.put("a/new.txt", b"after")
    assert read_bytes(f"{s3_prefix}/out/a/new.txt") == b"after"


def hindered(folder):
    """Three files are written, and the place of the second is taken before they get there."""
    with open_target(folder) as out:
        for name in ("a", "b", "c"):
            out.put(name, b"new")
        (folder / "b").unlink()
        (folder / "b").mkdir()


def test_a_conversion_that_fails_at_its_end_says_how_far_it_came(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("old")
    with pytest.raises(InputError) as caught:
        hindered(tmp_path)
    assert "1 of 3 files are new there already" in caught.value.hint
    assert [(tmp_path / name).read_text() for name in "ac"] == ["new", "old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("format", "option"),
    [("cvat", "confidence"), ("coco", "dumped"), ("voc", "renumber"), ("yolo", "decimals")],
)
def test_an_option_that_a_format_does_not_have_is_refused(tmp_path, format, option):
    with pytest.raises(InputError, match=f"format '{format}' has no option '{option}'"):
        write(*one_box(), tmp_path / "out", format=format, **{option: 1})
    assert list(tmp_path.iterdir()) == []


def convert(tmp_path, *arguments):
    dataset, shapes = one_box(
        kind=Kind.POLYGON, points=Ragged.of([[1, 2, 3, 2, 3, 4.25]]), attributes={}
    )
    write(dataset, shapes, tmp_path / "in.json", format="coco")
    return main(["convert", str(tmp_path / "in.json"), str(tmp_path / "out"), *arguments])


def test_convert_has_the_options_of_the_formats(tmp_path, capsys):
    assert convert(tmp_path, "--to", "coco", "--renumber", "--decimals", "1") == 0
    told = json.loads((tmp_path / "out/annotations/instances_default.json").read_text())
    assert told["categories"][0]["id"] == 1
    assert told["annotations"][0]["bbox"] == [1, 2, 2, 2.2]
    assert convert(tmp_path, "--to", "cvat", "--name", "Street", "--dumped", "today") == 0
    text = (tmp_path / "out/annotations.xml").read_text()
    assert "<name>Street</name>" in text
    assert "<dumped>today</dumped>" in text
    assert convert(tmp_path, "--to", "yolo", "--polygons", "--confidence") == 0
    assert (tmp_path / "out/labels/a.txt").read_text().count(" ") == 7
    capsys.readouterr()
    assert convert(tmp_path, "--to", "voc", "--renumber") == 2
    assert "The format 'voc' has no option 'renumber'; it has decimals." in capsys.readouterr().err


def test_notes_of_both_directions_are_printed(tmp_path, capsys):
    assert convert(tmp_path, "--to", "voc") == 0
    assert "1 shapes are written as the boxes that enclose them" in capsys.readouterr().err
    assert len(read(tmp_path / "out").annotations) == 1
