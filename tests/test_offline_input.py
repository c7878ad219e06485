"""What `quorate fuse` makes of odd, mixed and damaged files."""

import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from quorate.cli import main
from quorate.detections import Detections
from quorate.errors import QuorateError
from quorate.formats import read
from quorate.formats.coco import results_reading as coco_results
from quorate.formats.coco.results_reading import read_results
from quorate.offline import fuse_files, picture_list
from quorate.spec import Affirmative, WeightedBoxesFusion

BOX, NEAR, FAR = [10, 10, 20, 20], [11, 10, 20, 20], [100, 100, 30, 30]


def row(image_id=9, bbox=BOX, score=0.9, category_id=3, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score, **more}


@pytest.fixture
def put(tmp_path):
    def put(rows, name="a.json"):
        path = tmp_path / name
        path.write_bytes(rows if isinstance(rows, bytes) else json.dumps(rows).encode())
        return path

    return put


@pytest.fixture
def pictures(put):
    """COCO instances: two pictures of 200 x 100, two labels, one object each."""
    return put(
        {
            "images": [
                {"id": i, "file_name": f"cam/{i:06}.jpg", "width": 200, "height": 100}
                for i in (4, 9)
            ],
            "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "bus"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 3, "bbox": BOX, "area": 400, "iscrowd": 0}
                for i in (4, 9)
            ],
        },
        "instances.json",
    )


def command(*arguments):
    return main(["fuse", *(str(argument) for argument in arguments)])


def number(value):
    return b'[{"image_id":9,"category_id":3,"bbox":[1,2,3,4],"score":%b}]' % value


BAD = {
    "truncated": (json.dumps([row()] * 3).encode()[:-9], "truncated"),
    "no list": (b'{"predictions": []}', "of no known format"),
    "a number": (b"7", "not a list of detections"),
    "nothing": (b"", "is empty"),
    "NaN score": (number(b"NaN"), "not JSON at byte"),
    "infinite score": (number(b"1e999"), "detection 1"),
    "a score in percent": ([row(), row(score=91)], "detection 2 has a score that is not within"),
    "inverted": ([row(bbox=[30, 10, -20, 20])], "detection 1 has a negative width"),
    "beyond any picture": ([row(bbox=[0, 0, 1e12, 1])], "detection 1 reaches further"),
    "a huge picture id": ([row(image_id=10**30)], r"1000000000000000000000000000000 is larger"),
    "a huge category id": ([row(category_id=10**12)], "category id 1000000000000 is larger"),
    "an id that is null": ([row(), row(image_id=None)], "detection 2"),
    "deep nesting": (b"[" * 100_000, "a.json"),
    "deep nesting inside": (b'[{"x":' + b"[" * 100_000, "a.json"),
    "lengths": ([row(bbox=[1, 2, 3])], "detection 1, its bbox: a list of 4 belongs here"),
    "text": (b"\xff\xfe[\x00]\x00", "not a list of detections"),
    "trailing": (json.dumps([row()]).encode() + b"{}", "not JSON at byte"),
    "a comma too many": (json.dumps([row()]).encode()[:-1] + b",]", "not JSON at byte"),
}


@pytest.mark.parametrize("chunk", [100, 1 << 20])
@pytest.mark.parametrize(("data", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_with_the_place_and_nothing_is_written(
    put, tmp_path, capsys, monkeypatch, data, said, chunk
):
    monkeypatch.setattr(coco_results, "CHUNK", chunk)
    out = tmp_path / "fused.json"
    assert command(put(data), put([row()], "b.json"), "-o", out) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "a.json" in told
    assert "Traceback" not in told
    assert not out.exists()


@pytest.mark.parametrize("name", ["folder.json", "missing.json", "folder"])
def test_what_is_no_file_is_said(put, tmp_path, capsys, name):
    for folder in ("folder.json", "folder"):
        (tmp_path / folder).mkdir()
    assert command(put([row()]), tmp_path / name, "-o", tmp_path / "x.json") == 2
    assert name in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_said(put, tmp_path, capsys):
    path = put([row()])
    path.chmod(0)
    assert command(path, "-o", tmp_path / "x.json") == 2
    assert "Permission denied" in capsys.readouterr().err


def test_of_a_key_that_stands_twice_the_last_counts(put):
    text = b'[{"image_id":1,"category_id":3,"bbox":[1,2,3,4],"score":0.5,"score":0.25}]'
    assert read_results(str(put(text))).score.tolist() == [0.25]


def test_digits_and_odd_detections_are_read_whatever_the_size_of_the_parts(put, monkeypatch):
    random = np.random.default_rng(0)
    rows = [
        row(
            image_id=["cam/ä.jpg", "b\\u00e4", 7, 2**40][i % 4],
            bbox=random.uniform(-5, 3000, 4).clip(0).astype(np.float32).tolist(),
            score=float(10 ** random.uniform(-12, 0)),
            category_id=["car", 3][i % 2],
            **({"file": "x.jpg", "iscrowd": 0, "id": None} if i % 3 else {}),
            **({"votes": 2, "agreement": 0.5, "detectors": ["a", "b"]} if i > 900 else {}),
        )
        for i in range(1000)
    ]
    path = str(put(rows))
    for chunk in (1 << 20, 777):
        monkeypatch.setattr(coco_results, "CHUNK", chunk)
        found = read_results(path)
        assert [found.image_ids[i] for i in found.image] == [r["image_id"] for r in rows]
        assert [found.category_ids[i] for i in found.category] == [r["category_id"] for r in rows]
        assert found.score.tolist() == [np.float32(r["score"]) for r in rows]
        x, y, w, h = np.array([r["bbox"] for r in rows]).T
        assert np.array_equal(found.xyxy, np.stack([x, y, x + w, y + h], 1).astype(np.float32))
        assert found.votes.tolist() == [1] * 901 + [2] * 99
        assert found.agreement.tolist() == [1] * 901 + [0.5] * 99
        assert found.detectors == [None] * 901 + [["a", "b"]] * 99


def test_normalised_and_pixel_files_meet_and_it_is_said(put, pictures):
    whole = [row(), row(4)]
    part = [row(bbox=[0.05, 0.1, 0.1, 0.2], score=0.8), row("000004", [0.5, 0.5, 0.5, 0.5])]
    files = [put(whole), put(part, "b.json")]
    done = fuse_files(files, Affirmative(), dataset=read(pictures))
    assert done.fused.votes.tolist() == [1, 1, 2]
    assert any("b.json: its boxes are normalised" in note for note in done.notes)
    with pytest.raises(QuorateError, match=r"b\.json: its boxes are normalised, and the size"):
        fuse_files([files[0], put([row(bbox=[0.1, 0.1, 0.1, 0.1])], "b.json")], Affirmative())


def test_files_that_are_all_normalised_stay_so(put, tmp_path):
    boxes = [0.123456, 0.2, 0.3, 0.4]
    out = tmp_path / "fused.json"
    assert command(put([row(bbox=boxes)]), put([row(bbox=boxes)], "b.json"), "-o", out) == 0
    assert json.loads(out.read_text())[0]["bbox"] == pytest.approx(boxes, abs=1e-6)


def test_what_is_odd_is_counted_and_kept(put, pictures):
    rows = [row(), row(bbox=[50, 50, 0, 10]), row(bbox=[190, 90, 40, 40]), row(score=0.01)]
    done = fuse_files([put(rows)], WeightedBoxesFusion(min_score=0.05), dataset=read(pictures))
    said = "\n".join(done.notes)
    assert "1 of 4 boxes have no area" in said
    assert "1 of 4 boxes reach outside" in said
    assert "1 of 4 boxes score less than 0.05" in said
    assert len(done.fused) == 3


def test_corners_taken_for_sizes_are_noticed(put, pictures):
    done = fuse_files([put([row(bbox=[150, 50, 190, 90])])], Affirmative(), dataset=read(pictures))
    assert any("are these x1, y1, x2, y2?" in note for note in done.notes)


def test_all_below_the_threshold_leaves_nothing_and_says_so(put, tmp_path, capsys):
    out = tmp_path / "fused.json"
    assert command(put([row(score=0.1)]), "--min-score", "0.5", "-o", out) == 0
    assert json.loads(out.read_text()) == []
    assert "no box is left" in capsys.readouterr().err


def test_text_ids_and_names_are_written_as_they_were(put, tmp_path):
    rows = [row("000042", category_id="car"), row("7", category_id="bus")]
    out = tmp_path / "fused.json"
    assert command(put(rows), put(rows, "b.json"), "-o", out) == 0
    written = json.loads(out.read_text())
    assert [(one["image_id"], one["category_id"]) for one in written] == [
        ("000042", "car"), ("7", "bus"),
    ]  # fmt: skip


def test_names_and_numbers_for_categories_do_not_meet(put):
    files = [put([row(category_id="car")]), put([row(category_id=3)], "b.json")]
    with pytest.raises(QuorateError, match=r"b\.json: has numbers .* where .*a\.json has names"):
        fuse_files(files, Affirmative())


def test_an_unknown_category_is_named(put, pictures):
    with pytest.raises(QuorateError, match=r"category 'van' is not one of the data set's"):
        fuse_files([put([row(category_id="van")])], Affirmative(), dataset=read(pictures))


def test_a_list_of_pictures_orders_the_output(put, tmp_path, capsys):
    order = tmp_path / "val.txt"
    order.write_text("9\n4\n\n7\n")
    out = tmp_path / "fused.json"
    assert command(put([row(4), row(9)]), "--images", order, "-o", out) == 0
    assert [one["image_id"] for one in json.loads(out.read_text())] == [9, 4]
    order.write_text("cam/b.jpg\ncam/a.jpg\n")
    assert command(put([row("a"), row("b.jpg")]), "--images", order, "-o", out) == 0
    assert [one["image_id"] for one in json.loads(out.read_text())] == ["cam/b.jpg", "cam/a.jpg"]
    capsys.readouterr()
    assert command(put([row("c")]), "--images", order, "-o", out) == 2
    assert "its picture 'c' is not in" in capsys.readouterr().err
    for text, said in (("a\na\n", "stands twice"), ("\n", "lists no picture")):
        order.write_text(text)
        with pytest.raises(QuorateError, match=said):
            picture_list(order)


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_a_file(put, tmp_path, monkeypatch, packed):
    text = json.dumps([row(bbox=NEAR)]).encode()
    data = io.BytesIO(gzip.compress(text) if packed else text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(data)))
    out = tmp_path / "fused.json"
    assert command(put([row()]), "-", "-o", out) == 0
    assert json.loads(out.read_text())[0]["detectors"] == ["a", "stdin"]
    assert command("-", "-", "-o", out) == 2


def test_the_result_is_not_one_of_the_files(put, tmp_path, capsys):
    put([row()])
    put([row()], "b.json")
    assert command(tmp_path / "*.json", "-o", tmp_path / "b.json") == 2
    assert "is read and written" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["cvat", "coco", "voc", "yolo"])
def test_annotations_are_written_by_name(put, pictures, tmp_path, format):
    out = tmp_path / "out"
    files = [put([row()]), put([row(bbox=NEAR), row(4)], "b.json")]
    assert command(*files, "--images", pictures, "--format", format, "-o", out) == 0
    if format == "yolo":  # its reader asks for the pictures
        assert len(list(out.rglob("000009.txt"))) == 1
    else:
        assert len(read(out).annotations) == 2


def test_json_is_one_object_and_nothing_else(put, pictures, tmp_path, capsys):
    files = [put([row()]), put([row(bbox=NEAR)], "b.json")]
    out = tmp_path / "fused.parquet"
    assert command(*files, "--evaluate", pictures, "--json", "-o", out) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["files"]] == ["a", "b"]
    assert told["boxes"] == {"in": 2, "out": 1}
    assert told["votes"] == {"2": 1}
    assert told["metrics"]["fused"]["AP50"] == pytest.approx(0.5, abs=0.01)
    assert len(Detections.from_parquet(out)) == 1


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_progress_is_told_in_bytes_of_the_file(put, monkeypatch, name):
    monkeypatch.setattr(coco_results, "CHUNK", 1000)
    text = json.dumps([row(i, score=i / 1000) for i in range(1000)]).encode()
    path = put(gzip.compress(text) if name.endswith(".gz") else text, name)
    told = []
    fuse_files([path], Affirmative(), progress=lambda *how: told.append(how))
    names, done, sizes = zip(*told, strict=True)
    assert set(names) == {"a"}
    assert set(sizes) == {path.stat().st_size}
    assert list(done) == sorted(done)
    assert done[-1] == sizes[0]
    assert done[0] < sizes[0] or name.endswith(".gz")  # which is read ahead by more


PEAK = """
import resource, sys
from quorate.formats.coco.results_reading import read_results
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read_results(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(found.score), (after - before) >> 10)
"""


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 1], ids=["compact", "indented"])
def test_a_large_file_is_read_in_bounded_memory(tmp_path, indent):
    """Columns cost 32 bytes a box; beside them a few parts of the file are held, however large."""
    rows = [row(i, category_id=i % 9, bbox=[i + 0.5, 2.25, 30.125, 4]) for i in range(1000)]
    if indent:
        rows[0]["segmentation"] = {"size": [4, 4], "counts": "`0"}  # no pixel of 16
    text = json.dumps(rows, indent=indent).encode()[1:-1]
    times = (80 << 20) // len(text)
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.write(b"[")
        for part in range(times):
            file.write(b"," * (part > 0) + text)
        file.write(b"]")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    )
    boxes, peak = map(int, done.stdout.split())
    assert boxes == 1000 * times
    assert peak < 300, f"{peak} MB for {path.stat().st_size >> 20} MB of JSON"


def test_files_that_count_pictures_from_0_and_from_1_are_told(put):
    ours = put([row(i) for i in (1, 2, 3)])
    theirs = put([row(i, NEAR) for i in (0, 1, 2)], "b.json")
    done = fuse_files([ours, theirs], WeightedBoxesFusion())
    assert any("b.json from 0 to 2: they may count from 0 and from 1" in n for n in done.notes)
    theirs = put([row(i, NEAR) for i in (1, 2)], "b.json")
    assert not fuse_files([ours, theirs], WeightedBoxesFusion()).notes
