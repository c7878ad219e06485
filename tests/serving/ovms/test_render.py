"""Ensembles as folders for OpenVINO Model Server: its schema is kept, what is decided is alike."""

import asyncio
import json

import numpy as np
import onnxruntime
import pytest

from quorate.classifications import Classifications
from quorate.classifiers.onnx import OnnxClassifier
from quorate.cli import main
from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble
from quorate.errors import SpecError
from quorate.fusion.classes import fuse
from quorate.labels import Labels
from quorate.serving.ovms.config import Configuration
from quorate.serving.ovms.render import LIBRARY, fusion, render
from quorate.serving.ovms.served import ServedConfiguration
from quorate.serving.values import Given, Limits, Request
from quorate.spec.classification import CLASS_METHODS
from tests.classifiers.models import COLOURS, colours
from tests.cvat.local import PARTS
from tests.serving.ovms.published import problems

RANDOM = np.random.default_rng(5)
OTHER = ("blue", "green", "red")
MINE = {"scale": 1 / 255, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "channels": "rgb"}


def ensemble(tmp_path, method="sum", batch=None, **second):
    """Two classifiers of other orders of labels, one with logits."""
    colours(tmp_path / "a.onnx", batch=batch)
    colours(tmp_path / "b.onnx", end="none", names=OTHER, batch=batch, bias=(1.0, 0, 0))
    how = {"method": method}
    if method == "weighted":
        how["weights"] = {"b": 3}
    return ClassificationEnsemble(
        name="colours",
        labels=COLOURS,
        classifiers=(
            OnnxClassifier(name="a", weights=str(tmp_path / "a.onnx"), **MINE),
            OnnxClassifier(name="b", weights=str(tmp_path / "b.onnx"), **MINE | second),
        ),
        fusion=how,
    )


def answer(folder, **inputs):
    """The answer of the pipeline, served from its folder."""
    said = json.loads((folder / "config.json").read_text())
    assert problems(said) == []
    served = ServedConfiguration(Configuration.from_json(folder / "config.json"), Limits())
    served.warm()
    given = [Given(name, "FP32", one.shape, one.tobytes()) for name, one in inputs.items()]
    reply = asyncio.run(served.answer(Request("colours", given)))
    return dict(reply.outputs)


def shown(picture):
    """A picture of 32 x 32 as the networks of `colours` see it."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None].astype("f4") / 255)


@pytest.mark.parametrize("method", CLASS_METHODS)
def test_the_pipeline_decides_as_the_ensemble(tmp_path, method):
    made = ensemble(tmp_path, method)
    notes = render(made, str(tmp_path / "out"))
    assert any("'image' takes pictures as float [?, 3, 32, 32]" in one for one in notes)
    assert any("no quorum" in one for one in notes)
    with made.load() as loaded:
        for _ in range(4):
            # As it comes out of the ensemble's own crop.
            picture = np.full((40, 40, 3), RANDOM.integers(0, 256, 3), np.uint8)
            here = loaded.look(picture)
            told = answer(tmp_path / "out", image=shown(picture[:32, :32]))
            assert told["index"].tolist() == [here.index]
            [row] = told["probabilities"]
            np.testing.assert_allclose(row, here.probabilities, atol=1e-5)


@pytest.mark.parametrize("method", CLASS_METHODS)
def test_the_network_of_a_fusion_has_its_numbers(tmp_path, method):
    made = ensemble(tmp_path, method)
    with made.load():
        predictors = {one.name: one.load() for one in made.classifiers}
    places = {"a": np.array([0, 1, 2]), "b": np.array([2, -1, 0])}
    network = fusion(made.fusion, predictors, places, 3)
    session = onnxruntime.InferenceSession(network.SerializeToString())
    a = RANDOM.dirichlet([1, 1, 1], 50).astype("f4")
    logits = RANDOM.normal(size=(50, 3)).astype("f4")
    found, index = session.run(None, {"a": a, "b": logits})
    powers = np.exp(logits - logits.max(1, keepdims=True))
    softmax = powers / powers.sum(1, keepdims=True)
    b = np.stack([softmax[:, 2], np.zeros(50), softmax[:, 0]], 1).astype("f4")
    labels = Labels(COLOURS, (1, 2, 3))
    tables = [Classifications.of(name, range(50), rows, labels) for name, rows in
              (("a", a), ("b", b))]  # fmt: skip
    decided = fuse(Classifications.join(tables), made.fusion)
    np.testing.assert_allclose(found, decided.probabilities, atol=1e-5)
    assert index.tolist() == decided.index.tolist()


def test_networks_that_see_pictures_otherwise_have_inputs_of_their_own(tmp_path):
    made = ensemble(tmp_path, channels="bgr")
    render(made, str(tmp_path / "out"))
    image = shown(np.full((32, 32, 3), (250, 10, 10), np.uint8))
    swapped = np.ascontiguousarray(image[:, ::-1])
    told = answer(tmp_path / "out", a_image=image, b_image=swapped)
    with made.load() as loaded:
        assert told["index"].tolist() == [
            loaded.look(np.full((40, 40, 3), (250, 10, 10), "u1")).index
        ]


def test_a_fixed_batch_is_demultiplexed(tmp_path):
    made = ensemble(tmp_path, batch=1)
    notes = render(made, str(tmp_path / "out"))
    assert any("a, b is fixed, so the request is demultiplexed" in one for one in notes)
    three = np.stack([shown(np.full((32, 32, 3), 120 + 40 * np.eye(3)[i], "u1")) for i in range(3)])
    told = answer(tmp_path / "out", image=three.astype("f4"))
    assert told["index"].shape == (3, 1)
    assert told["probabilities"].shape == (3, 1, 3)


def test_boxes_need_a_custom_node_which_is_named(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["render", str(PARTS / "spec.yaml"), "--for", "ovms", "-o", str(out)]) == 0
    told = capsys.readouterr().err
    assert LIBRARY in told
    assert "does not exist" in told
    said = json.loads((out / "config.json").read_text())
    assert problems(said) == []
    [pipeline] = said["pipeline_config_list"]
    assert [one["name"] for one in pipeline["nodes"]] == ["yolo", "detr", "frcnn", "fusion"]
    last = pipeline["nodes"][-1]
    assert (last["type"], last["library_name"]) == ("custom", LIBRARY)
    assert last["params"]["method"] == "consensus"
    for name in ("yolo", "detr", "frcnn"):
        original = PARTS / f"models/{name}.onnx"
        assert (out / name / "1/model.onnx").read_bytes() == original.read_bytes()
    # What cannot run is not served here either; the models alone are.
    with pytest.raises(SpecError, match="'fusion'"):
        Configuration.from_json(out / "config.json")
    del said["pipeline_config_list"], said["custom_node_library_config_list"]
    (out / "config.json").write_text(json.dumps(said))
    ServedConfiguration(Configuration.from_json(out / "config.json"), Limits()).warm()


def test_what_is_no_file_is_refused(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "kind: DetectionEnsemble\nname: x\nlabels: [car]\n"
        "detectors: [{name: far, kind: remote, url: 'http://x', model: m}]\n"
    )
    with pytest.raises(SpecError, match="'far' is of `kind: remote`"):
        render(DetectionEnsemble.from_yaml(spec), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_has_to_be_named(capsys):
    assert main(["render", str(PARTS / "spec.yaml"), "--for", "ovms"]) == 2
    assert "-o FOLDER" in capsys.readouterr().err
