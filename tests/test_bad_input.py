"""What can be wrong with what a user gives to `quorate run`: said clearly, and nothing is lost."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quorate.cli import main
from quorate.formats import read

MODEL = Path(__file__).parents[1] / "docs/examples/parts/models/yolo.onnx"
SPEC = """\
name: parts
detectors:
  - {{name: one, kind: onnx, weights: {weights}}}
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Run an ensemble of one real detector over a data set; its status, and what it said."""

    def call(data, *, weights=MODEL, out="out"):
        spec = tmp_path / "spec.yaml"
        spec.write_text(SPEC.format(weights=weights))
        status = main(["run", str(spec), str(data), "-o", str(tmp_path / out)])
        return status, capsys.readouterr().err

    return call


def picture(path, mode="RGB", size=(64, 48), **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(path, **save)


def test_odd_pictures_are_pictures(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "one pixel.png", size=(1, 1))
    picture(pool / "deep/16 bit.png", mode="I;16")
    picture(pool / "print.jpg", mode="CMYK")
    picture(pool / "palette.png", mode="P")
    picture(pool / "grey.png", mode="L")
    picture(pool / "bits.png", mode="1")
    picture(pool / "glass.png", mode="RGBA")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(pool / "turned.jpg", exif=turned)
    picture(pool / 'überfahrt 日本 & "co" <1>.jpg')
    picture(pool / "a..b.jpg")
    status, said = run(pool)
    assert status == 0, said
    assert "could not be read" not in said
    back = read(tmp_path / "out/cvat")
    sizes = {image.name: (image.width, image.height) for image in back.images}
    assert len(sizes) == 10
    assert sizes["turned.jpg"] == (48, 64)
    assert sizes["one pixel.png"] == (1, 1)
    assert 'überfahrt 日本 & "co" <1>.jpg' in sizes


def test_damaged_pictures_cost_themselves_and_are_named(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "good.jpg")
    (pool / "zero.jpg").write_bytes(b"")
    (pool / "text.png").write_text("no picture")
    whole = (pool / "good.jpg").read_bytes()
    (pool / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    status, said = run(pool)
    assert status == 0
    assert "3 pictures could not be read" in said
    for name in ("zero.jpg", "text.png", "cut.jpg"):
        assert said.count(name) == 1
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert {skipped["file_name"] for skipped in summary["skipped"]} == {
        "zero.jpg",
        "text.png",
        "cut.jpg",
    }
    page = (tmp_path / "out/report.html").read_text()
    assert all(name in page for name in ("zero.jpg", "text.png", "cut.jpg"))


def test_results_that_cannot_be_written_are_said_in_a_sentence(tmp_path, run):
    picture(tmp_path / "pool/a.png")
    (tmp_path / "taken").write_text("a file")
    status, said = run(tmp_path / "pool", out="taken/out")
    assert status == 2
    assert "Traceback" not in said
    assert f"{tmp_path}/taken/out" in said
    assert "not a directory" in said
    assert "hint: a file is where a folder is meant" in said


def test_one_name_twice(tmp_path, run):
    """CVAT tells pictures apart by their names without endings: said, and both are run."""
    pool = tmp_path / "pool"
    picture(pool / "a/same.jpg")
    picture(pool / "b/same.jpg")
    status, said = run(pool)
    assert status == 0
    assert "/same" not in said
    picture(pool / "b/same.png")
    status, said = run(pool, out="again")
    assert status == 0
    assert "b/same" in said


@pytest.mark.parametrize("what", ["none", "empty", "text", "damaged"])
def test_nothing_to_look_at(tmp_path, run, what):
    pool = tmp_path / "pool"
    if what != "none":
        pool.mkdir()
    if what == "text":
        (pool / "readme.txt").write_text("hello")
    if what == "damaged":
        (pool / "zero.jpg").write_bytes(b"")
    status, said = run(pool)
    assert status == 2
    assert "pool" in said
    assert "Traceback" not in said


def test_weights_that_are_none(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "good.jpg")
    zero, text, cut = (tmp_path / name for name in ("zero.onnx", "text.onnx", "cut.onnx"))
    zero.write_bytes(b"")
    text.write_text("not a model")
    cut.write_bytes(MODEL.read_bytes()[:5000])
    for weights in (tmp_path / "none.onnx", zero, text, cut):
        status, said = run(pool, weights=weights)
        assert status == 2
        assert weights.name in said
        assert not (tmp_path / "out").exists(), "a bad spec stops before any work"


def test_labels_that_do_not_match(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "good.jpg")
    (pool / "annotations").mkdir()
    truth = {
        "images": [{"id": 7, "file_name": "good.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "zebra"}],
        "annotations": [],
    }
    (pool / "annotations/instances_val.json").write_text(json.dumps(truth))
    status, said = run(pool)
    assert status == 2
    assert "'zebra'" in said
    assert "labels: {" in said


def test_labels_are_checked_before_a_run(tmp_path, capsys):
    """`quorate check` maps each detector's words onto the spec's, or onto the data set's."""
    spec = tmp_path / "spec.yaml"

    def checked(text):
        spec.write_text(SPEC.format(weights=MODEL) + text)
        status = main(["check", str(spec)])
        return status, capsys.readouterr().err

    status, said = checked("labels: [bolt, nut, washer, wrench]")
    assert status == 0
    assert "one: boxes labelled 'screw' are left out" in said
    assert "one: knows nothing of 'wrench'" in said
    assert checked("labels: [bolt, nut, washer, screw]") == (0, "")
    status, said = checked("labels: [car, person]")
    assert status == 2
    assert "No label of detector 'one'" in said
    status, said = checked(f"data: {MODEL.parents[1] / 'images'}")
    assert (status, said) == (0, "")
    picture(tmp_path / "pool/a.png")  # names no labels: those of all detectors are the labels
    other = f"  - {{name: two, kind: onnx, weights: {MODEL}, labels: {{screw: bolt, nut: tack}}}}\n"
    status, said = checked(f"{other}data: pool")
    assert status == 0
    assert "one: knows nothing of 'tack', so it has no vote there." in said
    assert "two: knows nothing of 'nut', 'screw', so it has no vote there." in said


def test_a_dangling_image_id(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "good.jpg")
    (pool / "annotations").mkdir()
    truth = {
        "images": [{"id": 7, "file_name": "good.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "bolt"}],
        "annotations": [
            {"id": 1, "image_id": 8, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 0}
        ],
    }
    (pool / "annotations/instances_val.json").write_text(json.dumps(truth))
    status, said = run(pool)
    assert status == 2
    assert "8" in said
    assert "instances_val.json" in said


def test_a_picture_the_data_set_names_and_has_not(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "good.jpg")
    (pool / "annotations").mkdir()
    names = ("good.jpg", "gone.jpg", "../outside.jpg")
    picture(tmp_path / "outside.jpg")
    truth = {
        "images": [
            {"id": i, "file_name": name, "width": 64, "height": 48}
            for i, name in enumerate(names[:2], start=1)
        ],
        "categories": [{"id": 1, "name": "bolt"}],
        "annotations": [],
    }
    file = pool / "annotations/instances_val.json"
    file.write_text(json.dumps(truth))
    status, said = run(pool)
    assert status == 0
    assert "gone.jpg" in said
    truth["images"][1]["file_name"] = names[2]
    file.write_text(json.dumps(truth))
    status, said = run(pool, out="again")
    assert status == 2
    assert "outside.jpg" in said


BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY file SYSTEM "file:///etc/passwd">]>
<annotations><version>1.1</version><image id="0" name="good.jpg"><box label="&c;&file;" xtl="0"
ytl="0" xbr="1" ybr="1" occluded="0"/></image></annotations>
"""


def test_an_xml_bomb(tmp_path, run):
    pool = tmp_path / "pool"
    picture(pool / "images/good.jpg")
    (pool / "annotations.xml").write_text(BOMB)
    status, said = run(pool)
    assert status == 2
    assert "annotations.xml" in said
    assert "root:" not in said


def test_an_archive_that_escapes(tmp_path, run):
    picture(tmp_path / "good.jpg")
    archive = tmp_path / "pool.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "good.jpg", "good.jpg")
        file.write(tmp_path / "good.jpg", "../../escaped.jpg")
    status, said = run(archive)
    assert status == 2
    assert "escaped.jpg" in said


def test_an_archive_of_pictures_is_a_data_set(tmp_path, run):
    picture(tmp_path / "good.jpg")
    archive = tmp_path / "pool.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "good.jpg", "sub/good.jpg")
        file.write(tmp_path / "good.jpg", "good.jpg")
    status, said = run(archive)
    assert status == 0, said
    assert {image.name for image in read(tmp_path / "out/cvat").images} == {
        "good.jpg",
        "sub/good.jpg",
    }
