"""What a configuration may say: versions, shapes, layouts, names; and what is refused, by name."""

import json

import numpy as np
import pytest

from quorate.errors import DetectorError, InputError, QuorateError, SpecError
from quorate.serving.ovms.config import Configuration, Model
from quorate.serving.ovms.models import load
from quorate.serving.ovms.served import ServedConfiguration
from quorate.serving.values import Limits, Refused, TensorInfo
from quorate.storage import write_bytes
from tests.serving.ovms.networks import classifier, elementwise, node, save, taken, walk, write
from tests.serving.ovms.published import problems

ONE = np.arange(24, dtype="f4").reshape(1, 2, 3, 4)


def served(path):
    """A configuration of the file, which that server's own schema lets pass."""
    assert problems(json.loads(path.read_text())) == []
    return ServedConfiguration(Configuration.from_json(path), Limits())


def model(folder, **more):
    return load(Model(name="m", base_path=str(folder), **more), threads=1)


def test_paths_are_taken_from_the_files_folder(tmp_path):
    elementwise(tmp_path / "m", "Add", [1, 2])
    found = served(write(tmp_path / "config.json", {"m": "m"}))
    assert found.versions["m"][1].inputs == {"input": TensorInfo("input", "FP32", (1, 2))}


def test_versions_are_chosen_by_the_policy(tmp_path):
    for version, by in ((1, 10), (2, 20), (10, 100)):
        elementwise(tmp_path, "Add", [1, 2], by=by)
        if version != 1:
            (tmp_path / str(version)).mkdir()
            (tmp_path / "1/model.onnx").rename(tmp_path / str(version) / "model.onnx")
    elementwise(tmp_path, "Add", [1, 2], by=10)
    (tmp_path / "notes").mkdir()
    for policy, wanted in (
        (None, [10]),
        ({"latest": {"num_versions": 2}}, [2, 10]),
        ({"all": {}}, [1, 2, 10]),
        ({"specific": {"versions": [2, 1]}}, [1, 2]),
    ):
        more = {} if policy is None else {"model_version_policy": policy}
        found = model(tmp_path, **more)
        assert [one.version for one in found] == wanted
        for one in found:
            [value] = one.run({"input": np.zeros((1, 2), "f4")}, ["output"]).values()
            assert value.tolist() == [[10.0 * one.version] * 2]
    with pytest.raises(InputError, match="has no version 3"):
        model(tmp_path, model_version_policy={"specific": {"versions": [3]}})


def test_each_version_is_asked_by_its_number(tmp_path):
    elementwise(tmp_path / "m", "Add", [1, 2])
    classifier(tmp_path / "m", 1, version=2)
    said = {"base_path": "m", "model_version_policy": {"all": {}}}
    found = served(write(tmp_path / "config.json", {"m": said}))
    assert found.info("m", "").versions == found.info("m", "1").versions == ("1", "2")
    assert found.info("m", "1").inputs[0].shape == (1, 2)
    assert found.info("m", "").inputs[0].shape == (1, 3, 224, 224)
    with pytest.raises(Refused, match="has no version '3'; it has 1, 2"):
        found.info("m", "3")


def test_a_file_may_stand_for_its_folder(tmp_path):
    elementwise(tmp_path, "Add", [1, 2])
    [found] = model(tmp_path / "1/model.onnx")
    assert found.version == 1


def test_a_layout_is_the_clients_order_of_axes(tmp_path):
    elementwise(tmp_path, "Add", [1, 2, 3, 4])
    [found] = model(tmp_path, layout={"input": "NHWC:NCHW", "output": "HWNC:NCHW"})
    assert found.inputs["input"].shape == (1, 3, 4, 2)
    assert found.outputs["output"].shape == (3, 4, 1, 2)
    [value] = found.run({"input": ONE.transpose(0, 2, 3, 1)}, ["output"]).values()
    assert value.tolist() == (ONE + 1).transpose(2, 3, 0, 1).tolist()
    [short] = model(tmp_path, layout="NHWC:NCHW")
    assert short.inputs["input"].shape == (1, 3, 4, 2)
    assert short.outputs["output"].shape == (1, 2, 3, 4)
    [same] = model(tmp_path, layout="NCHW")
    assert same.inputs["input"].shape == (1, 2, 3, 4)
    for wrong in ("NHWC:NCH", "NXYZ:NCHW", "N...:NCHW", "NHC:NCH"):
        with pytest.raises(SpecError, match="layout"):
            model(tmp_path, layout=wrong)


def test_an_open_size_is_fixed_by_shape_or_batch(tmp_path):
    elementwise(tmp_path, "Add", ["n", 2])
    assert model(tmp_path)[0].inputs["input"].shape == (-1, 2)
    assert model(tmp_path, batch_size=4)[0].inputs["input"].shape == (4, 2)
    assert model(tmp_path, batch_size="auto")[0].inputs["input"].shape == (-1, 2)
    assert model(tmp_path, shape="(3,2)", batch_size=4)[0].inputs["input"].shape == (3, 2)
    [found] = model(tmp_path, shape={"input": "(3, 2)"})
    with pytest.raises(DetectorError, match=r"takes 'input' of FP32 \[3, 2\]"):
        found.run({"input": np.zeros((1, 2), "f4")}, ["output"])
    # What the file fixes, onnxruntime does not change.
    for wrong in ({"shape": "(3,5)"}, {"shape": "(1,2,3)"}):
        with pytest.raises(SpecError, match="does not change what a file fixes"):
            model(tmp_path, **wrong)
    with pytest.raises(SpecError, match="no input 'x'"):
        model(tmp_path, shape={"x": "(1,2)"})
    with pytest.raises(SpecError, match="is none such as"):
        model(tmp_path, shape="(1:3,2)")


def test_a_file_of_openvino_is_run_and_reshaped(tmp_path):
    openvino = pytest.importorskip("openvino")
    elementwise(tmp_path / "onnx", "Mul", [1, 2, 3, 4], by=3)
    (tmp_path / "ir/1").mkdir(parents=True)
    converted = openvino.convert_model(tmp_path / "onnx/1/model.onnx")
    openvino.save_model(converted, tmp_path / "ir/1/model.xml", compress_to_fp16=False)
    [found] = model(tmp_path / "ir", layout="NHWC:NCHW")
    assert found.inputs["input"] == TensorInfo("input", "FP32", (1, 3, 4, 2))
    [value] = found.run({"input": ONE.transpose(0, 2, 3, 1)}, ["output"]).values()
    assert value.tolist() == (3 * ONE).tolist()
    [found] = model(tmp_path / "ir", shape="(5,2,1,1)")
    [value] = found.run({"input": np.ones((5, 2, 1, 1), "f4")}, ["output"]).values()
    assert value.shape == (5, 2, 1, 1)
    (tmp_path / "ir/1/model.xml").write_text("<net/>")
    with pytest.raises(DetectorError, match="openvino cannot load it"):
        model(tmp_path / "ir")


def test_tensors_have_the_names_of_the_mapping(tmp_path):
    elementwise(tmp_path, "Add", [1, 2])
    mapping = {"inputs": {"input": "picture"}, "outputs": {"output": "told"}}
    (tmp_path / "1/mapping_config.json").write_text(json.dumps(mapping))
    [found] = model(tmp_path)
    [(name, value)] = found.run({"picture": np.zeros((1, 2), "f4")}, ["told"]).items()
    assert (name, value.tolist()) == ("told", [[1, 1]])
    (tmp_path / "1/mapping_config.json").write_text("[]")
    with pytest.raises(SpecError, match="expected"):
        model(tmp_path)


def test_what_has_no_meaning_here_is_told(tmp_path, caplog):
    elementwise(tmp_path, "Add", [1, 2])
    model(tmp_path, plugin_config={"NUM_STREAMS": "4", "CPU_THREADS_NUM": 2}, nireq=4)
    [told] = caplog.messages
    assert told == "m: runs on the CPU, passed over: NUM_STREAMS, nireq"


@pytest.mark.parametrize(("name", "words"), [
    ("nothing", "has no version of a model"), ("1/model.pb", "neither ONNX nor OpenVINO IR"),
])  # fmt: skip
def test_a_folder_without_a_model_is_told(tmp_path, name, words):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=words):
        model(tmp_path)


CUSTOM = {
    "name": "cut",
    "library_name": "ocr",
    "type": "custom",
    "params": {"a": "1"},
    "inputs": taken({"image": "request image"}),
    "outputs": [{"data_item": "texts", "alias": "texts"}],
}


@pytest.mark.parametrize(("more", "words"), [
    ({"custom_loader_config_list": [{"config": {"loader_name": "a", "library_path": "b"}}]},
     "custom_loader_config_list: custom loaders"),
    ({"mediapipe_config_list": [{"name": "graph"}]}, "mediapipe_config_list: MediaPipe graphs"),
    ({"pipeline_config_list": [{"name": "p", "inputs": ["image"], "nodes": [CUSTOM],
                                "outputs": taken({"t": "cut texts"})}],
      "custom_node_library_config_list": [{"name": "ocr", "base_path": "/ovms/lib/libocr.so"}]},
     r"the node 'cut' of the pipeline 'p' is a custom node of the library 'ocr' \(/ovms/lib/lib"),
])  # fmt: skip
def test_what_cannot_be_served_is_refused_by_name(tmp_path, more, words):
    elementwise(tmp_path / "m", "Add", [1, 2])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_config_list": [{"config": {"name": "m"}}], **more}))
    assert problems(json.loads(path.read_text())) == []
    with pytest.raises(SpecError, match=words):
        Configuration.from_json(path)


@pytest.mark.parametrize(("text", "words"), [
    ("{", "not valid JSON"),
    ("[]", "no configuration"),
    ("{}", "model_config_list: it is missing"),
    ('{"model_config_list": [], "model_config_list": []}', "'model_config_list' stands twice"),
    ('{"model_config_list": [{"config": {"name": "m", "base": "x"}}]}', "base: there is no such"),
    ('{"model_config_list": [{"config": {"name": "m"}}]}', "'m' has no base_path"),
    ('{"model_config_list": [{"config": {"name": "m", "base_path": "no"}}]}', "no such folder"),
])  # fmt: skip
def test_a_file_that_is_wrong_is_told_where(tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(QuorateError) as told:
        ServedConfiguration(Configuration.from_json(path), Limits())
    assert words in told.value.message


def test_a_name_is_first_a_models(tmp_path, caplog):
    elementwise(tmp_path / "m", "Add", [1, 2])
    elementwise(tmp_path / "p", "Add", [1, 7])
    nodes = [node("n", "m", {"input": "request x"}, {"output": "y"})]
    pipeline = {"name": "p", "inputs": ["x"], "nodes": nodes, "outputs": taken({"z": "n y"})}
    found = served(write(tmp_path / "config.json", {"m": "m", "p": "p"}, pipeline))
    assert found.info("p", "").inputs[0].shape == (1, 7)
    assert found.pipelines == {}
    assert "'p' is taken, so the pipeline of that name is never asked" in caplog.text


def test_a_node_may_be_called_by_node_name(tmp_path):
    said = json.loads(walk(tmp_path).read_text())
    for one in said["pipeline_config_list"][0]["nodes"]:
        one["node_name"] = one.pop("name")
    (tmp_path / "other.json").write_text(json.dumps(said))
    found = ServedConfiguration(Configuration.from_json(tmp_path / "other.json"), Limits())
    assert [*found.pipelines] == ["image_classification_pipeline"]


def test_a_tensor_that_no_client_can_send_is_told(tmp_path):
    from onnx import TensorProto, helper

    from tests.serving.ovms import networks

    networks.DTYPES["str"] = TensorProto.STRING
    save(
        tmp_path,
        [helper.make_node("Identity", ["input"], ["output"])],
        {"input": ("str", [1])},
        {"output": ("str", [1])},
    )
    with pytest.raises(DetectorError, match="'input' is of string, which is not served"):
        model(tmp_path)


def test_half_precision_is_answered_over_grpc():
    """Its numbers have no other form there than bytes, in whichever form the request came."""
    from quorate.serving.rpc import _answer
    from quorate.serving.values import Reply

    half = np.array([[1, 2.5]], "f2")
    answer = _answer(Reply("m", {"y": half}, {}), raw=False)
    assert answer.raw_output_contents == [half.tobytes()]


@pytest.mark.s3
def test_models_may_lie_in_s3(tmp_path, s3_prefix):
    elementwise(tmp_path, "Add", [1, 2], by=4)
    write_bytes(f"{s3_prefix}/m/3/model.onnx", (tmp_path / "1/model.onnx").read_bytes())
    [found] = model(f"{s3_prefix}/m")
    assert found.version == 3
    [value] = found.run({"input": np.zeros((1, 2), "f4")}, ["output"]).values()
    assert value.tolist() == [[4, 4]]
    with pytest.raises(InputError):
        model(f"{s3_prefix}/nothing")
