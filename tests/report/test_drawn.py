"""Pictures with boxes on them, a file each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quorate import draw
from quorate.annotations import Annotations, Kind
from quorate.cli import main
from quorate.columns import Ragged
from quorate.dataset import Image as Record
from quorate.detections import Detections
from quorate.errors import InputError, QuorateError
from quorate.formats import read, write_results
from quorate.report.drawn import _Scene, draw_pictures

A, B = [10, 10, 60, 60], [200, 100, 280, 160]


@pytest.fixture
def data(tmp_path):
    """Two pictures in a folder, one object each, and a picture that is none."""
    (tmp_path / "cam").mkdir()
    for name in ("cam/a.jpg", "cam/b.bmp"):
        Image.new("RGB", (640, 480), (90, 90, 90)).save(tmp_path / name)
    (tmp_path / "cam/c.jpg").write_bytes(b"no picture")
    names = ["cam/a.jpg", "cam/b.bmp", "cam/c.jpg"]
    (tmp_path / "truth.json").write_text(json.dumps({
        "images": [{"id": i, "file_name": name, "width": 640, "height": 480}
                   for i, name in enumerate(names, 1)],
        "categories": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}],
        "annotations": [{"id": i, "image_id": i, "category_id": i, "area": 2500, "iscrowd": 0,
                         "bbox": [10, 10, 50, 50]} for i in (1, 2)],
    }))  # fmt: skip
    return tmp_path


def boxes(*rows):
    image, category, box, score = zip(*rows, strict=True)
    return Detections.build(
        image_id=image, category_id=category, xyxy=box, score=score, detectors=["d"]
    )


def test_annotations_are_drawn_under_the_names_of_the_pictures(data, capsys):
    assert main(["draw", str(data / "truth.json"), "-o", str(data / "out")]) == 0
    written = sorted(p.relative_to(data / "out").as_posix() for p in (data / "out").rglob("*.*"))
    assert written == ["cam/a.jpg", "cam/b.bmp.png"]
    assert "left out: cam/c.jpg" in capsys.readouterr().err
    assert np.ptp(np.asarray(Image.open(data / "out/cam/b.bmp.png"))) > 100


def test_each_box_says_what_is_to_be_done(data):
    truth = read(data / "truth.json")
    found = boxes((1, 1, A, 0.9), (1, 1, B, 0.5), (2, 1, A, 0.8), (2, 2, B, 0.1))
    scene = _Scene.of(truth, found, 0.25)
    told = {image.id: [mark.text for mark in scene.on(image)[0]] for image in truth.images[:2]}
    assert told == {1: ["bolt 0.90", "bolt 0.50: delete"], 2: ["bolt 0.80: is nut"]}
    missing = _Scene.of(truth, found.take(slice(0, 1)), 0.25).on(truth.images[1])[0]
    assert [(mark.text, mark.dashed) for mark in missing] == [("add nut", True)]


def test_only_pictures_with_errors_and_of_a_name(data):
    write_results(boxes((1, 1, A, 0.9)), str(data / "r.json"))
    command = ["draw", str(data / "truth.json"), str(data / "r.json"), "-o", str(data / "out")]
    assert main([*command, "--errors"]) == 0
    assert [p.name for p in (data / "out").rglob("*.*")] == ["b.bmp.png"]
    assert main([*command, "--only", "cam/a*"]) == 0
    assert len(list((data / "out").rglob("*.*"))) == 2
    assert main(["draw", str(data / "truth.json"), "--errors", "-o", "x"]) == 2


def test_one_picture_in_python(data):
    truth = read(data / "truth.json")
    drawn = draw(np.zeros((480, 640, 3), np.uint8), boxes((1, 1, A, 0.9), (1, 2, B, 0.2)), truth,
                 min_score=0.25)  # fmt: skip
    assert drawn[10:60, 10:60].any()
    assert not drawn[90:, 150:].any()


def test_a_data_set_of_pictures_alone_has_nothing_to_draw(data, capsys):
    (data / "cam/c.jpg").unlink()
    assert main(["draw", str(data / "cam"), "-o", str(data / "out")]) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_polygons_of_annotations_are_filled_lightly(data):
    truth = read(data / "truth.json")
    ring = Ragged.of([[300, 100, 500, 100, 500, 300, 300, 300]])
    shapes = Annotations.build(
        image_id=[1], category_id=[1], xyxy=[[300, 100, 500, 300]], points=ring, kind=Kind.POLYGON
    )
    done = draw_pictures(replace(truth, annotations=shapes), data / "o")
    assert len(done.files) == 2
    pixels = np.asarray(Image.open(data / "o/cam/a.jpg")).astype(int)
    assert abs(pixels[50, 50] - 90).max() < 10
    assert abs(pixels[200, 400] - 90).max() > 30


def test_pictures_without_labels_take_the_words_of_the_boxes(data, monkeypatch):
    (data / "cam/c.jpg").unlink()
    texts = []
    monkeypatch.setattr(
        "quorate.report.drawn.draw_boxes",
        lambda pixels, xyxy, said, *rest, **more: texts.extend(said) or pixels,
    )
    rows = [{"image_id": "a.jpg", "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.9}]
    (data / "r.json").write_text(json.dumps(rows))
    command = ["draw", str(data / "cam"), str(data / "r.json"), "-o", str(data / "out")]
    assert main([*command, "--labels", "r.json=7:bolt"]) == 0
    assert texts == ["bolt 0.90"]


def test_the_pictures_themselves_are_never_written_over(data):
    truth = read(data / "truth.json")
    with pytest.raises(InputError, match="written over"):
        draw_pictures(truth, data / "cam")
    outside = Record(id=1, file_name="a.jpg", published_as="../../x.jpg")
    with pytest.raises(QuorateError):
        draw_pictures(replace(truth, images=(outside,)), data / "out")
    assert not (data.parent / "x.jpg").exists()
