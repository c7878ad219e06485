"""Fusing files that are there already, as users of other tools have them."""

import json
import subprocess
import sys

import pytest

from quorate.cli import main
from quorate.detections import Detections
from quorate.errors import InputError, QuorateError
from quorate.offline import detector_names, fuse_files
from quorate.spec import Affirmative, Consensus, WeightedBoxesFusion


def results(path, rows, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            [
                {"image_id": i, "category_id": c, "bbox": list(b), "score": s} | more
                for i, c, b, s in rows
            ]
        )
    )
    return path


BOX, NEAR, FAR = (10, 10, 20, 20), (11, 10, 20, 20), (100, 100, 30, 30)


@pytest.fixture
def two(tmp_path):
    """Two detectors that agree on one box of picture 9 and have one each of their own."""
    return [
        results(tmp_path / "a.json", [(9, 3, BOX, 0.9), (4, 3, FAR, 0.6)]),
        results(tmp_path / "b.json", [(4, 5, BOX, 0.8), (9, 3, NEAR, 0.7)]),
    ]


def test_pictures_keep_the_order_of_the_first_file(two):
    done = fuse_files(two, Affirmative())
    assert [image.id for image in done.dataset.images] == [9, 4]
    assert done.fused.image_id.tolist() == [9, 4, 4]
    assert done.fused.votes.tolist() == [2, 1, 1]
    assert done.found.detectors == ("a", "b")


def test_categories_keep_their_numbers(two):
    done = fuse_files(two, Affirmative())
    assert sorted(done.fused.category_id.tolist()) == [3, 3, 5]


def test_text_ids_of_two_files_mean_the_same_picture(tmp_path):
    files = [
        results(tmp_path / "a.json", [("x.jpg", "car", BOX, 0.9), ("y.jpg", "car", BOX, 0.9)]),
        results(tmp_path / "b.json", [("y.jpg", "car", NEAR, 0.8), ("z.jpg", "dog", BOX, 0.8)]),
    ]
    done = fuse_files(files, Consensus())
    assert [image.name for image in done.dataset.images] == ["x.jpg", "y.jpg", "z.jpg"]
    assert done.dataset.labels.names == ("car", "dog")
    kept = done.dataset.images[1]
    assert done.fused.image_id.tolist() == [kept.id]


def test_one_of_two_is_no_majority(two):
    assert fuse_files(two, Consensus()).fused.votes.tolist() == [2]


def test_a_quorum_may_filter_before_another_method(two):
    done = fuse_files(two, WeightedBoxesFusion(), min_votes=2)
    assert done.fused.votes.tolist() == [2]
    assert len(done.found) == 4


def test_files_that_share_no_picture_are_refused(tmp_path):
    files = [
        results(tmp_path / "a.json", [(1, 1, BOX, 0.9)]),
        results(tmp_path / "b.json", [(2, 1, BOX, 0.9)]),
    ]
    with pytest.raises(InputError, match="no picture in common") as caught:
        fuse_files(files, Consensus())
    assert "--images" in (caught.value.hint or "")


def test_names_tell_files_apart(tmp_path):
    assert detector_names(["x/a.json", "y/b.json.gz"]) == ("a", "b")
    assert detector_names(["x/results.json", "y/results.json"]) == ("x", "y")
    assert detector_names(["x/results.json", "y/results.json", "z/a.json"]) == ("x", "y", "a")
    assert detector_names(["results.json", "y/results.json"]) == ("results", "y")
    same = ["a/v/results.json", "b/v/results.json"]
    assert detector_names(same) == ("a/v/results", "b/v/results")
    assert detector_names(["x/r.json", "y/r.json", "x.json"]) == ("x/r", "y/r", "x")
    assert detector_names(["/r.json", "./r.json"]) == ("/r", "./r")
    with pytest.raises(InputError, match="given twice"):
        detector_names(["x/a.json", "x/a.json"])


def test_an_empty_file_is_a_detector_that_found_nothing(tmp_path, two):
    empty = results(tmp_path / "empty.json", [])
    done = fuse_files([*two, empty], Consensus())
    assert len(done.fused.detectors) == 3
    assert done.fused.votes.tolist() == [2]


def command(*arguments):
    return main([str(argument) for argument in arguments])


def test_the_command_writes_what_coco_tools_read(two, tmp_path, capsys):
    out = tmp_path / "fused.json"
    assert command("fuse", *two, "--method", "consensus", "--iou", "0.5", "-o", out) == 0
    (box,) = json.loads(out.read_text())
    assert box["image_id"] == 9
    assert box["votes"] == 2
    assert sorted(box["detectors"]) == ["a", "b"]
    assert 10 < box["bbox"][0] < 11
    assert "2 pictures" in capsys.readouterr().err


def test_weights_go_by_the_order_of_the_files(two, tmp_path):
    left = []
    for weights in ("9,1", "1,9"):
        out = tmp_path / "fused.json"
        assert command("fuse", *two, "--method", "wbf", "--weights", weights, "-o", out) == 0
        boxes = json.loads(out.read_text())
        left.append(next(b["bbox"][0] for b in boxes if b["votes"] == 2))
    assert left[0] < 10.2
    assert left[1] > 10.8


def test_globs_gz_and_parquet(two, tmp_path):
    packed = tmp_path / "fused.json.gz"
    assert command("fuse", tmp_path / "[ab].json", "-o", packed) == 0
    table = tmp_path / "fused.parquet"
    assert command("fuse", packed, two[0], "-o", table) == 0
    assert len(Detections.from_parquet(table)) == 3


@pytest.mark.parametrize("ending", ["json", "json.gz", "parquet"])
def test_fused_boxes_go_in_as_those_of_one_detector(two, tmp_path, ending, capsys):
    fused = tmp_path / f"fused.{ending}"
    third = results(tmp_path / "third.json", [(9, 3, BOX, 0.8)])
    assert command("fuse", *two, "-o", fused) == 0
    out = tmp_path / "again.json"
    assert command("fuse", fused, third, "--method", "consensus", "-o", out) == 0
    (box,) = json.loads(out.read_text())
    assert (box["votes"], box["detectors"]) == (2, ["fused", "third"])
    assert "one vote of 'fused'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weights", "1"], "--weights has 1 for 2 files"),
        (["--weights", "1,0"], "a weight is a number above 0"),
        (["--weights", "1,nan"], "a weight is a number above 0"),
        (["--weights", "1;2"], "'1;2' is not a number"),
        (["--iou", "2"], "2 is not within 0..1"),
        (["--min-score", "nan"], "nan is not within 0..1"),
        (["--min-votes", "0"], "0 is not a whole number of 1 or more"),
        (["--set", "sigma=0", "--method", "soft_nms"], "expected more than 0"),
        (["--set", "confidnce=max"], "did you mean 'confidence'"),
        (["--set", "nonsense"], "expected KEY=VALUE"),
        (["--method", "votes"], "needs --min-votes"),
        (["--min-votes", "3"], "3"),
    ],
)
def test_a_wrong_setting_is_said_and_nothing_is_written(two, tmp_path, capsys, arguments, said):
    out = tmp_path / "fused.json"
    try:
        status = command("fuse", *two, *arguments, "-o", out)
    except SystemExit as refused:  # by the parser
        status = refused.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_damaged_files_are_said(tmp_path, two, capsys):
    cut = tmp_path / "cut.json"
    cut.write_bytes(two[0].read_bytes()[:-20])
    for wrong in (cut, tmp_path / "none.json", tmp_path / "*.nothing"):
        assert command("fuse", two[0], wrong, "-o", tmp_path / "x.json") == 2
        assert wrong.name in capsys.readouterr().err
    bad = results(tmp_path / "bad.json", [(9, 3, (1, 1, -5, 5), 0.5)])
    with pytest.raises(QuorateError, match=r"bad\.json"):
        fuse_files([two[0], bad], Consensus())


def test_evaluate_and_compare_measure_files(tmp_path, two, capsys):
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps(
            {
                "images": [
                    {"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 200} for i in (4, 9)
                ],
                "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "dog"}],
                "annotations": [
                    {"id": 1, "image_id": 9, "category_id": 3, "bbox": BOX, "area": 400,
                     "iscrowd": 0, "segmentation": []},
                    {"id": 2, "image_id": 4, "category_id": 5, "bbox": BOX, "area": 400,
                     "iscrowd": 0, "segmentation": []},
                ],
            }
        )
    )  # fmt: skip
    assert command("evaluate", *two, "--truth", truth, "--json") == 0
    a, b = json.loads(capsys.readouterr().out)
    assert a["ap"] == pytest.approx(0.5)  # all of one label, none of the other
    assert b["ap50"] == pytest.approx(1.0)
    assert command("evaluate", *two, "--truth", truth, "--per-category") == 0
    assert "dog" in capsys.readouterr().out
    assert command("compare", *two, "--truth", truth, "--samples", "50", "--json") == 0
    comparison = json.loads(capsys.readouterr().out)
    assert comparison["baseline"] == "a"
    assert [one["name"] for one in comparison["results"]] == ["a", "b"]
    out = tmp_path / "fused.json"
    assert command("fuse", *two, "--evaluate", truth, "--json", "-o", out) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["metrics"]["fused"]["AP50"] == pytest.approx(1.0)
    assert summary["metrics"]["a"]["AP"] == pytest.approx(0.5)
    assert summary["boxes"] == {"in": 4, "out": 3}
    assert summary["votes"] == {"1": 2, "2": 1}
    assert [one["boxes"] for one in summary["files"]] == [2, 2]


def test_small_files_wake_neither_the_compiler_nor_pydantic(two, tmp_path):
    """What makes up how fast `quorate fuse` starts, once its kernels are compiled."""
    code = (
        "import sys; from quorate.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = {'pydantic', 'rich', 'pyarrow', 'boto3', 'scipy.linalg', 'numba.np.arrayobj'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    arguments = ["fuse", *map(str, two), "--iou", "0.6", "-o", str(tmp_path / "fused.json")]
    fuse = [sys.executable, "-c", code, *arguments]
    subprocess.run(fuse, check=False, capture_output=True)  # compiles, where nothing is cached
    done = subprocess.run(fuse, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_pictures_are_matched_by_number_where_one_file_has_nothing_else(tmp_path):
    box = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    for name, more in (("a", {"file_name": "0007.jpg"}), ("b", {})):
        (tmp_path / f"{name}.json").write_text(json.dumps([box | more]))
    done = fuse_files([tmp_path / "a.json", tmp_path / "b.json"], Consensus(iou=0.5))
    assert done.fused.votes.tolist() == [2]
    assert done.fused.image_id.tolist() == [7]
