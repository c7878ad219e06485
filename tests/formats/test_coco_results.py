import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from quorate.detections import FUSED, Detections, Members
from quorate.errors import FormatError, QuorateError
from quorate.formats.coco import results_reading as coco_results
from quorate.formats.coco.results_reading import read_results
from quorate.formats.coco.results_writing import write_results

ROWS = [
    {"image_id": i % 7, "category_id": 1 + i % 3, "bbox": [i, 1.5, 2, 3], "score": (i % 10) / 10}
    for i in range(500)
]


@pytest.fixture
def put(tmp_path):
    def put(data, name="r.json"):
        path = tmp_path / name
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return str(path)

    return put


@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
@pytest.mark.parametrize("name", ["r.json", "r.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_stream_gives_every_row_whatever_the_size_of_its_parts(
    put, monkeypatch, chunk, name, indent
):
    monkeypatch.setattr(coco_results, "CHUNK", chunk)
    found = read_results(put(json.dumps(ROWS, indent=indent).encode(), name))
    assert [found.image_ids[i] for i in found.image] == [row["image_id"] for row in ROWS]
    assert [found.category_ids[i] for i in found.category] == [r["category_id"] for r in ROWS]
    assert found.xyxy.tolist() == [
        [x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in ROWS)
    ]
    assert found.score.tolist() == [np.float32(row["score"]) for row in ROWS]


def test_segmentations_and_names_with_braces_do_not_break_a_stream(put, monkeypatch):
    monkeypatch.setattr(coco_results, "CHUNK", 100)
    odd = {"segmentation": [[1, 2, 3, 4, 5, 6]], "detectors": ["x}, {y", "z"]}
    found = read_results(put([row | odd for row in ROWS[:60]]))
    assert len(found.score) == 60
    assert found.polygons.lengths.tolist() == [6] * 60
    assert found.detectors[0] == ["x}, {y", "z"]


@pytest.mark.parametrize("chunk", [100, 1000, 1 << 20])
def test_objects_nested_in_a_detection_do_not_break_a_stream(put, monkeypatch, chunk):
    monkeypatch.setattr(coco_results, "CHUNK", chunk)
    odd = {"keypoints": [{"x": 1}, {"x": 2}, {"x": 3}], "text": "}, {", "more": "{{"}
    found = read_results(put([row | odd for row in ROWS]))
    assert found.score.tolist() == [np.float32(row["score"]) for row in ROWS]


def test_a_key_that_stands_seventy_thousand_times_is_read(put):
    """More bytes than a box needs for one box: what was sized by the bytes overflowed."""
    again = b'"image_id":%d,'
    text = b"".join(again % i for i in range(70_000))
    found = read_results(put(b'[{%b"category_id":1,"bbox":[1,2,3,4],"score":0.5}]' % text))
    assert found.image_ids == [69_999]
    assert found.xyxy.tolist() == [[1, 2, 4, 6]]


@pytest.mark.parametrize("rows", [1, 20_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (b'"votes":3.0', r"detection {n}, its votes: a whole number belongs here, not a number"),
        (b'"image_id":"caf\xe9.jpg"', r"not text in UTF-8 at byte {byte}"),
        (b'"detectors":["\xff"]', r"not text in UTF-8 at byte {byte}"),
        (b'"agreement":1e300', r"detection {n} has an agreement that is not within 0..1"),
        (b'"votes":12345678901234567890', r"detection {n}, its votes: a whole number <= "),
        (b'"agreement":1e400', r"detection {n}, its agreement: Number out of range"),
        (b'"bbox":[1,1,1,1]', r"the key 'bbox' stands twice in one object"),
    ],
)
def test_small_and_large_files_have_one_answer(put, rows, odd, said):
    before = b'{"image_id":1,"category_id":1,"bbox":[1,2,3,4],"score":0.5}, ' * rows
    text = b'[%b{"image_id":2,"category_id":1,"bbox":[1,2,3,4],"score":0.5,%b}]' % (before, odd)
    at = next((i for i, byte in enumerate(text) if byte > 127), 0)
    with pytest.raises(FormatError) as caught:
        read_results(put(text))
    assert said.format(n=rows + 1, byte=at) in str(caught.value)


def test_nothing_found_is_no_error(put):
    assert len(read_results(put([])).score) == 0


BAD = {
    "empty file": (b"", "the file is empty"),
    "not a list": ({"images": []}, "not a list of detections"),
    "NaN": (
        b'[{"image_id":1,"category_id":1,"bbox":[1,2,3,NaN],"score":1}]',
        "not JSON at byte 45",
    ),
    "three numbers": (
        [ROWS[0], {**ROWS[1], "bbox": [1, 2, 3]}],
        "detection 2, its bbox: a list of 4",
    ),
    "no score": (
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "detection 1: there is no `score`",
    ),
    "negative": ([*ROWS[:4], {**ROWS[1], "bbox": [1, 2, -3, 4]}], "detection 5 has a negative"),
    "score": ([{**ROWS[1], "score": 1.2}], "detection 1 has a score"),
    "infinite": ([{**ROWS[1], "bbox": [1, 2, 3, 1e400]}], "r.json"),
}


@pytest.mark.parametrize(("data", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(put, data, said):
    with pytest.raises(QuorateError) as caught:
        read_results(put(data))
    assert said in str(caught.value)
    assert "r.json" in str(caught.value)


@pytest.mark.parametrize("chunk", [200, 1 << 20])
def test_a_truncated_file_says_at_which_byte(put, monkeypatch, chunk):
    monkeypatch.setattr(coco_results, "CHUNK", chunk)
    data = json.dumps(ROWS).encode()[:-20]
    with pytest.raises(FormatError, match=f"truncated: it ends at byte {len(data)} in the middle"):
        read_results(put(data))
    path = put(b"[]", "r.json.gz")
    Path(path).write_bytes(gzip.compress(data)[:-50])
    with pytest.raises(FormatError, match=r"r\.json\.gz: not a whole gzip"):
        read_results(path)


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    low = rng.random((50, 2)).astype(np.float32) * 500
    detections = Detections.build(
        image_id=rng.integers(1, 9, 50),
        category_id=rng.integers(1, 4, 50),
        xyxy=np.concatenate([low, low + 20], axis=1),
        score=rng.random(50),
        detector=FUSED,
        votes=rng.integers(1, 4, 50),
        agreement=rng.random(50),
        detectors=("a", "b"),
        members=Members(np.arange(51), np.tile([0, 1], 25).astype(np.int16), np.ones(50, "f4")),
    )
    for name in ("o.json", "o.json.gz"):
        write_results(detections, str(tmp_path / name), image_ids={3: "three"})
        found = read_results(str(tmp_path / name))
        ids = ["three" if i == 3 else i for i in detections.image_id.tolist()]
        assert [found.image_ids[i] for i in found.image] == ids
        assert np.allclose(found.xyxy, detections.xyxy, atol=1.1e-3)
        assert np.allclose(found.score, detections.score, atol=1e-6)
        assert found.votes.tolist() == detections.votes.tolist()
        assert found.detectors[1] == ["b"]
    one = (tmp_path / "o.json.gz").read_bytes()
    write_results(detections, str(tmp_path / "o.json.gz"), image_ids={3: "three"})
    assert (tmp_path / "o.json.gz").read_bytes() == one


def test_a_detectors_own_boxes_have_the_four_keys_alone(tmp_path):
    plain = Detections.build(
        image_id=[1], category_id=[1], xyxy=[[0, 0, 1, 1]], score=[0.5], detectors=("a",)
    )
    write_results(plain, str(tmp_path / "o.json"))
    assert json.loads((tmp_path / "o.json").read_text()) == [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}
    ]
