"""`quorate fuse` from S3 and into it, against a real store."""

import gzip
import json

import pytest

from quorate.cli import main
from quorate.detections import Detections
from quorate.formats.detections import reading as detection_files
from quorate.storage import exists, read_bytes, write_bytes

pytestmark = pytest.mark.s3

BOX = {"image_id": 9, "category_id": 1, "bbox": [10, 10, 30, 30], "score": 0.9}
OTHER = {**BOX, "bbox": [11, 10, 30, 30], "score": 0.7}


@pytest.fixture
def two(s3_prefix):
    """Two detectors' results in S3."""
    write_bytes(f"{s3_prefix}/in/a.json", json.dumps([BOX]).encode())
    write_bytes(f"{s3_prefix}/in/b.json.gz", gzip.compress(json.dumps([OTHER]).encode()))
    write_bytes(f"{s3_prefix}/in/deeper/c.json", b"[]")
    return [f"{s3_prefix}/in/a.json", f"{s3_prefix}/in/b.json.gz"]


@pytest.mark.parametrize("ending", ["json", "json.gz", "parquet"])
def test_from_s3_into_s3(two, s3_prefix, ending, tmp_path):
    out = f"{s3_prefix}/out/fused.{ending}"
    assert main(["fuse", *two, "--method", "consensus", "-o", out]) == 0
    local = tmp_path / f"fused.{ending}"
    local.write_bytes(read_bytes(out))
    if ending == "parquet":
        assert Detections.from_parquet(local).votes.tolist() == [2]
    else:
        text = gzip.decompress(local.read_bytes()) if ending == "json.gz" else local.read_bytes()
        (box,) = json.loads(text)
        assert (box["image_id"], box["votes"], sorted(box["detectors"])) == (9, 2, ["a", "b"])
    # What came out can go in again, beside a file that is here.
    here = tmp_path / "here.json"
    here.write_text(json.dumps([BOX]))
    assert main(["fuse", out, str(here), "-o", str(tmp_path / "again.json")]) == 0


@pytest.mark.parametrize(
    ("pattern", "detectors"),
    [("in/*.json*", {"a", "b"}), ("in/[ab].json*", {"a", "b"}), ("*/?.json", {"a"})],
)
def test_a_glob_of_s3(two, s3_prefix, tmp_path, capsys, pattern, detectors):
    out = tmp_path / "fused.json"
    assert main(["fuse", f"{s3_prefix}/{pattern}", "--json", "-o", str(out)]) == 0
    assert {one["name"] for one in json.loads(capsys.readouterr().out)["files"]} == detectors


def test_a_sign_of_globs_in_a_key_is_a_sign(s3_prefix, tmp_path):
    place = f"{s3_prefix}/run[1].json"
    write_bytes(place, json.dumps([BOX]).encode())
    assert main(["fuse", place, "-o", str(tmp_path / "fused.json")]) == 0


def test_annotations_into_s3(two, s3_prefix):
    out = f"{s3_prefix}/out.json"
    assert main(["fuse", *two, "--format", "coco", "-o", out]) == 0
    assert len(json.loads(read_bytes(out))["annotations"]) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{prefix}/in/none.json", "there is no such file"),
        ("{prefix}/in/none*.json", "no file is called so"),
        ("s3://quorate-no-such-bucket/a.json", "there is no such bucket"),
        ("s3://quorate-no-such-bucket/*.json", "there is no such bucket"),
        ("s3:///a.json", "names no bucket"),
    ],
)
def test_what_is_not_there_is_said(two, s3_prefix, capsys, wrong, said):
    out = f"{s3_prefix}/fused.json"
    assert main(["fuse", two[0], wrong.format(prefix=s3_prefix), "-o", out]) == 2
    assert said in capsys.readouterr().err
    assert not exists(out)


def test_a_bucket_to_write_to_must_be_there(two, capsys):
    assert main(["fuse", *two, "-o", "s3://quorate-no-such-bucket/fused.json"]) == 2
    assert "there is no such bucket" in capsys.readouterr().err


def test_a_wrong_key_is_said(two, s3_prefix, capsys, monkeypatch):
    from quorate.storage import s3

    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        s3.client.cache_clear()
        assert main(["fuse", *two, "-o", f"{s3_prefix}/fused.json"]) == 2
    s3.client.cache_clear()  # for the clearing away
    said = capsys.readouterr().err
    assert "refused access" in said
    assert "hint: " in said


def test_a_large_object_is_not_read_to_see_what_it_is(s3_prefix, monkeypatch):
    place = f"{s3_prefix}/large.json"
    write_bytes(place, json.dumps([BOX] * 2000).encode())
    whole = []
    monkeypatch.setattr(detection_files, "read_bytes", whole.append)
    assert len(detection_files.read_detections(place).detections) == 2000
    assert not whole
