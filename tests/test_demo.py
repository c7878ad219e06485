"""`quorate demo`, and what of it travels in the wheel."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quorate import demo
from quorate.cli import main
from quorate.errors import InputError
from quorate.formats import read

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, unpacked, and its size without the demo and with it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as packed:
        packed.extractall(folder / "unpacked")
        sizes = {one.filename: one.compress_size for one in packed.infolist()}
    return folder / "unpacked", sizes


def test_the_demo_of_the_wheel_is_small_and_whole(wheel):
    unpacked, sizes = wheel
    assert sum(size for name, size in sizes.items() if "quorate/demo/" in name) < 3_000_000
    data = read(unpacked / "quorate/demo/parts/images")
    assert len(data.images) == 18
    assert len({image.file_name.split("/")[0] for image in data.images}) == 6
    assert set(data.annotations.image_id.tolist()) == {image.id for image in data.images}
    for model in ("yolo", "detr", "frcnn"):
        inside = unpacked / f"quorate/demo/parts/models/{model}.onnx"
        assert (
            inside.read_bytes() == (ROOT / f"docs/examples/parts/models/{model}.onnx").read_bytes()
        )


def test_the_demo_of_the_wheel_runs_without_the_checkout(wheel, tmp_path):
    unpacked, _ = wheel
    code = (
        "import sys, quorate.cli, quorate.demo;"
        "assert quorate.demo.__file__.startswith(sys.argv[1]), quorate.demo.__file__;"
        "sys.exit(quorate.cli.main(['demo', '-o', 'here', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(unpacked)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["images"] == 18
    best = max(voter["ap"] for voter in summary["detectors"])
    assert summary["ensemble"]["ap"] > best > 0.1
    assert {"report.html", "cvat", "parts"} <= {path.name for path in (tmp_path / "here").iterdir()}
    assert "try next: change `fusion` in here/parts/spec.yaml" in done.stderr


def test_what_was_changed_stays_as_it_is(tmp_path):
    spec = demo.unpack(tmp_path / "parts")
    spec.write_text("mine")
    (tmp_path / "parts/models/yolo.onnx").unlink()
    assert demo.unpack(tmp_path / "parts") == spec
    assert spec.read_text() == "mine"
    assert (tmp_path / "parts/models/yolo.onnx").exists()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "images",
        "models",
        "spec.yaml",
    ]


def test_an_installation_without_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "_CHECKOUT", tmp_path)
    with pytest.raises(InputError, match="has no demo"):
        demo.unpack(tmp_path / "x")
    assert main(["demo", "-o", str(tmp_path / "y")]) == 2
    assert "hint: install a wheel" in capsys.readouterr().err
