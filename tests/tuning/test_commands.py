"""quorate calibrate and tune, from pictures and a truth to a spec that runs."""

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from quorate.cli import main
from quorate.ensemble import DetectionEnsemble
from quorate.spec import member
from quorate.spec.detector import ENTRY_POINTS
from quorate.steps import Work
from tests import spots
from tests.spots import draw, rectangles

SPEC = """\
kind: DetectionEnsemble
name: spots
data: DATA
detectors:
  - {name: sharp, kind: spots, score: 0.6}
  - name: beside       # is always beside it
    kind: spots
    shift: 9
    score: 0.9
  - {name: half, kind: spots, blind: green, score: 0.5}
# what decides
fusion: {method: wbf, iou: 0.4}
"""


@pytest.fixture(autouse=True)
def spots_kind(monkeypatch):
    known = member.kinds(ENTRY_POINTS)
    point = EntryPoint("spots", "tests.spots:Spots", ENTRY_POINTS)
    monkeypatch.setattr(member, "kinds", lambda group: known | {"spots": point})


def labelled_pool(folder, seeds):
    """Pictures with a COCO truth beside them."""
    images, annotations = [], []
    for seed in seeds:
        draw(folder / f"images/{seed:04d}.png", seed)
        images.append({"id": seed, "file_name": f"{seed:04d}.png", "width": 64, "height": 48})
        for side, (x1, y1, x2, y2) in enumerate(rectangles(seed, 64, 48)):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": seed, "category_id": side + 1,
                 "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations/instances_default.json").write_text(json.dumps(truth))
    return folder


@pytest.fixture
def spec(tmp_path, monkeypatch):
    labelled_pool(tmp_path / "pool", range(1, 41))
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("DATA", "pool"))
    monkeypatch.chdir(tmp_path)
    return path


def shards(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("detections/*/detections.parquet")}


def test_tune_finds_runs_and_writes(spec, tmp_path, capsys, monkeypatch):
    assert main(["tune", str(spec), "-o", "tuned.yaml", "--settings", "80", "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["better"]
    assert result["gain_over_given"]["low"] > 0
    assert result["held_out"] == "5 folds of 40 pictures"
    text = (tmp_path / "tuned.yaml").read_text()
    assert "# is always beside it" in text
    assert "# tuned: AP +" in text
    tuned = DetectionEnsemble.from_yaml(tmp_path / "tuned.yaml")
    # The first run of the tuned spec detects nothing anew, nor does another tuning.
    before = shards(tmp_path / "out")
    assert len(before) == 3

    def refuse(*_):
        raise AssertionError("a picture was shown to a detector again")

    monkeypatch.setattr(spots.SpotsPredictor, "predict", refuse)
    summary = tuned.run(out=tmp_path / "out")
    assert summary.ensemble.ap > result["given"]
    assert main(["tune", str(spec), "--settings", "80"]) == 0
    table = capsys.readouterr()
    assert "the spec as it was (wbf)" in table.out
    assert "measured by an earlier search" in table.err
    assert "may be chance" not in table.err  # the whole interval is above 0, see the first run
    assert shards(tmp_path / "out") == before


def test_calibrate_writes_a_spec_whose_report_shows_it(spec, tmp_path, capsys):
    assert main(["calibrate", str(spec), "-o", "new.yaml"]) == 0
    table = capsys.readouterr()
    assert "5 folds of 40 pictures" in table.out
    assert "note: sharp" in table.err  # never wrong, so there is nothing to learn from
    calibrated = DetectionEnsemble.from_yaml(tmp_path / "new.yaml")
    assert calibrated.detectors[0].calibration is None
    before = shards(tmp_path / "out")
    calibrated.run(out=tmp_path / "out")
    assert shards(tmp_path / "out") == before
    assert "chart reliability" in (tmp_path / "out/report.html").read_text()


def test_a_changed_calibration_changes_the_fused_scores_only(spec, tmp_path):
    one = DetectionEnsemble.from_yaml(spec)
    one.run(out=tmp_path / "out")
    before = shards(tmp_path / "out")
    text = spec.read_text().replace(
        "score: 0.9", "score: 0.9\n    calibration: {method: temperature, temperature: 4}"
    )
    spec.write_text(text)
    changed = DetectionEnsemble.from_yaml(spec)
    fused = tmp_path / "out/work/shards/00000/fused/detections.parquet"
    then = fused.read_bytes()
    changed.run(out=tmp_path / "out")
    assert shards(tmp_path / "out") == before
    assert fused.read_bytes() != then


def test_report_on_other_pictures_and_never_on_the_same(spec, tmp_path, capsys):
    labelled_pool(tmp_path / "other", range(100, 112))
    command = ["tune", str(spec), "--settings", "40", "--json", "--report"]
    assert main([*command, "other"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] == "12 pictures apart"
    labelled_pool(tmp_path / "mixed", [100, 7])
    assert main([*command, "mixed"]) == 2
    assert "1 of 2 pictures to report on are also fitted on" in capsys.readouterr().err
    assert main(["calibrate", str(spec), "--report", "pool"]) == 2
    assert "40 of 40" in capsys.readouterr().err


def test_no_truth_and_too_few_pictures(spec, tmp_path, capsys):
    plain = tmp_path / "plain.yaml"
    plain.write_text(SPEC.replace("DATA", "pool/images"))
    assert main(["tune", str(plain)]) == 2
    assert "no box of truth" in capsys.readouterr().err
    # Its truth may lie elsewhere: pictures are matched by name.
    truth = ["--truth", "pool/annotations/instances_default.json"]
    assert main(["tune", str(plain), *truth, "--settings", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"] > 0
    labelled_pool(tmp_path / "few", [1, 2, 3])
    assert main(["tune", str(spec), "--fit", "few"]) == 2
    assert "too few" in capsys.readouterr().err
    labelled_pool(tmp_path / "strange", [900])
    strange = ["--truth", "strange/annotations/instances_default.json"]
    assert main(["tune", str(plain), *strange]) == 2
    assert "no box of the truth lies on a picture" in capsys.readouterr().err


def test_a_container_is_tuned_and_calibrated_as_any(spec, tmp_path, capsys):
    """It is run as `run` does; then its boxes lie in the work folder."""
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, pathlib\n"
        "listed = json.loads(pathlib.Path(os.environ['QUORATE_IMAGES_JSON']).read_text())\n"
        "out = pathlib.Path(os.environ['QUORATE_OUTPUT'])\n"
        "boxes = [{'image_id': i['id'], 'category_id': 'red', 'bbox': [1, 2, 30, 30],\n"
        "          'score': 0.3} for i in listed['images']]\n"
        "(out / 'detections.json').write_text(json.dumps(boxes))\n"
        "(out / 'manifest.json').write_text(json.dumps({'images': len(listed['images'])}))\n"
        "with open('runs', 'a') as file: file.write('.')\n"
    )
    theirs = f"  - {{name: theirs, kind: container, command: [{sys.executable}, {program}]}}\n"
    spec.write_text(spec.read_text().replace("# what decides", theirs.rstrip()))
    with Work(Path("out/work")).owned():
        assert main(["calibrate", str(spec)]) == 75
    assert "out/work: is in use by process" in capsys.readouterr().err
    assert main(["calibrate", str(spec), "-o", "c.yaml", "--json"]) == 0
    assert "theirs" in capsys.readouterr().out
    assert main(["tune", "c.yaml", "--settings", "40", "--json"]) == 0
    assert "theirs" in json.loads(capsys.readouterr().out)["fusion"]["weights"]
    assert main(["run", str(spec)]) == 0
    assert Path("runs").read_text() == "."


def test_a_detector_that_fails_takes_no_part(spec, tmp_path, capsys):
    spec.write_text(spec.read_text().replace("shift: 9", "shift: 9\n    fails_at_width: 64"))
    assert main(["tune", str(spec), "-o", "t.yaml", "--settings", "40", "--json"]) == 0
    said = capsys.readouterr()
    assert "beside failed and takes no part" in said.err
    assert "beside" not in json.loads(said.out)["fusion"].get("weights", {})
    spec.write_text(spec.read_text() + "quorum: 3\n")
    assert main(["tune", str(spec), "--settings", "40"]) == 3
    assert "out of sorts" in capsys.readouterr().err
