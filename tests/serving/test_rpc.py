"""The same over gRPC: a real server, asked with messages of the protocol."""

import grpc
import numpy as np
import pytest

from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.open_inference.tensors import CONTENTS, elements, packed
from tests.serving.conftest import PICTURES
from tests.serving.test_rest import NUMBERS, check, pixels

FILES = [one.read_bytes() for one in PICTURES]


@pytest.fixture(scope="module")
def channel(parts):
    with grpc.insecure_channel(parts.rpc.removeprefix("grpc://")) as channel:
        yield channel


def call(channel, method, request=None, **fields):
    """One call; `request` is bytes in place of a message."""
    ask = channel.unary_unary(
        f"/{SERVICE}/{method}", response_deserializer=MESSAGES[f"{method}Response"].FromString
    )
    if request is None:
        request = MESSAGES[f"{method}Request"](**fields).SerializeToString()
    return ask(request, timeout=120)


def refusal(channel, method, request=None, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, **fields)
    return caught.value.code().name, caught.value.details()


def infer(channel, inputs, **fields):
    return call(channel, "ModelInfer", model_name="parts", inputs=inputs, **fields)


def outputs(answer):
    found = {}
    for position, one in enumerate(answer.outputs):
        kind = NUMBERS.get(one.name.rpartition(".")[2])
        if answer.raw_output_contents:
            data = answer.raw_output_contents[position]
            if one.datatype == "BYTES":
                value = [text.decode() for text in elements("it", one.shape, data)]
            else:
                value = np.frombuffer(data, kind).reshape(one.shape)
        else:
            value = [*getattr(one.contents, CONTENTS[one.datatype])]
            if one.datatype == "BYTES":
                value = [text.decode() for text in value]
            else:
                value = np.array(value, kind).reshape(one.shape)
        found[one.name] = value
    return found


def image(shape, datatype="BYTES", **more):
    return {"name": "image", "shape": shape, "datatype": datatype, **more}


def test_the_server_and_its_models_say_what_they_are(channel):
    assert call(channel, "ServerLive").live
    assert call(channel, "ServerReady").ready
    said = call(channel, "ServerMetadata")
    assert (said.name, said.extensions[0]) == ("quorate", "binary_tensor_data")
    names = ["parts", "parts.yolo", "parts.detr", "parts.frcnn"]
    assert [one.name for one in call(channel, "RepositoryIndex").models] == names
    for name in names:
        assert call(channel, "ModelReady", name=name).ready
        said = call(channel, "ModelMetadata", name=name, version="1")
        assert (said.name, [*said.versions], said.platform) == (name, ["1"], "quorate")
        assert [(one.name, one.datatype) for one in said.inputs] == [("image", "BYTES")]
        assert [*said.outputs[0].shape] == [-1, 4]


@pytest.mark.parametrize("raw", [True, False])
def test_files_have_the_boxes_of_the_ensemble_here(channel, here, raw):
    loaded, answers = here
    if raw:
        answer = infer(channel, [image([3])], raw_input_contents=[packed(FILES)], id="mine")
    else:
        answer = infer(channel, [image([3], contents={"bytes_contents": FILES})], id="mine")
    assert bool(answer.raw_output_contents) is raw
    check(outputs(answer), answers, loaded)
    assert (answer.model_name, answer.model_version, answer.id) == ("parts", "1", "mine")
    assert not answer.parameters["degraded"].bool_param
    assert answer.parameters["voted"].string_param == "yolo,detr,frcnn"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("raw", [True, False])
def test_pixels(channel, here, layout, raw):
    loaded, _ = here
    array = pixels()
    answers = loaded.answers([*array])
    if layout == "NCHW":
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if raw:
        given, more = image(array.shape, "UINT8"), {"raw_input_contents": [array.tobytes()]}
    else:
        contents = {"uint_contents": array.reshape(-1)}
        given, more = image(array.shape, "UINT8", contents=contents), {}
    check(outputs(infer(channel, [given], **more)), answers, loaded)


def test_a_detectors_own_boxes(channel, here):
    loaded, answers = here
    raw = {"raw_input_contents": [packed(FILES)]}
    alone = outputs(
        call(channel, "ModelInfer", model_name="parts.detr", inputs=[image([3])], **raw)
    )
    check({f"detr.{key}": value for key, value in alone.items()}, answers, loaded, "detr.")
    wanted = [{"name": f"detr.{key}"} for key in alone]
    found = outputs(infer(channel, [image([3])], outputs=wanted, **raw))
    check(found, answers, loaded, "detr.")


@pytest.mark.parametrize("method", [f"{kind}SharedMemory{what}" for kind in ("System", "Cuda")
                                    for what in ("Status", "Register", "Unregister")])  # fmt: skip
def test_shared_memory_is_refused(channel, method):
    ask = channel.unary_unary(f"/{SERVICE}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        ask(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "Shared memory is not offered" in caught.value.details()


def test_what_is_not_there(channel):
    for method in ("ModelMetadata", "ModelReady"):
        code, said = refusal(channel, method, name="part")
        assert (code, said) == ("NOT_FOUND", "No model is called 'part': did you mean 'parts'?")
    assert refusal(channel, "ModelMetadata", name="parts", version="2")[0] == "NOT_FOUND"
    assert refusal(channel, "ModelInfer", model_name="nobody")[0] == "NOT_FOUND"


RAW = {"raw_input_contents": [packed(FILES[:1])]}
BAD = {
    "no message": {"request": b"\xff\xff\xff"},
    "no tensor": {},
    "raw contents without a tensor": RAW,
    "contents twice": {"inputs": [image([1], contents={"bytes_contents": FILES[:1]})], **RAW},
    "another datatype": {"inputs": [image([1], "FP32")], **RAW},
    "contents of another datatype": {"inputs": [image([1], contents={"int_contents": [1]})]},
    "no data": {"inputs": [image([1])]},
    "no picture": {"inputs": [image([1], contents={"bytes_contents": [b"hello"]})]},
    "base64": {"inputs": [image([1], contents={"bytes_contents": [b"aGVsbG8="]})]},
    "numbers too large": {"inputs": [image([1, 1, 1, 3], "UINT8",
                                           contents={"uint_contents": [1, 2, 256]})]},
    "cut short": {"inputs": [image([1])], "raw_input_contents": [packed(FILES)[:-1]]},
    "another output": {"inputs": [image([1])], "outputs": [{"name": "x"}], **RAW},
    "many": {"inputs": [image([33], contents={"bytes_contents": FILES[:1] * 33})]},
    "a timeout of text": {"inputs": [image([1])], "parameters": {"timeout": {"string_param": "1"}},
                          **RAW},
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_tensor_is_refused_with_a_sentence(channel, parts, what):
    fields = dict(BAD[what])
    request = fields.pop("request", None)
    code, said = refusal(channel, "ModelInfer", request, model_name="parts", **fields)
    assert (code, said[-1]) == ("INVALID_ARGUMENT", "."), said
    assert "Traceback" not in parts.log


def test_shared_memory_is_refused_in_a_request(channel):
    given = image([1], parameters={"shared_memory_region": {"string_param": "a"}})
    code, said = refusal(channel, "ModelInfer", model_name="parts", inputs=[given])
    assert (code, said.split(";")[0]) == ("UNIMPLEMENTED", "Shared memory is not offered")


@pytest.mark.parametrize("name", ["shared_memory_region", "classification"])
def test_what_outputs_cannot_be_is_refused(channel, name):
    wanted = {"name": "scores", "parameters": {name: {"int64_param": 2}}}
    code, said = refusal(
        channel, "ModelInfer", model_name="parts", inputs=[image([1])], outputs=[wanted], **RAW
    )
    assert (code, "not offered" in said) == ("UNIMPLEMENTED", True)


def test_a_message_that_is_too_large(channel):
    code, _ = refusal(
        channel, "ModelInfer", model_name="parts", raw_input_contents=[bytes(65 << 20)]
    )
    assert code == "RESOURCE_EXHAUSTED"


def test_no_time_is_left(channel):
    ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    request = MESSAGES["ModelInferRequest"](model_name="parts", inputs=[image([3])],
                                            raw_input_contents=[packed(FILES)])  # fmt: skip
    with pytest.raises(grpc.RpcError) as caught:
        ask(request.SerializeToString(), timeout=0.001)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
