"""A disk that fills while detectors are trained: one sentence, and the same command goes on."""

import subprocess
import sys

import pytest
import yaml

from quorate.training.contract import events
from tests.training.pictures import squares, trainer


@pytest.mark.slow
def test_a_training_on_a_full_disk_goes_on_where_there_is_room(small_disk, tmp_path):
    squares(tmp_path / "data", 30)
    spec = {
        "kind": "Training", "name": "squares", "data": "data",
        "compare": {"samples": 0}, "trainers": [trainer(epochs=6)],
    }  # fmt: skip
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "quorate", "train", "training.yaml", "-o"]
    command.append(str(small_disk / "out"))

    def run():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    codes = []
    for size in ("20k", "300k", "400k", "460k", "500k", "560k", "640k"):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
        done = run()
        codes.append(done.returncode)
        assert done.returncode in (1, 75), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        assert "no space left on device" in done.stderr.lower()
    assert 75 in codes
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = run()
    assert done.returncode == 0, done.stderr
    said = events(small_disk / "out/trainers/linear/out")
    assert [one.step for one in said if one.map is None] == list(range(1, 19))
