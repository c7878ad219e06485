"""Networks opened a second time, with every processor at one run: the same numbers, to the bit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quorate.ensemble import ClassificationEnsemble, read_ensemble
from quorate.steps.wide import widened
from quorate.workers import processors
from tests.classifiers.models import colours
from tests.cvat.servers import ROOT

EXAMPLES = ROOT / "docs/examples"
pytestmark = pytest.mark.skipif(processors() == 1, reason="one processor has nobody to share with")


def widen(loaded):
    """Keep the wide networks, whether or not they are quicker on this machine."""
    loaded._wide, unlike = widened(loaded._voters)
    return unlike


def threads(loaded):
    sessions = [voter.says.predictor.network.session for voter in loaded._wide]
    return [one.get_session_options().intra_op_num_threads for one in sessions]


def told(answer):
    """The bits of an answer."""
    own = answer.table.probabilities, answer.table.of_members
    return [np.ascontiguousarray(one).tobytes() for one in own]


def test_detectors_find_the_same_boxes_alone():
    files = [p.read_bytes() for p in sorted((EXAMPLES / "parts/images").glob("bench-*/*.jpg"))[:3]]
    with read_ensemble(EXAMPLES / "parts/spec.yaml").load() as loaded:
        assert widen(loaded) == []
        assert threads(loaded) == [processors()] * 3
        plain = loaded.answers(files)
        for file, one in zip(files, plain, strict=True):
            [alone] = loaded.answers([file], alone=True)
            assert len(alone.boxes) > 0
            assert alone.boxes.xyxy.tobytes() == one.boxes.xyxy.tobytes()
            assert alone.boxes.score.tobytes() == one.boxes.score.tobytes()
            for name, boxes in one.own.items():
                assert alone.own[name].score.tobytes() == boxes.score.tobytes()


def test_classifiers_give_the_same_probabilities_alone():
    files = [p.read_bytes() for p in sorted((EXAMPLES / "sorting/images").glob("*/*.*"))[::40]]
    with read_ensemble(EXAMPLES / "sorting/spec.yaml").load() as loaded:
        assert widen(loaded) == []
        assert threads(loaded) == [processors()] * 2
        for file, one in zip(files, loaded.answers(files), strict=True):
            [alone] = loaded.answers([file], alone=True)
            assert told(alone) == told(one)


def test_threads_of_the_spec_are_kept(tmp_path):
    colours(tmp_path / "a.onnx")
    about = {"kind": "onnx", "weights": str(tmp_path / "a.onnx")}
    said = [{"name": "said", "threads": 1, **about}, {"name": "open", **about}]
    with ClassificationEnsemble(name="colours", classifiers=said).load() as loaded:
        assert widen(loaded) == []
        assert threads(loaded) == [1, processors()]


def test_a_network_whose_numbers_would_differ_is_left_as_it_is(tmp_path):
    path = tmp_path / "restless.onnx"
    colours(path, end="none")
    model = onnx.load(path)
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["calm" if name == output else name for name in node.output]
    model.graph.node.extend([
        helper.make_node("RandomUniformLike", ["calm"], ["noise"], dtype=TensorProto.FLOAT),
        helper.make_node("Add", ["calm", "noise"], [output]),
    ])  # fmt: skip
    onnx.save(model, path)
    colours(tmp_path / "calm.onnx")
    members = [
        {"name": "restless", "kind": "onnx", "weights": str(path), "activation": "softmax"},
        {"name": "calm", "kind": "onnx", "weights": str(tmp_path / "calm.onnx")},
    ]
    with ClassificationEnsemble(name="colours", classifiers=members).load() as loaded:
        loaded.answers([np.zeros((9, 9, 3), np.uint8)])  # so that the second one lags behind
        assert widen(loaded) == ["restless"]
        assert threads(loaded) == [1, processors()]


def test_they_are_kept_as_a_whole_or_not_at_all():
    file = next((EXAMPLES / "sorting/images").glob("*/*.*")).read_bytes()
    with read_ensemble(EXAMPLES / "sorting/spec.yaml").load() as loaded:
        assert loaded.widen() == []
        assert threads(loaded) in ([1, 1], [processors()] * 2)
        [alone], [one] = (loaded.answers([file], alone=alone) for alone in (True, False))
        assert told(alone) == told(one)
