"""quorate classify, detect and bench against KServe, MLServer and Triton themselves."""

import numpy as np
import pytest
from PIL import Image

from tests.classifiers.models import COLOURS, colours
from tests.cvat.local import PARTS
from tests.detectors.servers.real import running
from tests.serving.conftest import PICTURES

WAYS = pytest.mark.parametrize("way", ["http", "rpc"])
LEVELS = {"red": (230, 20, 40), "green": (20, 220, 40), "blue": (20, 40, 220)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier of colours, and one of the demo's detectors."""
    folder = tmp_path_factory.mktemp("models")
    colours(folder / "colours.onnx")
    (folder / "frcnn.onnx").write_bytes((PARTS / "models/frcnn.onnx").read_bytes())
    return folder


@pytest.fixture(scope="module", params=["kserve", "mlserver", "triton"])
def server(request, folder, tmp_path_factory):
    with running(request.param, folder, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def shown(tmp_path):
    """Three pictures, a list of what they are (one line of it wrong), and the names."""
    paths = []
    for name, level in LEVELS.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.full((40, 50, 3), level, np.uint8)).save(path)
        paths.append(path)
    truth, names = tmp_path / "truth.csv", tmp_path / "names.txt"
    truth.write_text("red.png, red\ngreen.png, green\nblue.png, red\n")
    names.write_text("\n".join(COLOURS))
    return paths, ("--truth", truth), ("--names", names)


@WAYS
def test_classify(server, way, ask, shown):
    paths, truth, names = shown
    url = getattr(server, way)
    words = ("classify", url, "--model", "colours", *names, *truth, *paths, "--json")
    status, out, said = ask(*words)
    assert status == 0, said
    assert [one["label"] for one in out["pictures"]] == [*COLOURS]
    assert [one["correct"] for one in out["pictures"]] == [True, True, False]
    assert out["summary"]["accuracy"] == pytest.approx(2 / 3)
    assert all(0.5 < one["score"] < 1 for one in out["pictures"])


@WAYS
def test_bench(server, way, ask, shown):
    paths, truth, names = shown
    url = getattr(server, way)
    words = ("bench", url, "--model", "colours", *names, *truth, *paths, "--requests", 12)
    status, out, said = ask(*words, "--clients", 2, "--json")
    assert status == 0, said
    assert (out["answered"], out["refused"], out["failed"]) == (12, {}, {})
    assert out["accuracy"] == pytest.approx(2 / 3)
    status, out, said = ask(
        "bench", url, "--model", "colours", "--rate", 20, "--requests", 6, "--json"
    )  # fmt: skip
    assert (status, out["answered"]) == (0, 6), said


@WAYS
def test_detect(server, way, ask, tmp_path):
    (tmp_path / "names.txt").write_text("bolt\nnut\nwasher\nscrew\n")
    status, out, said = ask(
        "detect", getattr(server, way), PICTURES[0], "--model", "frcnn",
        "--names", tmp_path / "names.txt", "--json",
    )  # fmt: skip
    assert status == 0, said
    assert {box["label"] for box in out["pictures"][0]["boxes"]} <= {
        "bolt",
        "nut",
        "washer",
        "screw",
    }
    assert len(out["pictures"][0]["boxes"]) > 5
