"""Checkpoints that survive the pod: kept whole while they are written, and put back."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from quorate.storage import open_tree, write_bytes
from quorate.training.keeping import current, keep, keep_until, restore
from tests.waiting import until


def written(out, value):
    folder = out / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights", "state"):
        (folder / f".{name}").write_text(value)
        os.replace(folder / f".{name}", folder / name)
    (out / "progress.jsonl").write_text(json.dumps({"step": 1}) + "\n")


def test_the_newest_that_is_whole_comes_back(tmp_path, s3_prefix):
    out, back = tmp_path / "out", tmp_path / "back"
    assert keep(out, s3_prefix, ()) == ()
    assert not restore(s3_prefix, back)
    written(out, "one")
    seen = keep(out, s3_prefix, ())
    assert keep(out, s3_prefix, seen) == seen
    written(out, "two")
    assert keep(out, s3_prefix, seen) != seen
    assert current(s3_prefix).number == 2
    with open_tree(f"{s3_prefix}/") as tree:
        assert {name.partition("/")[0] for name in tree.names()} == {"000002", "current.json"}
    assert restore(s3_prefix, back)
    assert (back / "checkpoint/weights").read_text() == "two"
    assert (back / "progress.jsonl").exists()
    (back / "checkpoint/weights").write_text("newer")
    assert not restore(s3_prefix, back), "what a container left in this pod is newer"


def test_what_was_killed_while_it_was_put_back_is_put_back_whole(tmp_path, monkeypatch):
    out, place, back = tmp_path / "out", str(tmp_path / "place"), tmp_path / "back"
    written(out, "one")
    keep(out, place, ())
    from quorate.training import keeping

    def writing(location):
        if str(location).endswith("weights"):
            raise KeyboardInterrupt
        return real(location)

    real = keeping.writing
    monkeypatch.setattr(keeping, "writing", writing)
    with pytest.raises(KeyboardInterrupt):
        restore(place, back)
    monkeypatch.undo()
    assert restore(place, back)
    assert (back / "checkpoint/weights").read_text() == "one"
    assert (back / "progress.jsonl").exists()
    assert sorted(path.name for path in back.iterdir()) == ["checkpoint", "progress.jsonl"]


def test_one_that_changes_while_it_is_copied_does_not_count(tmp_path, s3_prefix, monkeypatch):
    out = tmp_path / "out"
    written(out, "one")
    seen = keep(out, s3_prefix, ())
    written(out, "two")
    from quorate.training import keeping

    def writing(location):
        written(out, f"at {location}")
        return real(location)

    real = keeping.writing
    monkeypatch.setattr(keeping, "writing", writing)
    assert keep(out, s3_prefix, seen) == seen
    assert current(s3_prefix).number == 1
    monkeypatch.undo()
    keep(out, s3_prefix, seen)
    assert current(s3_prefix).number == 2


def test_storage_that_does_not_answer_costs_a_note(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    from quorate.storage import s3

    s3.client.cache_clear()
    out, said, stopped = tmp_path / "out", [], threading.Event()
    written(out, "one")
    (out / "detector.json").write_text("{}")

    def warn(what):
        said.append(what)
        stopped.set()

    try:
        keep_until(out, "s3://bucket/x", stopped.is_set, warn)
    finally:
        s3.client.cache_clear()
    assert said[0].startswith("the checkpoint is not kept: ")


def test_the_command_keeps_the_last_one_when_it_is_told_to_end(tmp_path):
    out, place = tmp_path / "out", tmp_path / "place"
    out.mkdir()
    words = ["step", "keep-checkpoints", "--out", str(out), "--checkpoints", str(place)]
    process = subprocess.Popen([sys.executable, "-m", "quorate", *words])
    written(out, "one")
    until((place / "current.json").exists)
    written(out, "two")
    write_bytes(out / "detector.json", b"{}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    back = tmp_path / "back"
    assert restore(str(place), back)
    assert (back / "checkpoint/weights").read_text() == "two"
