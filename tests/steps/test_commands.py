"""The steps as a pod runs them: commands over a work folder, and what a pod is told."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import quorate.steps
from quorate.cli import main
from quorate.ensemble import DetectionEnsemble
from quorate.errors import ClusterError
from quorate.spec import Consensus, Votes, WeightedBoxesFusion, with_method
from quorate.steps import Work

EXAMPLE = Path(__file__).parents[2] / "docs/examples/parts"


@pytest.fixture
def example(tmp_path):
    """The example's first pictures with two of its detectors; its paths are relative."""
    for name in ("yolo", "detr"):
        (tmp_path / f"{name}.onnx").symlink_to(EXAMPLE / f"models/{name}.onnx")
    pool = tmp_path / "images"
    pool.mkdir()
    for number, file in enumerate(sorted(EXAMPLE.glob("images/bench-*/*.*"))[:6]):
        shutil.copy(file, pool / f"{number}{file.suffix}")
    spec = yaml.safe_load((EXAMPLE / "spec.yaml").read_text())
    spec["detectors"] = [one | {"weights": f"{one['name']}.onnx"} for one in spec["detectors"][:2]]
    spec["fusion"] = {"method": "consensus", "iou": 0.4, "weights": {"yolo": 2}}
    spec["publish"] = {"report": False}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


def step(*words, status=0):
    assert main(["step", *map(str, words)]) == status


def test_pods_publish_what_a_run_does(example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    work, progress = Path("work"), example / "progress"
    monkeypatch.setenv("ARGO_PROGRESS_FILE", str(progress))
    step("prepare", "spec.yaml", "--work", work, "--shard-size", 4, "--count", "count")
    assert Path("count").read_text() == "2"
    assert capsys.readouterr().out == "2\n"
    assert progress.read_text() == "6/6\n"
    resolved = work / "spec.yaml"
    for shard in ("00000", "00001"):
        for name in ("yolo", "detr"):
            step("detect", resolved, "--work", work, "--shard", shard, "--detector", name)
        said = ["--status", "yolo=Succeeded", "--status", "detr=Succeeded"]
        step("fuse", resolved, "--work", work, "--shard", shard, *said)
    assert progress.read_text() == "2/2\n"
    step("publish", resolved, "--work", work, "--out", "pods", "--degraded", "degraded")
    assert Path("degraded").read_text() == "false"
    assert main(["run", "spec.yaml", "--out", "here"]) == 0
    for name in ("cvat/annotations.xml", "coco/annotations/instances_default.json"):
        assert (example / "pods" / name).read_bytes() == (example / "here" / name).read_bytes()


def test_the_resolved_spec_means_the_same_anywhere(example, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(example)
    step("prepare", "spec.yaml", "--work", "work", "--method", "wbf")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    resolved = DetectionEnsemble.from_yaml(example / "work/spec.yaml")
    given = DetectionEnsemble.from_yaml(example / "spec.yaml")
    assert resolved.fusion == WeightedBoxesFusion(iou=0.4, weights={"yolo": 2})
    assert resolved.model_copy(update={"fusion": given.fusion}) == given
    assert resolved.data == str(example / "images")
    step("prepare", example / "work/spec.yaml", "--work", "again")
    assert Path("again/spec.yaml").read_bytes() == (example / "work/spec.yaml").read_bytes()


def test_a_method_keeps_what_carries_over():
    own = {"bolt": {"iou": 0.7, "weights": {"a": 3.0}}}
    given = Consensus(weights={"a": 2.0}, categories=own, overlap="ios", confidence="voters")
    fusion, lost = with_method(given, "wbf")
    assert fusion == WeightedBoxesFusion(weights={"a": 2.0}, categories=own, overlap="ios")
    assert fusion.iou == 0.55  # that of wbf, for the spec gave none
    assert lost == ("`fusion: {confidence: voters}` means nothing to wbf; it is left out.",)
    back, lost = with_method(Votes(min_votes=2, iou=0.6), "unanimous")
    assert (back.method, back.iou) == ("unanimous", 0.6)
    assert "min_votes" in lost[0]
    assert with_method(given, "consensus") == (given, ())


def test_what_a_method_loses_is_told(example, capsys):
    spec = yaml.safe_load((example / "spec.yaml").read_text())
    spec["fusion"] = {"method": "votes", "min_votes": 1}
    (example / "spec.yaml").write_text(yaml.safe_dump(spec))
    step("prepare", example / "spec.yaml", "--work", example / "work", "--method", "wbf")
    assert "note: `fusion: {min_votes: 1}` means nothing to wbf" in capsys.readouterr().err
    assert "min_votes" in Work(example / "work").plan().notes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare", "--method", "concensus"], "did you mean 'consensus'"),
        (["prepare", "--method", "votes"], "needs min_votes"),
        (["prepare", "--shard-size", "0"], "it takes a number from 1"),
        (["prepare", "--data", "gone"], "gone"),
        (["detect", "--shard", "00007", "--detector", "yolo"], "prepare made 1"),
        (["detect", "--shard", "0", "--detector", "jolo"], "did you mean 'yolo'"),
        (["fuse", "--shard", "0", "--status", "jolo=Failed"], "did you mean 'yolo'"),
        (["fuse", "--shard", "0", "--status", "yolo"], "NAME=STATUS"),
        (["fuse", "--shard", "7"], "prepare made 1"),
    ],
)
def test_what_is_wrong_is_said_in_the_pods_status(example, monkeypatch, capsys, words, said):
    spec, work, log = example / "spec.yaml", example / "work", example / "log"
    step("prepare", spec, "--work", work)
    log.touch()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("QUORATE_TERMINATION_LOG", str(log))
    name, *rest = words
    step(name, spec, "--work", work, *rest, status=2)
    assert said in log.read_text()
    assert len(log.read_text().splitlines()) == 1
    assert said in capsys.readouterr().err


def test_an_option_that_this_version_lacks_is_said_too(example, monkeypatch):
    log = example / "log"
    log.touch()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("QUORATE_TERMINATION_LOG", str(log))
    with pytest.raises(SystemExit):
        step("prepare", example / "spec.yaml", "--work", example / "work", "--of-tomorrow", "1")
    assert "there is no option --of-tomorrow" in log.read_text()


def test_an_unforeseen_error_is_said_too(example, monkeypatch):
    log = example / "log"
    log.touch()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("QUORATE_TERMINATION_LOG", str(log))

    def broken(*_, **__):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("quorate.steps.prepare", broken)
    with pytest.raises(RuntimeError):
        step("prepare", example / "spec.yaml", "--work", example / "work")
    assert log.read_text() == "RuntimeError: nobody thought of this"


def test_outside_of_kubernetes_there_are_no_last_words(example, monkeypatch):
    log = example / "log"
    log.touch()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("QUORATE_TERMINATION_LOG", str(log))
    step("prepare", example / "gone.yaml", "--work", example / "work", status=2)
    assert log.read_text() == ""


def test_few_pictures_are_fused_by_publish(example, monkeypatch):
    """As in a DAG that saves the pods; a shard that is fused already is left as it is."""
    monkeypatch.chdir(example)
    step("prepare", "spec.yaml", "--work", "work", "--shard-size", 3, "--fuse", "fuse")
    assert Path("fuse").read_text() == "false"
    for shard in (0, 1):
        for name in ("yolo", "detr"):
            step("detect", "spec.yaml", "--work", "work", "--shard", shard, "--detector", name)
    step("fuse", "spec.yaml", "--work", "work", "--shard", 0)
    fused = Work(Path("work")).fused(0) / "manifest.json"
    before = fused.stat().st_mtime_ns
    step("publish", "spec.yaml", "--work", "work", "--out", "apart")
    assert fused.stat().st_mtime_ns == before
    assert main(["run", "spec.yaml", "--out", "here"]) == 0
    name = "coco/annotations/instances_default.json"
    assert Path("apart", name).read_bytes() == Path("here", name).read_bytes()


def one_by_one(out):
    """The steps as pods of their own run them; the files that are published."""
    step("prepare", "spec.yaml", "--work", f"{out}-work")
    for name in ("yolo", "detr"):
        words = ["--work", f"{out}-work", "--shard", "0", "--detector", name]
        main(["step", "detect", "spec.yaml", *words])
    step("publish", "spec.yaml", "--work", f"{out}-work", "--out", out, "--degraded", "degraded")
    return published(out), Path("degraded").read_text()


def published(out):
    return {
        path.relative_to(out): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()
    }


def alone(out, *more, status=0):
    said = ["--one-pod", "6", "--out", out, "--degraded", "degraded", "--count", "count"]
    step("prepare", "spec.yaml", "--work", f"{out}-work", *said, *more, status=status)
    return Path("count").read_text()


@pytest.mark.parametrize("broken", [None, "gone", "garbage"])
def test_one_pod_publishes_what_several_do(example, monkeypatch, broken):
    """Of a detector that cannot be loaded, too: that costs its votes, not the run."""
    monkeypatch.chdir(example)
    monkeypatch.setenv("ARGO_PROGRESS_FILE", "progress")
    if broken:
        spec = yaml.safe_load(Path("spec.yaml").read_text()) | {"quorum": 1}
        Path("spec.yaml").write_text(yaml.safe_dump(spec))
        Path("yolo.onnx").unlink()
        if broken == "garbage":
            Path("yolo.onnx").write_bytes(b"no network")
    files, degraded = one_by_one("several")
    assert alone("one") == "0"
    assert Path("progress").read_text() == "6/6\n"
    assert Path("degraded").read_text() == degraded == ("true" if broken else "false")
    assert published("one") == files
    assert len(files) > 3


@pytest.mark.parametrize("more", [("--one-pod", 5), ("--try", 1), ("--shard-size", 3)])
def test_one_pod_leaves_the_rest_to_others(example, monkeypatch, more):
    """More pictures, a second try (the first may have died of it), several shards."""
    monkeypatch.chdir(example)
    assert alone("one", *more) == ("2" if "--shard-size" in more else "1")
    assert Path("degraded").read_text() == "false"
    assert not Path("one").exists()
    assert not (Work(Path("one-work")).shard(0) / "detections").exists()


def test_one_pod_needs_a_place_for_the_results(example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    step("prepare", "spec.yaml", "--work", "work", "--one-pod", 6, status=2)
    assert "add `--out FOLDER`" in capsys.readouterr().err


def test_one_pod_ends_where_the_quorum_is_lost(example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    Path("yolo.onnx").unlink()
    alone("one", status=3)
    assert "1 of 2 detectors succeeded, need 2: yolo: " in capsys.readouterr().err


def test_a_lost_quorum_is_said_by_publish_too(example, monkeypatch, capsys):
    monkeypatch.chdir(example)
    step("prepare", "spec.yaml", "--work", "work")
    step("publish", "spec.yaml", "--work", "work", "--out", "out", status=3)
    assert "0 of 2 detectors succeeded, need 2" in capsys.readouterr().err


def test_a_failed_detector_leaves_its_reason(example, capsys):
    spec, work = example / "spec.yaml", Work(example / "work")
    step("prepare", spec, "--work", work.root)
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "detr")
    (example / "yolo.onnx").unlink()
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "yolo", status=2)
    reason = json.loads((work.detections(0, "yolo") / "failed.json").read_text())["reason"]
    assert "yolo.onnx: there is no such file" in reason
    capsys.readouterr()
    step("fuse", spec, "--work", work.root, "--shard", 0, "--status", "yolo=Failed", status=3)
    assert f"1 of 2 detectors succeeded, need 2: yolo: {reason}" in capsys.readouterr().err
    (example / "yolo.onnx").symlink_to(EXAMPLE / "models/yolo.onnx")
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "yolo")
    assert sorted(file.name for file in work.detections(0, "yolo").iterdir()) == [
        "detections.parquet",
        "manifest.json",
    ]


def test_a_failure_takes_an_older_success_with_it(example):
    spec, work = example / "spec.yaml", Work(example / "work")
    step("prepare", spec, "--work", work.root)
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "yolo")
    (example / "yolo.onnx").unlink()
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "yolo", status=2)
    assert not (work.detections(0, "yolo") / "manifest.json").exists()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("Failed", "could not say why (its task: Failed)"),
        ("Omitted", "was not run"),
        ("Succeeded", "it left no manifest"),
    ],
)
def test_a_detector_that_left_nothing_is_told_by_its_status(example, capsys, status, said):
    spec, work = example / "spec.yaml", Work(example / "work")
    quorum = yaml.safe_load(spec.read_text()) | {"quorum": 1}
    spec.write_text(yaml.safe_dump(quorum))
    step("prepare", spec, "--work", work.root)
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "detr")
    step("fuse", spec, "--work", work.root, "--shard", 0, "--status", f"yolo={status}")
    where = ["--out", example / "out", "--degraded", example / "degraded"]
    step("publish", spec, "--work", work.root, *where)
    assert (example / "degraded").read_text() == "true"
    summary = json.loads((example / "out/summary.json").read_text())
    assert said in summary["detectors"][0]["failed"]


def test_without_a_token_it_is_told_what_is_missing(example, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    spec, work = example / "spec.yaml", Work(example / "work")
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | {"quorum": 1}))
    step("prepare", spec, "--work", work.root)
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "detr")
    said = ["--status", "yolo=Failed", "--workflow", "street-x", "--namespace", "vision"]
    step("fuse", spec, "--work", work.root, "--shard", 0, *said)
    reason = json.loads((work.fused(0) / "manifest.json").read_text())["failed"]["yolo"]
    assert reason.endswith(
        "no token is mounted in this pod; its account needs `get` on workflows and `list` on events"
    )


def test_what_the_cluster_knows_of_a_detector_that_left_nothing_is_told(example, monkeypatch):
    def pod(task, kind, **more):
        return {"id": task, "name": task, "displayName": task, "type": kind, **more}

    message = "main: OOMKilled (exit code 137)"
    failed = pod("detect-yolo", "Pod", phase="Failed", message=message, boundaryID="shard(0:00000)")
    nodes = [pod("street-x", "DAG"), pod("shard(0:00000)", "DAG", boundaryID="street-x"), failed]
    asked = []

    class Own:
        """The API server; a lost connection the first time."""

        def workflow(self, name):
            asked.append(name)
            if len(asked) == 1:
                raise ClusterError("the cluster's API server does not answer.")
            by_id = {one["id"]: one for one in nodes}
            return {"metadata": {"name": name}, "status": {"nodes": by_id}}

        def events(self, name):
            return []

    named = []
    own = lambda namespace: named.append(namespace) or Own()  # noqa: E731
    monkeypatch.setattr("quorate.argo.cluster.client_kube.Kube.of_pod", own)
    spec, work = example / "spec.yaml", Work(example / "work")
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | {"quorum": 1}))
    step("prepare", spec, "--work", work.root)
    step("detect", spec, "--work", work.root, "--shard", 0, "--detector", "detr")
    said = ["--status", "yolo=Failed", "--workflow", "street-x", "--namespace", "vision"]
    for expected in ("could not say why (its task: Failed)", "it ran out of memory (OOMKilled)"):
        step("fuse", spec, "--work", work.root, "--shard", 0, *said)
        fused = json.loads((work.fused(0) / "manifest.json").read_text())
        assert expected in fused["failed"]["yolo"]
    assert named == ["vision"] * 2
    assert asked == ["street-x"] * 2
    # Who left a reason of its own is not asked about.
    work.failed(0, "yolo", "its weights are gone")
    step("fuse", spec, "--work", work.root, "--shard", 0, *said)
    assert len(asked) == 2


def test_a_location_without_a_scheme_is_a_key_of_the_bucket(example, monkeypatch):
    from quorate.cli.pod import in_bucket

    monkeypatch.chdir(example)
    monkeypatch.delenv("QUORATE_BUCKET", raising=False)
    assert in_bucket("images") == str(example / "images")
    monkeypatch.setenv("QUORATE_BUCKET", "pool")
    assert in_bucket("/street/2024.zip") == "s3://pool/street/2024.zip"
    assert in_bucket("s3://other/street") == "s3://other/street"


def test_a_pod_that_starts_loads_neither_compiler_nor_formats_before_it_needs_them():
    script = "import sys, quorate.steps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    modules = loaded.stdout.split()
    assert "quorate.steps.detect" in modules
    heavy = ("numba", "pyarrow", "boto3", "quorate.fusion", "quorate.tta", "quorate.formats")
    assert not set(heavy) & set(modules)


def test_the_packages_own_guide_names_every_module():
    for path in Path(quorate.steps.__file__).parent.glob("*.py"):
        assert path.name == "__init__.py" or path.name in quorate.steps.__doc__, path.name


def test_prepare_looks_into_the_bucket(example):
    """With a store that is not there: the status that asks for another try, and its address."""
    environment = os.environ | {
        "QUORATE_BUCKET": "pool",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "nowhere",
    }
    words = ["prepare", example / "spec.yaml", "--work", example / "work", "--data", "street"]
    done = subprocess.run(
        [sys.executable, "-m", "quorate", "step", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 75
    assert "s3://pool/street" in done.stderr
    assert "127.0.0.1:9" in done.stderr
