"""One owner at a time, and nothing that a killed owner leaves behind is in the way."""

import json
import os
import signal
import subprocess
import sys

import pytest

from quorate.cli import main
from quorate.errors import BusyError
from quorate.storage.owner import owned, owned_output

HOLD = """
import sys
from pathlib import Path
from quorate.storage.owner import owned
with owned(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that owns a folder until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "work/.owner")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_second_says_who_the_first_is(tmp_path, holder):
    lock = tmp_path / "work/.owner"
    with pytest.raises(BusyError, match=f"process {holder.pid} on .* since 20.*-c") as caught, \
         owned(lock):  # fmt: skip
        pass
    assert caught.value.exit_code == 75
    holder.stdin.close()
    assert holder.wait() == 0
    assert not lock.exists()
    with owned(lock):
        assert str(os.getpid()) in lock.read_text()


def test_a_killed_owner_is_none(tmp_path, holder):
    lock = tmp_path / "work/.owner"
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    assert lock.exists()
    with owned(lock), pytest.raises(BusyError), owned(lock):
        pass
    assert not lock.exists()


def test_a_lock_on_a_file_that_its_owner_has_removed_is_none(tmp_path, monkeypatch):
    """Between the opening and the locking of the file its owner ends, and another begins."""
    import fcntl

    lock, flock, calls = tmp_path / ".owner", fcntl.flock, []

    def late(file, how):
        calls.append(file)
        if len(calls) == 1:
            lock.unlink()
            lock.write_text("of the next one")
        flock(file, how)

    monkeypatch.setattr("quorate.storage.owner.fcntl.flock", late)
    with owned(lock):
        assert len(calls) == 2
        assert f"process {os.getpid()} on" in lock.read_text()


def test_two_outputs_beside_each_other_have_owners_of_their_own(tmp_path):
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    with owned_output(one), owned_output(other), owned_output("s3://pool/x"):
        with pytest.raises(BusyError, match=f"{one}: is in use"), owned_output(one):
            pass
        with owned_output("s3://pool/x"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_fuse_does_not_write_where_another_does(tmp_path, capsys):
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    (tmp_path / "a.json").write_text(json.dumps(boxes))
    words = ["fuse", str(tmp_path / "a.json"), "--method", "votes", "--min-votes", "1", "-o"]
    out = str(tmp_path / "fused.json")
    with owned_output(out):
        assert main([*words, out]) == 75
    assert f"{out}: is in use by process {os.getpid()}" in capsys.readouterr().err
    assert main([*words, out]) == 0


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def none(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("quorate.storage.owner.fcntl.flock", none)
    with pytest.warns(RuntimeWarning, match="has no locks"), owned(tmp_path / ".owner"):
        pass
