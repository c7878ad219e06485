"""The folder that trainers get: what is in it, what was left out, and what is refused."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from quorate.errors import InputError, LabelError
from quorate.spec.training import Split, Training
from quorate.training.contract import truth_of
from quorate.training.data import prepare
from quorate.training.work import TrainingWork
from tests.training.pictures import instances, squares, trainer, write


def training(data, **settings):
    return Training(name="squares", data=str(data), trainers=[trainer()], **settings)


def prepared(tmp_path, data, **settings):
    work = TrainingWork(tmp_path / "out")
    return prepare(training(data, **settings), work), work


def test_every_picture_and_box_is_in_one_part(tmp_path):
    data = squares(tmp_path / "data", 30)
    done, work = prepared(tmp_path, data, split=Split(validation=0.2, test=0.2))
    assert (done.train.images, done.validation.images, done.test.images) == (18, 6, 6)
    found = {}
    for folder, part in ((work.data, "train"), (work.data, "validation"), (work.test, "test")):
        coco = json.loads((folder / f"{part}.json").read_text())
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "red"), (2, "green")]
        for one in coco["annotations"]:
            name = names[one["image_id"]]
            assert (folder / "images" / name).read_bytes() == (data / "images" / name).read_bytes()
            found[name] = one["category_id"], one["bbox"]
    given = instances(data)
    names = {image["id"]: image["file_name"] for image in given["images"]}
    assert found == {
        names[a["image_id"]]: (a["category_id"], a["bbox"]) for a in given["annotations"]
    }
    assert (work.data / "labels.txt").read_text() == "red\ngreen\n"
    assert {path.name for path in work.data.iterdir()} == {
        "train.json", "validation.json", "labels.txt", "images",
    }  # fmt: skip


def test_the_same_again_touches_nothing(tmp_path):
    data = squares(tmp_path / "data", 20)
    done, work = prepared(tmp_path, data)
    before = (work.data / "train.json").stat().st_mtime_ns
    assert prepared(tmp_path, data)[0] == done
    assert (work.data / "train.json").stat().st_mtime_ns == before
    assert prepared(tmp_path, data, split=Split(seed=1))[0] != done


def test_bad_boxes_are_counted_and_cut(tmp_path):
    data = squares(tmp_path / "data", 20)
    coco = instances(data)
    boxes = [one["bbox"] for one in coco["annotations"]]
    boxes[0][:] = [-10.0, 5.0, 30.0, 20.0]  # reaches beyond
    boxes[1][:] = [70.0, 5.0, 30.0, 20.0]  # outside of 64 pixels
    boxes[2][:] = [5.0, 5.0, 0.0, 20.0]  # no width
    write(data, coco["images"], coco["annotations"])
    done, work = prepared(tmp_path, data)
    assert sum(done.train.boxes) + sum(done.validation.boxes) == 18
    said = " ".join(done.notes)
    assert "1 boxes reach beyond" in said
    assert "1 boxes lie outside" in said
    assert "1 boxes have a side of less than one pixel" in said
    held = [truth_of(work.data, part).annotations.xyxy for part in ("train", "validation")]
    assert [0.0, 5.0, 20.0, 25.0] in np.concatenate(held).tolist()


def test_a_label_in_no_picture_is_told_and_keeps_its_number(tmp_path):
    data = squares(tmp_path / "data", 20)
    coco = instances(data)
    write(data, coco["images"], coco["annotations"], names=("red", "green", "blue"))
    done, _ = prepared(tmp_path, data)
    assert done.labels == ("red", "green", "blue")
    assert "No picture has a box of blue, so nothing is learnt of that." in done.notes


def test_labels_of_the_spec_choose_and_order(tmp_path):
    done, _ = prepared(tmp_path, squares(tmp_path / "data", 20), labels=("green",))
    assert done.labels == ("green",)
    assert any("label that is not to be learnt" in note for note in done.notes)
    with pytest.raises(LabelError, match="'gren' is not one of"):
        prepared(tmp_path, tmp_path / "data", labels=("gren",))


def test_a_dump_with_nothing_labelled_is_refused(tmp_path):
    data = squares(tmp_path / "data", 8)
    write(data, instances(data)["images"], [])
    with pytest.raises(InputError, match="nothing is labelled"):
        prepared(tmp_path, data)


def test_an_empty_name_of_a_label_is_refused(tmp_path):
    data = squares(tmp_path / "data", 8)
    coco = instances(data)
    write(data, coco["images"], coco["annotations"], names=("red", " "))
    with pytest.raises(LabelError, match="empty"):
        prepared(tmp_path, data)


def test_a_label_of_two_lines_is_refused(tmp_path):
    data = squares(tmp_path / "data", 20)
    coco = instances(data)
    write(data, coco["images"], coco["annotations"], names=("red", "green\nlight"))
    with pytest.raises(LabelError, match=r"the label 'green\\nlight' is not one line"):
        prepared(tmp_path, data)
    done, _ = prepared(tmp_path, data, labels=["red"])
    assert done.labels == ("red",)


def test_a_png_of_16_bits_is_written_with_8(tmp_path):
    data = squares(tmp_path / "data", 10)
    coco = instances(data)
    first = data / "images" / coco["images"][0]["file_name"]
    pixels = np.asarray(Image.open(first))
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    first.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
            for kind, part in chunks
        )
    )
    done, work = prepared(tmp_path, data)
    assert any("1 pictures are written anew as PNG" in note for note in done.notes)
    [anew] = work.data.rglob(f"{first.name}.png")
    assert anew.read_bytes()[24] == 8
    np.testing.assert_array_equal(np.asarray(Image.open(anew)), pixels)


def test_pictures_may_be_elsewhere(tmp_path):
    data = squares(tmp_path / "data", 20)
    (data / "images").rename(tmp_path / "photos")
    with pytest.raises(InputError, match="none of 20 pictures could be read") as refused:
        prepared(tmp_path, data)
    assert "images:" in refused.value.hint
    done, _ = prepared(tmp_path, data, images=str(tmp_path / "photos"))
    assert done.train.images == 16


def test_pictures_that_would_be_written_as_one_are_refused(tmp_path):
    data = squares(tmp_path / "data", 10)
    coco = instances(data)
    for image, name in zip(coco["images"], ("a.bmp", "a.bmp.png"), strict=False):
        old = data / "images" / image["file_name"]
        Image.open(old).save(data / "images" / name)
        image["file_name"] = name
    write(data, coco["images"], coco["annotations"])
    with pytest.raises(InputError, match=r"2 pictures would be written as 'a\.bmp\.png'"):
        prepared(tmp_path, data)


def test_what_is_refused_after_reading_names_the_data(tmp_path):
    data = squares(tmp_path / "data", 1)
    with pytest.raises(InputError, match=f"^{data}/images: no picture is left for validation"):
        prepared(tmp_path, data)


def test_pictures_of_another_size_are_refused(tmp_path):
    data = squares(tmp_path / "data", 10)
    first = sorted((data / "images").iterdir())[0]
    Image.new("RGB", (32, 32)).save(first)
    with pytest.raises(InputError, match="another size than the labels say"):
        prepared(tmp_path, data)


def test_a_turned_picture_is_written_upright(tmp_path):
    data = squares(tmp_path / "data", 10)
    coco = instances(data)
    first = coco["images"][0]
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = np.zeros((80, 40, 3), np.uint8)
    shown[10:34, 5:29, 0] = 230
    stored = Image.fromarray(np.rot90(shown))
    stored.save(data / "images/turned.jpg", exif=exif, quality=100)
    first |= {"file_name": "turned.jpg", "width": 40, "height": 80}
    coco["annotations"][0]["bbox"] = [5, 10, 24, 24]
    write(data, coco["images"], coco["annotations"])
    done, work = prepared(tmp_path, data)
    assert any("1 pictures are written anew as PNG" in note for note in done.notes)
    [upright] = work.data.rglob("turned.jpg.png")
    pixels = np.asarray(Image.open(upright))
    assert pixels.shape == (80, 40, 3)
    assert pixels[20, 10, 0] > 200 > 50 > pixels[60, 10, 0]
