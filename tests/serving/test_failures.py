"""Detectors that fail, hang or are away; requests that are too many, too late, or given up."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc
import pytest
import requests
import yaml

from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.open_inference.tensors import packed
from tests.classifiers.models import COLOURS, colours
from tests.cvat.servers import started
from tests.detectors.servers.real import free_ports
from tests.serving.puppets import told
from tests.waiting import until


@pytest.mark.parametrize("what", ["fail", "away", "hang", "nan", "infinite"])
def test_a_detector_that_fails_costs_its_vote(puppets, what):
    with puppets.start("--member-timeout", "0.5") as server:
        whole = told(puppets.ask(server))
        assert (whole["degraded"], whole["voted"], whole["votes"]) == (False, "a,b,c", [3, 3])
        puppets.tell("b", what)
        less = told(puppets.ask(server, body=puppets.body(2)))
        assert (less["degraded"], less["voted"]) == (True, "a,c")
        assert less["votes"] == [2, 2, 2, 2]
        assert less["voters"] == ["a,c", "a,c"]
        reason = {"fail": "out of order", "away": "no answer", "hang": "no answer within 0.5 s"}
        reason |= dict.fromkeys(("nan", "infinite"), "a score that is NaN or infinite")
        assert less["failed"].startswith("b: ")
        assert reason[what] in less["failed"]
        alone = puppets.ask(server, "spots.b")
        assert (alone.status_code, reason[what] in alone.json()["error"]) == (503, True)
        assert told(puppets.ask(server, "spots.a"))["counts"] == [2]
        own = {"outputs": [{"name": "b.counts"}, {"name": "a.counts"}]}
        own = told(puppets.ask(server, body=puppets.body(**own)))
        assert (own["b.counts"], own["a.counts"]) == ([0], [2])
        puppets.tell("c", what)
        none = puppets.ask(server)
        assert none.status_code == 503
        assert "1 of 3 detectors succeeded, need 2" in none.json()["error"]
        assert requests.get(f"{server.url}/v2/health/live").ok
        for name in "bc":
            puppets.tell(name, "")
        until(lambda: not told(puppets.ask(server))["degraded"])


def test_a_member_behind_grpc_that_dies_costs_its_vote_until_it_is_back(tmp_path, puppets):
    [port, grpc_port] = free_ports(2)
    for name in ("one", "two"):
        colours(tmp_path / f"{name}.onnx")
    config = {"model_config_list": [{"config": {"name": "one", "base_path": "one.onnx"}}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    near = {"name": "near", "kind": "onnx", "weights": "two.onnx", "scale": 1 / 255}
    far = {"name": "far", "kind": "remote", "url": f"grpc://127.0.0.1:{grpc_port}", "model": "one"}
    far |= {"retries": 0, "names": [*COLOURS], "scale": 1 / 255}
    spec = {"kind": "ClassificationEnsemble", "name": "spots", "classifiers": [near, far]}
    (tmp_path / "colour.yaml").write_text(yaml.safe_dump(spec | {"quorum": 1}))

    @contextlib.contextmanager
    def inner():
        command = [sys.executable, "-m", "quorate", "serve", str(tmp_path / "config.json"), "-q"]
        ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
        with subprocess.Popen([*command, *ports]) as process:
            try:
                until(lambda: is_ready(port))
                yield
            finally:
                process.kill()

    with contextlib.ExitStack() as outer:
        with inner():
            server = outer.enter_context(started(str(tmp_path / "colour.yaml")))
            whole = told(puppets.ask(server))
            assert (whole["degraded"], whole["voted"]) == (False, "near,far")
        less = told(puppets.ask(server))
        assert (less["degraded"], less["voted"], less["label"]) == (True, "near", whole["label"])
        assert less["failed"].startswith("far: ")
        with inner():
            until(lambda: not told(puppets.ask(server))["degraded"])
    assert "Traceback" not in server.log


def is_ready(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/health/ready").ok
    except requests.ConnectionError:
        return False


def test_one_that_hangs_for_long_is_not_asked_and_holds_up_nobody(puppets):
    with puppets.start("--member-timeout", "0.2") as server:
        puppets.tell("b", "hang")
        reasons = [told(puppets.ask(server))["failed"] for _ in range(12)]
        assert "no answer within 0.2 s" in reasons[0]
        assert "has not come back" in reasons[-1]
        began = time.monotonic()
        told(puppets.ask(server))
        quick = time.monotonic() - began
        puppets.tell("b", "")
        until(lambda: not told(puppets.ask(server))["degraded"])
        assert quick < 60


@pytest.fixture
def stuck(puppets):
    """A server all whose threads are at work until `b` no longer hangs, and pictures that wait."""
    with puppets.start("--queue", "3", "--member-timeout", "600") as server:
        puppets.tell("b", "hang")
        with ThreadPoolExecutor(40) as threads:
            asked = []
            # As many at once as it has threads, then three that wait, then those refused.
            while not any(one.done() for one in asked):
                asked.append(threads.submit(puppets.ask, server))
                time.sleep(0.05)
            puppets.asked = asked
            yield server
            puppets.tell("b", "")


def test_what_is_too_much_is_refused_and_the_rest_is_answered(puppets, stuck):
    answer = puppets.ask(stuck)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert "wait already" in answer.json()["error"]
    with grpc.insecure_channel(stuck.rpc.removeprefix("grpc://")) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            ask(request(puppets))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
    assert requests.get(f"{stuck.url}/v2/health/live").ok
    puppets.tell("b", "")
    statuses = [one.result().status_code for one in puppets.asked]
    assert set(statuses) == {200, 429}
    assert told(puppets.ask(stuck))["votes"] == [3, 3]


def request(puppets, **more) -> bytes:
    message = MESSAGES["ModelInferRequest"](
        model_name="spots",
        inputs=[{"name": "image", "datatype": "BYTES", "shape": [1]}],
        raw_input_contents=[packed([puppets.picture])],
        **more,
    )
    return message.SerializeToString()


def test_a_deadline_is_kept_in_both_ways(puppets):
    with puppets.start("--timeout", "600") as server:
        puppets.tell("b", "hang")
        body = puppets.body(parameters={"timeout": 200_000})
        late = puppets.ask(server, body=body)
        assert (late.status_code, late.json()["error"]) == (504, "No answer within 0.2 s.")
        with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
            ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            with pytest.raises(grpc.RpcError) as caught:
                ask(request(puppets, parameters={"timeout": {"int64_param": 200_000}}))
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert caught.value.details() == "No answer within 0.2 s."
            with pytest.raises(grpc.RpcError) as caught:
                ask(request(puppets), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        puppets.tell("b", "")
        assert told(puppets.ask(server))["votes"] == [3, 3]


def waiting(server):
    """The pictures that wait for a place."""
    told = requests.get(f"{server.url}/metrics", timeout=600).text
    return float(re.search(r'^quorate_waiting_pictures\{ensemble="spots"\} (.+)$', told, re.M)[1])


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_what_is_given_up_is_not_computed(puppets, way):
    with puppets.start("--member-timeout", "600") as server:
        puppets.tell("b", "hang")
        with contextlib.ExitStack() as given_up:
            if way == "http":
                for _ in range(40):
                    asker = http.client.HTTPConnection(urlsplit(server.url).netloc)
                    given_up.callback(asker.close)
                    asker.request("POST", "/v2/models/spots/infer", json.dumps(puppets.body()))
            else:
                channel = given_up.enter_context(
                    grpc.insecure_channel(server.rpc.removeprefix("grpc://"))
                )
                ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
                for _ in range(40):
                    given_up.callback(ask.future(request(puppets)).cancel)
            until(lambda: puppets.seen("a") >= 2 and waiting(server) + puppets.seen("a") >= 40)
        until(lambda: waiting(server) == 0)
        begun = puppets.seen("a")
        assert begun < 40
        puppets.tell("b", "")
        assert told(puppets.ask(server))["votes"] == [3, 3]
        assert puppets.seen("a") == begun + 1
