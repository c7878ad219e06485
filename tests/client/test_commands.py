"""quorate detect, classify and bench against servers that really run."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from quorate.detectors.onnx.spec import OnnxDetector
from quorate.ensemble import read_ensemble
from quorate.pictures import decode
from tests.classifiers.models import colour_ensemble
from tests.cvat.local import PARTS
from tests.cvat.servers import started
from tests.serving.conftest import PICTURES
from tests.serving.ovms.networks import SIZE

PIPELINE = "image_classification_pipeline"
WAYS = pytest.mark.parametrize("way", ["url", "rpc"])


@WAYS
def test_detect_prints_the_boxes_of_the_ensemble_here(parts, here, ask, way):
    loaded, answers = here
    status, out, _ = ask("detect", getattr(parts, way), *PICTURES, "--json")
    assert status == 0
    assert out["summary"]["model"] == "parts"
    assert out["summary"]["pictures"] == 3
    for one, path, answer in zip(out["pictures"], PICTURES, answers, strict=True):
        assert one["picture"] == str(path)
        assert one["failed"] == []
        assert one["ms"] == pytest.approx(1000 / one["frames_per_second"])
        boxes = one["boxes"]
        found = np.array([box["bbox"] for box in boxes], np.float32).reshape(-1, 4)
        assert found.tobytes() == answer.boxes.xyxy.astype(np.float32).tobytes()
        assert [np.float32(box["score"]) for box in boxes] == answer.boxes.score.tolist()
        names = [loaded.labels.name_of(i) for i in answer.boxes.category_id.tolist()]
        assert [box["label"] for box in boxes] == names
        assert [box["votes"] for box in boxes] == answer.boxes.votes.tolist()


def test_detect_asks_one_member_too(parts, here, ask):
    _, answers = here
    status, out, _ = ask("detect", parts.url, PICTURES[0], "--model", "parts.yolo", "--json")
    assert status == 0
    boxes = out["pictures"][0]["boxes"]
    assert len(boxes) == len(answers[0].own["yolo"]) > 0
    assert {box["votes"] for box in boxes} == {None}


def test_detect_says_each_pictures_time_and_the_figures(parts, ask):
    status, out, _ = ask("detect", parts.url, *PICTURES)
    assert status == 0
    for path in PICTURES:
        assert re.search(rf"{path} +\d+ +[\d.]+ +[\d.]+$", out, re.M)
    for figure in ("mean", "median", "p90", "p99", "min", "max", "standard deviation"):
        assert re.search(rf"^{figure}, ms +[\d.]+$", out, re.M), figure
    assert re.search(r"^pictures +3$", out, re.M)


def test_a_file_that_is_no_picture_is_told_and_the_others_are_answered(parts, ask, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("nothing")
    status, out, said = ask("detect", parts.url, bad, PICTURES[0], "--json")
    assert status == 2
    assert "error" in out["pictures"][0]
    assert out["pictures"][1]["boxes"]
    assert out["summary"]["pictures"] == 1
    assert "1 of 2 pictures have no answer" in said


def decoded(path):
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture, np.float32).transpose(2, 0, 1)[None]


@pytest.fixture
def ten(tmp_path, folder):
    """Ten pictures of the networks' size, and a list of what both say, two lines of it wrong."""
    random, paths, lines = np.random.default_rng(5), [], []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(path)
        both = 0
        for model in ("googlenet-v2", "resnet-50"):
            session = onnxruntime.InferenceSession(folder / model / "1/model.onnx")
            both = both + session.run(None, {session.get_inputs()[0].name: decoded(path)})[0]
        label = int(both.argmax()) + (number < 2)
        paths.append(path)
        lines.append(f"{path.name}, {label}")
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(lines))
    return paths, truth


@WAYS
def test_classify_asks_the_fourth_walks_pipeline(pipeline, ask, ten, way):
    paths, truth = ten
    url = getattr(pipeline, way)
    words = ("classify", url, *paths, "--model", PIPELINE, "--scale", 1, "--truth", truth)
    status, out, _ = ask(*words, "--json")
    assert status == 0
    assert [one["correct"] for one in out["pictures"]] == [False] * 2 + [True] * 8
    assert out["summary"]["accuracy"] == 0.8
    status, out, _ = ask(*words)
    assert len(re.findall(r" correct +[\d.]+ +[\d.]+$", out, re.M)) == 8
    assert len(re.findall(r" not \d+ +[\d.]+ +[\d.]+$", out, re.M)) == 2
    assert re.search(r"^accuracy, of 10 labelled +80.00 %$", out, re.M)


def test_classify_reads_probabilities_and_names(pipeline, ask, ten, tmp_path, folder):
    paths, _ = ten
    session = onnxruntime.InferenceSession(folder / "resnet-50/1/model.onnx")
    said = session.run(None, {session.get_inputs()[0].name: decoded(paths[0])})[0].reshape(-1)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"word {i}" for i in range(len(said))))
    status, out, _ = ask(
        "classify", pipeline.url, paths[0], "--model", "resnet-50", "--scale", 1, "--names", names,
        "--json",
    )  # fmt: skip
    assert status == 0
    [one] = out["pictures"]
    assert one["index"] == int(said.argmax())
    assert one["label"] == f"word {one['index']}"
    assert one["score"] == pytest.approx(float(said.max()), rel=1e-4)


def test_a_model_is_named_where_a_server_has_several(pipeline, ask, ten):
    status, _, said = ask("classify", pipeline.url, ten[0][0])
    assert status == 2
    assert "has 3 models" in said or "has 4 models" in said
    assert "--model" in said
    assert PIPELINE in said


def test_what_has_no_label_is_not_taken_for_one(parts, pipeline, ask):
    status, _, said = ask("classify", parts.url, PICTURES[0])
    assert status == 2
    assert "quorate detect asks for them" in said


@WAYS
def test_bench_counts_every_request(parts, ask, tmp_path, way):
    chart = tmp_path / "latency.svg"
    status, out, said = ask(
        "bench", getattr(parts, way), *PICTURES, "--requests", 8, "--clients", 3, "--chart", chart,
        "--json",
    )  # fmt: skip
    assert status == 0
    assert (out["requests"], out["answered"], out["refused"], out["failed"]) == (8, 8, {}, {})
    latency = out["latency_ms"]
    assert latency["min"] <= latency["median"] <= latency["p90"] <= latency["max"]
    assert "wrote" in said
    drawn = ElementTree.parse(chart).getroot()
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect[@class='gain']")
    counts = [int(bar[0].text.rpartition(": ")[2]) for bar in bars]
    assert sum(counts) == 8


def test_bench_tells_the_accuracy(pipeline, ask, ten):
    paths, truth = ten
    status, out, _ = ask(
        "bench", pipeline.url, *paths, "--model", PIPELINE, "--scale", 1, "--truth", truth,
        "--rate", 50, "--requests", 20, "--json",
    )  # fmt: skip
    assert status == 0
    assert out["loop"] == "open, 50/s"
    assert (out["answered"], out["accuracy"], out["labelled"]) == (20, 0.8, 20)


def test_bench_makes_numbers_where_no_pictures_are_given(pipeline, ask):
    words = ("bench", pipeline.url, "--model", "resnet-50", "--requests", 3, "--json")
    status, out, _ = ask(*words)
    assert (status, out["answered"]) == (0, 3)
    status, _, said = ask(*words, "--shape", "nobody=1,3")
    assert status == 2
    assert "no such input" in said


def test_bench_needs_pictures_for_a_model_that_takes_files(parts, ask):
    status, _, said = ask("bench", parts.url, "--requests", 1)
    assert status == 2
    assert "takes pictures" in said


def test_a_bench_of_refusals_fails(parts, ask, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("nothing")
    status, out, _ = ask(
        "bench", parts.url, bad, "--requests", 4, "--warm-up", 0, "--json"
    )  # fmt: skip
    assert status == 2
    assert out["latency_ms"] is None
    assert out["refused"] == {"HTTP 400": 4}


def test_detect_reads_a_bare_network_of_a_known_layout(ask, tmp_path):
    folder = tmp_path / "frcnn/1"
    folder.mkdir(parents=True)
    weights = PARTS / "models/frcnn.onnx"
    (folder / "model.onnx").symlink_to(weights)
    about = {"config": {"name": "frcnn", "base_path": str(tmp_path / "frcnn")}}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [about]}))
    names = ["bolt", "nut", "washer", "screw"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    with started(str(tmp_path / "config.json")) as server:
        status, out, _ = ask(
            "detect", server.rpc, PICTURES[0], "--names", tmp_path / "names.txt", "--json"
        )  # fmt: skip
    assert status == 0
    predictor = OnnxDetector(name="frcnn", weights=str(weights), names=names).load()
    [boxes] = predictor.predict([decode(PICTURES[0].read_bytes(), name="it")])
    found = out["pictures"][0]["boxes"]
    assert len(found) == len(boxes.score) > 5
    assert [box["label"] for box in found] == [names[i] for i in boxes.label.tolist()]
    np.testing.assert_allclose([box["bbox"] for box in found], boxes.xyxy, atol=1e-3)
    assert {box["votes"] for box in found} == {None}


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A classification ensemble that knows three colours."""
    spec = colour_ensemble(tmp_path_factory.mktemp("colour"))
    with started(str(spec)) as server:
        yield server, spec


@WAYS
def test_classify_asks_a_classification_ensemble(colour, ask, tmp_path, way):
    server, spec = colour
    paths = []
    for name, level in (("green", (20, 220, 40)), ("blue", (20, 40, 220))):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (64, 48), level).save(paths[-1])
    truth = tmp_path / "truth.txt"
    truth.write_text("green.png green\nblue.png 0\n")
    status, out, _ = ask("classify", getattr(server, way), *paths, "--truth", truth, "--json")
    assert status == 0
    with read_ensemble(spec).load() as loaded:
        here = [loaded.look(path) for path in paths]
    for one, decision in zip(out["pictures"], here, strict=True):
        assert (one["label"], one["index"]) == (decision.label, decision.index)
        assert np.float32(one["score"]) == np.float32(decision.probability)
    assert [one["label"] for one in out["pictures"]] == ["green", "blue"]
    assert [one["correct"] for one in out["pictures"]] == [True, False]
    assert out["summary"]["accuracy"] == 0.5
