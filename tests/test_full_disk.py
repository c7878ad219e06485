"""A full disk, an output that takes nothing, a signal: one sentence each, and nothing is lost."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARTS = Path(__file__).parents[1] / "docs/examples/parts"


def quorate(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "quorate", *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def half_written(folder):
    names = [p.name for p in folder.rglob("*") if p.is_file()]
    return [n for n in names if n.endswith((".unfinished", ".part"))]


def published(out):
    files = [path for path in out.rglob("*") if path.is_file()]
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in files
        if path.suffix in {".xml", ".json"} and "work" not in path.relative_to(out).parts
    }


@pytest.mark.slow
def test_a_run_on_a_full_disk_goes_on_where_there_is_room(small_disk, tmp_path):
    shutil.copytree(PARTS / "images/bench-card", tmp_path / "pool")
    command = ("run", PARTS / "spec.yaml", tmp_path / "pool", "-o")
    assert quorate(*command, tmp_path / "other").returncode == 0
    whole = published(tmp_path / "other")
    assert "cvat/annotations.xml" in whole
    said = set()
    for size in ("8k", "40k", "100k", "200k", "400k"):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
        done = quorate(*command, small_disk / "out")
        assert done.returncode == 75, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        assert "no space left on device" in done.stderr
        assert half_written(small_disk) == []
        said.add(done.stderr.split(str(small_disk))[-1].split(":")[0])
    assert len(said) > 1  # it got further each time
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = quorate(*command, small_disk / "out")
    assert done.returncode == 0, done.stderr
    assert published(small_disk / "out") == whole


COMMANDS = {
    "fuse": ["fuse", "{a}", "{b}", "--images", "{truth}", "-o", "{out}.json"],
    "fuse to Parquet": ["fuse", "{a}", "{b}", "--images", "{truth}", "-o", "{out}.parquet"],
    "convert": ["convert", "{truth}", "{out}", "--to", "cvat"],
    "convert to ZIP": ["convert", "{truth}", "{out}.zip", "--to", "coco"],
    "evaluate": ["evaluate", "{a}", "--truth", "{truth}", "-o", "{out}.json"],
    "compare": ["compare", "{a}", "{b}", "--truth", "{truth}", "--plot", "{out}.svg"],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    truth = PARTS / "images/annotations/instances_val.json"
    labelled = json.loads(truth.read_text())["annotations"]
    for name in ("a", "b"):
        boxes = [
            {key: box[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
            for box in labelled
        ]
        (folder / f"{name}.json").write_text(json.dumps(boxes))
    return {"a": folder / "a.json", "b": folder / "b.json", "truth": truth}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", ["full", "forbidden", "file"])
def test_a_place_that_cannot_be_written(name, place, files, small_disk, tmp_path):
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    (tmp_path / "file").touch()
    folder = {
        "full": small_disk,
        "forbidden": Path("/proc/nowhere"),
        "file": tmp_path / "file",
    }[place]
    filled = {**files, "out": folder / "out"}
    done = quorate(*(word.format(**filled) for word in COMMANDS[name]))
    assert done.returncode == (75 if place == "full" else 2), done.stderr
    assert "Traceback" not in done.stderr
    assert str(folder) in done.stderr
    assert done.stderr.count("error: ") == 1
    assert half_written(small_disk) == []


@pytest.mark.parametrize("command", [["schema"], ["detectors"], ["--version"], ["run", "--help"]])
def test_an_output_that_takes_nothing(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "quorate", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 75
    assert "Traceback" not in done.stderr
    assert "no space left on device" in done.stderr


@pytest.mark.parametrize(
    ("number", "word", "status"),
    [(signal.SIGTERM, "terminated", 143), (signal.SIGINT, "interrupted", 130)],
)
def test_a_signal_ends_a_run_with_a_word(tmp_path, number, word, status):
    work = tmp_path / "out/work"
    running = subprocess.Popen(
        [sys.executable, "-m", "quorate", "run", PARTS / "spec.yaml", "-o", tmp_path / "out"],
        stderr=subprocess.PIPE, text=True,
        # A shell ignores it for what it begins in the background, and what is begun inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not work.exists() and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(number)
    _, said = running.communicate()
    # Python may end by the very signal, which a shell calls 130 too.
    assert running.returncode in (status, -number), said
    assert f"{word}; the same command goes on from here" in said
    assert "Traceback" not in said
    assert half_written(tmp_path) == []
    assert os.path.exists(work)
