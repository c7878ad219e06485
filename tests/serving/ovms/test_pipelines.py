"""Pipelines of nodes: aliases, demultiplexing and gathering, and graphs that cannot be run."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper

from quorate.errors import InputError, SpecError
from quorate.serving.ovms.config import Configuration
from quorate.serving.ovms.served import ServedConfiguration
from quorate.serving.values import Given, Limits, Refused, Request
from tests.serving.ovms.networks import elementwise, node, save, taken, write
from tests.serving.ovms.test_configuration import served

PAIR = {"input": "request x"}


@pytest.fixture
def models(tmp_path):
    """Models by their names: what they do, and to which shape."""
    elementwise(tmp_path / "add", "Add", [1, 2])
    elementwise(tmp_path / "twice", "Mul", [1, 2], by=2)
    elementwise(tmp_path / "three", "Add", [3, 1, 2])
    elementwise(tmp_path / "any", "Mul", ["n", 1, 2], by=10)
    elementwise(tmp_path / "wide", "Add", [1, 3])
    # The sum over what was gathered.
    save(
        tmp_path / "sum",
        [helper.make_node("ReduceSum", ["input", "axes"], ["output"], keepdims=0)],
        {"input": ("f4", ["n", 1, 2])},
        {"output": ("f4", [1, 2])},
        weights=[("axes", np.array([0]))],
    )
    save(
        tmp_path / "whole",
        [helper.make_node("Cast", ["input"], ["output"], to=TensorProto.INT32)],
        {"input": ("f4", [1, 2])},
        {"output": ("i4", [1, 2])},
    )
    return {name.name: name.name for name in tmp_path.iterdir()}


def pipeline(nodes, outputs, inputs=("x",), **more):
    taken_ = taken(outputs)
    return {"name": "p", "inputs": [*inputs], "nodes": nodes, "outputs": taken_, **more}


def run(tmp_path, models, said, **inputs):
    """The answer of a pipeline, as the data plane gives it."""
    found = served(write(tmp_path / "config.json", models, said))
    request = Request(
        "p", [Given(name, "FP32", value.shape, value.tobytes()) for name, value in inputs.items()]
    )
    reply = asyncio.run(found.answer(request))
    told = dict(reply.outputs)
    for about in found.info("p", "").outputs:
        shape = told[about.name].shape
        assert len(shape) == len(about.shape)
        assert all(said in (-1, size) for said, size in zip(about.shape, shape, strict=True))
    return told


def row(*values):
    return np.array([values], "f4")


def test_nodes_are_run_in_the_order_that_they_need(tmp_path, models):
    nodes = [  # the last one first
        node("c", "twice", {"input": "b y"}, {"output": "y"}),
        node("b", "add", {"input": "a y"}, {"output": "y"}),
        node("a", "twice", PAIR, {"output": "y"}),
    ]
    said = pipeline(nodes, {"z": "c y", "between": "b y"})
    told = run(tmp_path, models, said, x=row(1, 2))
    assert told["between"].tolist() == [[3, 5]]
    assert told["z"].tolist() == [[6, 10]]


def test_one_model_may_be_in_several_nodes(tmp_path, models):
    nodes = [
        node(name, "add", {"input": f"request {name}"}, {"output": f"{name}1"}) for name in "xy"
    ]
    told = run(
        tmp_path,
        models,
        pipeline(nodes, {"u": "x x1", "v": "y y1"}, "xy"),
        x=row(1, 2),
        y=row(5, 6),
    )
    assert {name: value.tolist() for name, value in told.items()} == {"u": [[2, 3]], "v": [[6, 7]]}


def test_a_node_is_cut_and_the_answer_gathers(tmp_path, models):
    nodes = [
        node("a", "three", PAIR, {"output": "y"}, demultiply_count=3),
        node("b", "twice", {"input": "a y"}, {"output": "y"}),
    ]
    x = np.arange(6, dtype="f4").reshape(3, 1, 2)
    told = run(tmp_path, models, pipeline(nodes, {"z": "b y"}), x=x)
    assert told["z"].tolist() == (2 * (x + 1)).tolist()


def test_what_a_demultiplexer_gives_itself_is_gathered_too(tmp_path, models):
    nodes = [node("a", "three", PAIR, {"output": "y"}, demultiply_count=3)]
    x = np.arange(6, dtype="f4").reshape(3, 1, 2)
    assert (
        run(tmp_path, models, pipeline(nodes, {"z": "a y"}), x=x)["z"].tolist() == (x + 1).tolist()
    )


def test_a_node_gathers_the_parts(tmp_path, models):
    nodes = [
        node("a", "three", PAIR, {"output": "y"}, demultiply_count=3),
        node("b", "twice", {"input": "a y"}, {"output": "y"}),
        node("c", "sum", {"input": "b y"}, {"output": "y"}, gather_from_node="a"),
    ]
    x = np.arange(6, dtype="f4").reshape(3, 1, 2)
    told = run(tmp_path, models, pipeline(nodes, {"z": "c y"}), x=x)
    assert told["z"].tolist() == (2 * (x + 1)).sum(0).tolist()


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_a_request_is_cut_for_any_number_of_pictures(tmp_path, models, count):
    nodes = [node("a", "twice", PAIR, {"output": "y"})]
    said = pipeline(nodes, {"z": "a y"}, demultiply_count=count)
    x = np.arange(8, dtype="f4").reshape(4, 1, 2)
    assert run(tmp_path, models, said, x=x)["z"].tolist() == (2 * x).tolist()
    found = served(write(tmp_path / "config.json", models, said))
    assert found.info("p", "").inputs[0].shape == (max(count, -1) or -1, 1, 2)
    with pytest.raises(Refused, match="'x' is FP32"):
        asyncio.run(found.answer(Request("p", [Given("x", "FP32", (0, 1, 2), b"")])))
    if count == 4:
        wrong = Request("p", [Given("x", "FP32", (3, 1, 2), x[:3].tobytes())])
        with pytest.raises(Refused, match="not FP32"):
            asyncio.run(found.answer(wrong))


def test_demultiplexers_nest(tmp_path, models):
    nodes = [
        node("a", "nest", PAIR, {"output": "y"}, demultiply_count=2),
        node("b", "three", {"input": "a y"}, {"output": "y"}, demultiply_count=3),
        node("c", "twice", {"input": "b y"}, {"output": "y"}),
        node("d", "sum", {"input": "c y"}, {"output": "y"}, gather_from_node="b"),
    ]
    elementwise(tmp_path / "nest", "Add", [2, 3, 1, 2])
    models["nest"] = "nest"
    x = np.arange(12, dtype="f4").reshape(2, 3, 1, 2)
    told = run(tmp_path, models, pipeline(nodes, {"z": "d y"}), x=x)
    assert told["z"].tolist() == (2 * (x + 2)).sum(1).tolist()
    told = run(tmp_path, models, pipeline(nodes[:3], {"z": "c y"}), x=x)
    assert told["z"].tolist() == (2 * (x + 2)).tolist()


def test_parts_of_an_open_number(tmp_path, models):
    nodes = [
        node("a", "any", PAIR, {"output": "y"}, demultiply_count=-1),
        node("b", "add", {"input": "a y"}, {"output": "y"}),
    ]
    x = np.arange(10, dtype="f4").reshape(5, 1, 2)
    told = run(tmp_path, models, pipeline(nodes, {"z": "b y"}), x=x)
    assert told["z"].tolist() == (10 * x + 1).tolist()
    # A fixed count for a size that is open is only seen to be wrong when it is run.
    nodes[0]["demultiply_count"] = 4
    with pytest.raises(InputError, match="'a' of 'p' is cut into 5 parts, and has to be into 4"):
        run(tmp_path, models, pipeline(nodes, {"z": "b y"}), x=x)


A = node("a", "add", PAIR, {"output": "y"})
CUT = node("a", "three", PAIR, {"output": "y"}, demultiply_count=3)
OPEN = node("a", "any", PAIR, {"output": "y"}, demultiply_count=-1)
B = node("b", "twice", {"input": "a y"}, {"output": "y"})
OUT = {"z": "b y"}


@pytest.mark.parametrize(("said", "words"), [
    (pipeline([A, A], OUT), "has two nodes called 'a'"),
    (pipeline([A | {"name": "request"}], OUT), "two nodes called 'request'"),
    (pipeline([A | {"model_name": "who"}, B], OUT), "model 'who', which is not in the list"),
    (pipeline([A | {"version": 4}, B], OUT), "model 'add' of version 4"),
    (pipeline([node("a", "add", PAIR, {"out": "y"}), B], OUT), "takes 'out' from 'a'"),
    (pipeline([node("a", "add", {"in": "request x"}, {"output": "y"}), B], OUT), "feeds 'in' of"),
    (pipeline([node("a", "add", {}, {"output": "y"}), B], OUT), "does not feed 'input' of 'a'"),
    (pipeline([A | {"inputs": A["inputs"] * 2}, B], OUT), "feeds 'input' of 'a' twice"),
    (pipeline([node("a", "add", {"input": "request y"}, {"output": "y"}), B], OUT),
     "takes 'y' from 'request', which gives x"),
    (pipeline([A, node("b", "add", {"input": "c y"}, {"output": "y"})], OUT), "'c', which is no"),
    (pipeline([A, node("b", "add", {"input": "a x"}, {"output": "y"})], OUT), "which gives y"),
    (pipeline([node("a", "add", {"input": "b y"}, {"output": "y"}), B], OUT), "goes in a circle"),
    (pipeline([A, node("b", "wide", {"input": "a y"}, {"output": "y"})], OUT),
     r"which is FP32 \[1, 3\], 'y' of 'a', which is FP32 \[1, 2\]"),
    (pipeline([node("a", "whole", PAIR, {"output": "y"}), B], OUT), r"which is INT32 \[1, 2\]"),
    (pipeline([A, node("b", "wide", PAIR, {"output": "y"})], {"u": "a y", "v": "b y"}),
     "gives its input 'x' to models that take"),
    (pipeline([A, B], {"z": "a y"}), "has the node 'b', of which nothing is taken"),
    (pipeline([A, B], {}), "has no outputs"),
    (pipeline([A, B], {"z": "b y", "x": "request x"}), "answers with its own input"),
    (pipeline([CUT | {"demultiply_count": 4}, B], OUT), "cuts the outputs of 'a' into 4"),
    (pipeline([A | {"demultiply_count": 1}, B], OUT), "has fewer than three axes"),
    (pipeline([OPEN, B | {"demultiply_count": 3}], OUT), "several demultiplexers, one of them of"),
    (pipeline([A, B | {"gather_from_node": "a"}], OUT), "'a', which is no demultiplexer"),
    (pipeline([CUT, B | {"gather_from_node": "c"}], OUT), "'c', which is no demultiplexer"),
    (pipeline([CUT, node("b", "sum", {"input": "request w"}, {"output": "y"},
                         gather_from_node="a")], {"z": "b y", "v": "a y"}, "xw"), "not the close"),
    (pipeline([CUT, B], {"z": "b y", "y": "c y"}), "takes something from 'c', which is no node"),
    (pipeline([CUT, node("c", "add", {"input": "request w"}, {"output": "y"})],
              {"z": "a y", "v": "c y"}, "xw"), "brings together in 'the answer'"),
])  # fmt: skip
def test_a_graph_that_cannot_be_run_is_told(tmp_path, models, said, words):
    path = write(tmp_path / "config.json", models, said)
    with pytest.raises(SpecError, match=words) as told:
        ServedConfiguration(Configuration.from_json(path), Limits())
    assert told.value.message.startswith(f"{path}: the pipeline 'p' ")


def test_branches_are_run_at_once(tmp_path, models):
    """Both networks wait until the other runs, which they never would one after the other."""
    nodes = [
        node("a", "add", PAIR, {"output": "y"}),
        node("b", "twice", PAIR, {"output": "y"}),
    ]
    said = pipeline(nodes, {"u": "a y", "v": "b y"})
    found = served(write(tmp_path / "config.json", models, said))
    meeting = threading.Barrier(2)

    class Meeting:
        def __init__(self, network):
            self.graph, self._network = network.graph, network

        def run(self, outputs, feed):
            meeting.wait(30)
            return self._network.run(outputs, feed)

    for name in ("add", "twice"):
        model = found.versions[name][1]
        object.__setattr__(model, "network", Meeting(model.network))
    request = Request("p", [Given("x", "FP32", (1, 2), row(1, 2).tobytes())])
    told = {name: one.tolist() for name, one in asyncio.run(found.answer(request)).outputs.items()}
    assert told == {"u": [[2, 3]], "v": [[2, 4]]}


def test_a_model_that_fails_ends_the_others(tmp_path, models):
    """What fails is told, and what would have come after it is never asked."""
    nodes = [A, B, node("c", "add", {"input": "b y"}, {"output": "y"})]
    said = pipeline(nodes, {"z": "c y"})
    found = served(write(tmp_path / "config.json", models, said))
    asked = []

    class Broken:
        graph = found.versions["twice"][1].network.graph

        def run(self, outputs, feed):
            raise InputError("It fails.")

    class Seen:
        def __init__(self, network):
            self.graph, self._network = network.graph, network

        def run(self, outputs, feed):
            asked.append(1)
            return self._network.run(outputs, feed)

    object.__setattr__(found.versions["twice"][1], "network", Broken())
    object.__setattr__(found.versions["add"][1], "network", Seen(found.versions["add"][1].network))
    with ThreadPoolExecutor(2) as pool, pytest.raises(InputError, match="It fails"):
        asyncio.run(found.pipelines["p"].run({"x": row(1, 2)}, pool))
    assert len(asked) == 1


def test_a_full_server_refuses(tmp_path, models):
    found = ServedConfiguration(
        Configuration.from_json(write(tmp_path / "config.json", models)), Limits(waiting=0)
    )
    with pytest.raises(Refused, match="wait already"):
        found.check()
