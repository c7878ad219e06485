"""Detectors that are somebody else's programs: run here, and held to the step contract."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from quorate.cli import main
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.errors import DetectorError, FormatError, InputError, QuorumError, SpecError
from quorate.labels import Labels
from quorate.spec import EnsembleSpec
from quorate.steps import Runner, Work, fuse, prepare
from quorate.steps.container import adopt
from quorate.steps.container_output import RULES, Left
from quorate.steps.container_rules import examine, examine_folder, made_up, try_out
from quorate.steps.work import Category, ShardImages
from tests.waiting import PATIENCE

GUIDE = Path(__file__).parents[2] / "docs/guides/container-detectors.md"
SCRIPT = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
PROGRAM = [sys.executable, "-c", SCRIPT]
LABELS = ("bolt", "nut")
IMAGE = os.environ.get("QUORATE_TEST_PYTHON_IMAGE", "localhost/debian-python:bookworm")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "pool"
    made_up(folder)
    return folder


def theirs(**more):
    return ContainerDetector(name="theirs", **({"command": PROGRAM} | more))


def shard(tmp_path, data, *detectors):
    spec = EnsembleSpec(name="e", data=str(data), labels=LABELS, detectors=detectors, quorum=1)
    work = Work(tmp_path / "work")
    prepare(spec, work)
    return spec, work


def leave(work, boxes, manifest=None, name="theirs"):
    """What a container has written."""
    folder = work.detections(0, name)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(boxes, pa.Table):
        pq.write_table(boxes, folder / "detections.parquet")
    elif boxes is not None:
        text = boxes if isinstance(boxes, str) else json.dumps(boxes)
        (folder / "detections.json").write_text(text)
    if manifest is None:
        manifest = {"images": len(work.images(0).images)}
    if manifest is not False:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def box(image_id, category_id, bbox=(1, 2, 10, 20), score=0.5):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), "score": score}


def test_the_guides_script_votes_in_a_run(tmp_path, data):
    (tmp_path / "detector.py").write_text(SCRIPT)
    spec = {
        "name": "e",
        "data": str(data),
        "labels": list(LABELS),
        "detectors": [
            {
                "name": "theirs",
                "kind": "container",
                "command": [sys.executable, str(tmp_path / "detector.py")],
            }
        ],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    out = tmp_path / "out"
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["published"] == 3
    assert summary["skipped"] == [{"file_name": "short.jpg", "reason": "it is cut short"}]
    fused = Detections.from_parquet(out / "work/shards/00000/fused/detections.parquet")
    images = {i.id: i for i in Work(out / "work").images(0).images}
    for image_id, xyxy in zip(fused.image_id.tolist(), fused.xyxy.tolist(), strict=True):
        width, height = images[image_id].width, images[image_id].height
        assert xyxy == [width / 4, height / 4, width * 3 / 4, height * 3 / 4]
    manifest = out / "work/shards/00000/detections/theirs/manifest.json"
    before = manifest.stat().st_mtime_ns
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(out)]) == 0
    assert manifest.stat().st_mtime_ns == before  # done is done
    (tmp_path / "detector.py").write_text(SCRIPT.replace("0.9", "0.8"))
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(out)]) == 0
    assert manifest.stat().st_mtime_ns > before  # another program is another input


def test_a_containers_masks_are_taken(tmp_path, data):
    from pycocotools import mask

    _, work = shard(tmp_path, data, theirs())
    image = work.images(0).images[0]
    drawn = np.zeros((image.height, image.width), np.uint8, order="F")
    drawn[2:12, 1:9] = 1
    runs = mask.encode(drawn)
    runs["counts"] = runs["counts"].decode()
    leave(work, [box(image.id, 1) | {"segmentation": runs}, box(image.id, 2)])
    adopt(work, 0, theirs())
    found = Detections.from_parquet(work.detections(0, "theirs") / "detections.parquet")
    assert found.masks is not None
    assert found.masks.there.tolist() == [True, False]
    assert (found.masks.bitmap(0) == drawn).all()


def test_a_containers_polygons_are_masks(tmp_path, data):
    _, work = shard(tmp_path, data, theirs())
    image = work.images(0).images[0]
    corners = [1, 2, 1, 12, 9, 12, 9, 2]
    leave(work, [box(image.id, 1), box(image.id, 1) | {"segmentation": [corners]}])
    adopt(work, 0, theirs())
    found = Detections.from_parquet(work.detections(0, "theirs") / "detections.parquet")
    assert found.masks is not None
    assert found.masks.there.tolist() == [False, True]
    assert found.masks.measured().box[1].tolist() == [1, 2, 9, 12]
    assert found.masks.size[1].tolist() == [image.height, image.width]


def test_pods_and_a_run_make_the_same_of_a_container(tmp_path, data, monkeypatch):
    spec = EnsembleSpec(
        name="e", data=str(data), labels=LABELS, detectors=[theirs()], publish={"report": False}
    )
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    monkeypatch.chdir(tmp_path)

    def step(name, *words):
        assert main(["step", name, "work/spec.yaml", "--work", "work", *words]) == 0

    assert main(["step", "prepare", "spec.yaml", "--work", "work", "--shard-size", "2"]) == 0
    for number in ("0", "1"):
        step("stage", "--shard", number, "--to", f"images{number}")
        where = Path(f"work/shards/0000{number}")
        assert (where / "detections/theirs").stat().st_mode & 0o777 == 0o777
        environment = os.environ | {
            "QUORATE_IMAGES_JSON": str(where / "images.json"),
            "QUORATE_IMAGES": f"images{number}",
            "QUORATE_OUTPUT": str(where / "detections/theirs"),
        }
        subprocess.run(PROGRAM, env=environment, check=True)
        step("fuse", "--shard", number)
        # Artifacts of fuse are its own folder: what it adopted is not handed on.
        for name in ("manifest.json", "detections.parquet"):
            (where / "detections/theirs" / name).unlink()
        subprocess.run(PROGRAM, env=environment, check=True)
    step("publish", "--out", "pods")
    assert main(["run", "spec.yaml", "--out", "here"]) == 0
    for name in ("cvat/annotations.xml", "coco/annotations/instances_default.json"):
        assert Path("pods", name).read_bytes() == Path("here", name).read_bytes()
    staged = sorted(p.relative_to("images0").as_posix() for p in Path("images0").rglob("*.*"))
    assert staged == ["grey.png", "north/über 2.jpg"]


def test_stage_tells_of_what_is_missing(tmp_path, data, capsys):
    spec, work = shard(tmp_path, data, theirs())
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    (data / "plain.png").unlink()
    words = ["stage", str(tmp_path / "spec.yaml"), "--work", str(work.root), "--shard", "0"]
    assert main(["step", *words, "--to", str(tmp_path / "to")]) == 0
    assert "plain.png: there is no such file" in capsys.readouterr().err
    assert (tmp_path / "to/grey.png").exists()


def columns(**changed):
    given = {
        "image_id": [1, 2],
        "category_id": [2, 1],
        "x1": [1.0, 2.0],
        "y1": [1.0, 2.0],
        "x2": [11.0, 12.0],
        "y2": [21.0, 22.0],
        "score": [0.5, 0.6],
    }
    return pa.table(given | changed)


def test_parquet_of_anyone_is_adopted_once(tmp_path, data):
    _, work = shard(tmp_path, data, theirs())
    folder = leave(work, columns())
    first = adopt(work, 0, theirs())
    found = Detections.from_parquet(folder / "detections.parquet")
    assert found.xyxy.tolist() == [[1, 1, 11, 21], [2, 2, 12, 22]]
    assert found.category_id.tolist() == [2, 1]
    assert found.detectors == ("theirs",)
    assert adopt(work, 0, theirs()) == first
    # Killed between the boxes and the manifest: the container's own columns are still known.
    leave(work, None)
    assert adopt(work, 0, theirs()) == first
    assert Detections.from_parquet(folder / "detections.parquet").category_id.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("more", "category_ids", "expected"),
    [
        ({}, [1, 2], [1, 2]),
        ({}, ["bolt", "Nut"], [1, 2]),
        ({"labels": {"M8": "bolt"}}, ["M8", 2], [1, 2]),
        ({"names": ["nut", "bolt"]}, [0, 1], [2, 1]),
        ({"names": {7: "nut", 90: "M8"}, "labels": {"M8": "bolt"}}, [90, 7], [1, 2]),
        ({"names": ["nut", "bolt"]}, ["nut", "bolt"], [2, 1]),
    ],
)
def test_labels_are_numbers_or_words_of_either_side(tmp_path, data, more, category_ids, expected):
    detector = theirs(**more)
    _, work = shard(tmp_path, data, detector)
    folder = leave(work, [box(1, category_ids[0]), box(2, category_ids[1])])
    adopt(work, 0, detector)
    found = Detections.from_parquet(folder / "detections.parquet")
    assert found.category_id.tolist() == expected


def test_labels_that_the_data_set_lacks_are_left_out_and_told(tmp_path, data):
    _, work = shard(tmp_path, data, theirs())
    leave(work, [box(1, "bolt"), box(1, "zebra")])
    manifest = adopt(work, 0, theirs())
    assert manifest.detections == 1
    assert any("'zebra' are left out" in note for note in manifest.notes)


def test_boxes_are_held_to_the_same_rules_as_any(tmp_path, data):
    detector = theirs(min_score=0.3, max_detections=2)
    _, work = shard(tmp_path, data, detector)
    given = [
        box("plain", 1, (-5, -5, 20, 20), 0.4),
        box("plain.png", 1, (60, 40, 50, 50), 0.9),
        box(1, 2, (0, 0, 5, 5), 0.2),
        box(3, 1, (200, 200, 5, 5), 0.8),
    ]
    folder = leave(work, given, {"images": 4, "notes": ["hello"], "seconds": 1.5, "more": 1})
    manifest = adopt(work, 0, detector)
    found = Detections.from_parquet(folder / "detections.parquet")
    assert found.xyxy.tolist() == [[60, 40, 64, 48], [0, 0, 15, 15]]
    assert manifest.seconds == 1.5
    assert "hello" in manifest.notes
    assert any("3 of 4 boxes reach out of their picture" in note for note in manifest.notes)


ROUND = [box(1, 1)]


@pytest.mark.parametrize(
    ("boxes", "manifest", "said"),
    [
        (ROUND, {"images": 3}, "counts 3 pictures, but images.json has 4"),
        (ROUND, {}, "missing required field `images`"),
        (None, None, "neither detections.json nor detections.parquet"),
        ("{]", None, "detections.json"),
        ("[" + json.dumps(box(1, 1))[:-9], None, "detections.json"),
        ([box(99, 1)], None, "its picture 99 is not in the data set (images.json)"),
        ([box("plane", 1)], None, "its picture 'plane' is not in the data set (images.json)"),
        ([box(1, 99)], None, "category_id 99 is not one of images.json (1: bolt, 2: nut)"),
        ([box(1, "zebra")], None, "No label of detector 'theirs' ('zebra')"),
        ([box(1, 1, (1, 1, float("nan"), 5))], None, "detections.json"),
        ([box(1, 1, (1, 1, -3, 5))], None, "detections.json"),
        ([box(1, 1, score=1.5)], None, "detections.json"),
        ([box(1, 1, (0.1, 0.1, 0.5, 0.5))], None, "in pixels"),
        ([box(1, 1, (900, 900, 5, 5))], None, "wholly outside"),
        (columns(score=[0.5, None]), None, "null"),
        (columns(score=[0.5, float("nan")]), None, "row 2 has a number that is NaN"),
        (columns(score=[2.0, 0.5]), None, "score of row 1"),
        (columns(x2=[0.0, 12.0]), None, "row 1 is inverted"),
        (columns(x1=["a", "b"]), None, "x1 is not made of numbers"),
        (columns(image_id=[1.5, 2.5]), None, "image_id is neither whole numbers nor text"),
        (columns().drop_columns(["y2"]), None, "has no column y2"),
    ],
)
def test_work_that_breaks_a_rule_costs_the_vote(tmp_path, data, boxes, manifest, said):
    spec, work = shard(tmp_path, data, theirs(), theirs().model_copy(update={"name": "good"}))
    leave(work, boxes, manifest)
    leave(work, ROUND, name="good")
    fused = fuse(work, 0, spec)
    assert fused.detectors == ("good",)
    assert said in fused.failed["theirs"]


@pytest.mark.parametrize("name", ["detections.json", "manifest.json", "detections.parquet"])
def test_a_link_is_refused_and_not_quoted(tmp_path, data, name, capsys):
    secret = tmp_path / "secret"
    secret.write_text("swordfish: of somebody else")
    spec, work = shard(tmp_path, data, theirs(), theirs().model_copy(update={"name": "good"}))
    leave(work, ROUND, name="good")
    folder = leave(work, None if name == "detections.parquet" else ROUND)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    fused = fuse(work, 0, spec)
    assert fused.detectors == ("good",)
    assert f"{name}: is a link" in fused.failed["theirs"]
    assert main(["check-container", str(folder)]) == 2
    said = capsys.readouterr()
    assert "is a link" in said.out
    assert "swordfish" not in str(fused) + said.out + said.err
    (folder / name).unlink()
    os.mkfifo(folder / name)  # who reads it waits for ever
    assert f"{name}: is a link, or no file" in fuse(work, 0, spec).failed["theirs"]


def test_a_program_that_is_mended_is_run_again(tmp_path, data):
    """What it left before, manifest and all, is in nobody's way; of a failed one nothing is taken.

    It breaks a rule, then it fails when all is written, then it is right.
    """
    (tmp_path / "detector.py").write_text(SCRIPT.replace("0.9", "1.9"))
    detector = theirs(command=[sys.executable, str(tmp_path / "detector.py")])
    spec, work = shard(tmp_path, data, detector)
    runner = Runner.of(detector)
    with pytest.raises(FormatError, match="score"):
        runner.run(work, 0)
    (tmp_path / "detector.py").write_text(SCRIPT + "\nraise SystemExit('too late')")
    with pytest.raises(DetectorError, match="too late") as caught:
        runner.run(work, 0)
    assert "too late" in Path(caught.value.hint.split()[-1]).read_text()
    with pytest.raises(QuorumError):
        fuse(work, 0, spec)
    (tmp_path / "detector.py").write_text(SCRIPT)
    runner.run(work, 0)
    assert fuse(work, 0, spec).detectors == ("theirs",)


def test_a_manifest_that_is_no_json_and_none_at_all(tmp_path, data):
    spec, work = shard(tmp_path, data, theirs(), theirs().model_copy(update={"name": "good"}))
    leave(work, ROUND, name="good")
    folder = leave(work, ROUND, False)
    assert "no manifest.json" in fuse(work, 0, spec, statuses={"theirs": "Failed"}).failed["theirs"]
    (folder / "manifest.json").write_text("nonsense")
    assert "manifest.json" in fuse(work, 0, spec).failed["theirs"]
    (folder / "detections.json").unlink()
    (folder / "manifest.json").unlink()
    (folder / "failed.json").write_text('{"reason": "no GPU"}')
    assert fuse(work, 0, spec).failed["theirs"] == "no GPU"


def test_what_its_own_numbers_mean_must_be_known(tmp_path, data):
    spec, work = shard(tmp_path, data, theirs(names=["bolt"]), theirs().model_copy(
        update={"name": "good"}))  # fmt: skip
    leave(work, ROUND, name="good")
    leave(work, [box(1, 3)])
    assert (
        "category_id 3 is not among the detector's `names`" in fuse(work, 0, spec).failed["theirs"]
    )
    leave(work, [box(1, "bold")])
    assert "'bold' is not among" in fuse(work, 0, spec).failed["theirs"]


def test_a_shard_without_a_box_is_a_vote(tmp_path, data):
    spec, work = shard(tmp_path, data, theirs())
    leave(work, [])
    assert fuse(work, 0, spec).detectors == ("theirs",)


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        (["/no/such/program"], {}, "/no/such/program cannot be run"),
        ([sys.executable, "-c", "print('one'); raise SystemExit('no weights')"], {},
         "it ended with status 1: no weights"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], {"timeout": "1s"},
         "it took longer than 1s"),
        ([sys.executable, "-c", ""], {}, "there is no such file"),
    ],
)  # fmt: skip
def test_a_program_that_fails_says_why(tmp_path, data, command, more, said):
    detector = theirs(command=command, **more)
    _, work = shard(tmp_path, data, detector)
    with pytest.raises(Exception, match=re.escape(said)):
        Runner.of(detector).run(work, 0)


def test_a_program_is_given_its_environment(tmp_path, data):
    (tmp_path / "weights.bin").write_bytes(b"w")
    code = SCRIPT + (
        "\nassert Path(os.environ['QUORATE_WEIGHTS']).read_bytes() == b'w'"
        "\nassert os.environ['DEVICE'] == 'cpu'"
    )
    detector = theirs(
        command=[sys.executable],
        args=["-c", code],
        env={"DEVICE": "cpu"},
        weights=str(tmp_path / "weights.bin"),
    )
    _, work = shard(tmp_path, data, detector)
    Runner.of(detector).run(work, 0)
    assert (work.detections(0, "theirs") / "manifest.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "an `image`, a `command`, or both"),
        ({"command": ["x"], "tta": ["hflip"]}, "no `tta`"),
        ({"command": ["x"], "env": {"QUORATE_OUTPUT": "/"}}, "for the step contract to set"),
        ({"command": ["x"], "names": ["a", "a"]}, "stands twice"),
        ({"command": ["x"], "names": ["a"], "labels": {"b": "bolt"}}, "'b' is not among `names`"),
        ({"comand": ["x"]}, "did you mean 'command'"),
    ],
)
def test_a_spec_that_cannot_be_run(tmp_path, given, said):
    detector = {"name": "theirs", "kind": "container"} | given
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": "e", "detectors": [detector]}))
    with pytest.raises(SpecError, match=re.escape(said)):
        EnsembleSpec.from_yaml(path)


def test_an_image_without_a_runtime_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DetectorError, match="podman is not installed; docker is not") as caught:
        Runner.of(theirs(image="x:1"))
    assert "command" in caught.value.hint
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(DetectorError, match="docker: Cannot connect"):
        Runner.of(theirs(image="x:1"))


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """podman, where it can run an image that has Python and nothing of ours."""
    # Some machines let nobody raise a limit, which podman does by default.
    limits = '[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]\n'
    (tmp_path / "containers.conf").write_text(limits + 'netns = "host"\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    try:
        tried = subprocess.run(
            ["podman", "run", "--rm", "--pull=never", IMAGE, "python3", "-c", "pass"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        pytest.skip("needs podman")
    if tried.returncode:
        pytest.skip(f"podman cannot run {IMAGE}: {tried.stderr.strip().splitlines()[-1:]}")


def test_an_image_with_nothing_of_ours_keeps_every_rule(tmp_path, podman, capsys):
    detector = theirs(image=IMAGE, command=["python3", "-c", SCRIPT], labels={})
    findings = try_out(Runner.of(detector), Labels.from_names(LABELS), tmp_path)
    assert [f for f in findings if not f.kept] == []
    spec = EnsembleSpec(name="e", labels=LABELS, detectors=[detector])
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    assert main(["check-container", str(tmp_path / "spec.yaml"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(findings)
    assert all(row["kept"] for row in rows)


def test_an_image_has_no_rights(tmp_path, data, podman):
    code = SCRIPT + (
        "\nfor place in ('/etc/x', '/quorate/images/x'):"
        "\n    try: Path(place).write_text('x')"
        "\n    except OSError: pass"
        "\n    else: raise SystemExit(place + ' can be written')"
        "\nPath('/tmp/x').write_text('x')"
    )
    detector = theirs(image=IMAGE, command=["python3", "-c", code])
    _, work = shard(tmp_path, data, detector)
    Runner.of(detector).run(work, 0)
    assert (work.detections(0, "theirs") / "detections.parquet").stat().st_uid == os.getuid()
    slow = theirs(image=IMAGE, command=["sleep", "600"], timeout="3s")
    with pytest.raises(DetectorError, match="longer than 3s"):
        Runner.of(slow).run(work, 0)
    running = subprocess.run(
        ["podman", "ps", "--quiet", "--filter=name=quorate-"], capture_output=True, text=True
    )
    assert running.stdout.strip() == ""


def left_by(tmp_path, boxes, manifest):
    images, _ = made_up(tmp_path / "images")
    contents = ShardImages(images, (Category(1, "thing"),))
    (tmp_path / "out").mkdir()
    if boxes is not None:
        (tmp_path / "out/detections.json").write_text(json.dumps(boxes))
    if manifest is not None:
        (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    return Left(tmp_path / "out", contents, theirs())


def test_every_rule_is_told_for_itself(tmp_path):
    findings = examine(left_by(tmp_path, [box(9, 1), box(1, 4)], {"images": 3}))
    assert [f.kept for f in findings] == [True, True, True, False, False, None, True]
    assert "picture 9 is not" in findings[3].found
    assert "category_id 4 is not" in findings[4].found


def test_nothing_at_all_is_told_once(tmp_path):
    findings = examine(left_by(tmp_path, None, None))
    assert [f.kept for f in findings] == [False, False, None, None, None, None, None]
    assert len(findings) == len(RULES) + 1


def test_a_manifest_written_first_is_told(tmp_path):
    left = left_by(tmp_path, [], {"images": 3})
    os.utime(left.folder / "manifest.json", (1, 1))
    assert examine(left)[-1].kept is False


def test_a_program_that_dies_of_a_bad_picture_is_told(tmp_path):
    code = SCRIPT.replace("except (OSError, ValueError) as error:", "except KeyError as error:")
    runner = Runner.of(theirs(command=[sys.executable, "-c", code]))
    findings = try_out(runner, Labels.from_names(("thing",)), tmp_path)
    assert [f.kept for f in findings[:-1]] == [True] * (len(findings) - 1)
    assert findings[-1].kept is False
    assert "it is cut short" in findings[-1].found


def test_check_container_of_a_folder(tmp_path, capsys, monkeypatch):
    left = left_by(tmp_path, [box(1, 1)], {"images": 3})
    listed = tmp_path / "listed.json"
    images = [{"id": i.id, "file_name": i.file_name, "width": i.width, "height": i.height}
              for i in left.contents.images]  # fmt: skip
    listed.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "thing"}]}))
    words = ["check-container", str(left.folder), "--images", str(listed)]
    assert main(words) == 0
    assert "kept  every picture is one of images.json" in capsys.readouterr().out
    (left.folder / "manifest.json").unlink()
    assert main([*words, "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["kept"] is False
    assert "1 of 7 rules are not kept" in said.err
    assert main(["check-container", str(left.folder)]) == 2
    assert "no images.json" in capsys.readouterr().err


def test_check_container_of_a_spec_with_several(tmp_path, capsys):
    detectors = [theirs(), theirs().model_copy(update={"name": "other"})]
    (tmp_path / "spec.yaml").write_text(EnsembleSpec(name="e", detectors=detectors).to_yaml())
    assert main(["check-container", str(tmp_path / "spec.yaml")]) == 2
    assert "theirs, other" in capsys.readouterr().err
    words = ["check-container", str(tmp_path / "spec.yaml"), "--detector", "other"]
    assert main(words) == 0
    assert main([*words[:-1], "othr"]) == 2
    assert "did you mean 'other'" in capsys.readouterr().err


def test_made_up_pictures_are_what_they_are_said_to_be(tmp_path):
    from quorate import pictures

    images, broken = made_up(tmp_path)
    for image in images:
        pixels = pictures.decode((tmp_path / image.file_name).read_bytes(), name="x")
        assert pixels.shape[:2] == (image.height, image.width)
    with Image.open(tmp_path / broken.file_name) as header:
        assert header.size == (broken.width, broken.height)
    assert np.unique([image.id for image in images]).size == len(images)


def test_an_output_folder_is_named_from_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"^out: there is no images\.json in it or above it"):
        examine_folder(Path("out"))
