"""Models loaded, unloaded, and loaded anew under requests, on a real server."""

import os
import subprocess
import sys
import threading
import time

import grpc
import pytest
import requests
import yaml

from quorate.ensemble import DetectionEnsemble
from quorate.errors import SpecError
from quorate.serving.repository import Repository
from quorate.serving.served import EnsembleSource
from quorate.serving.values import Limits
from tests.cvat.servers import ROOT
from tests.detectors.servers.real import free_ports
from tests.serving.puppets import DETECTORS, told
from tests.serving.test_rpc import call
from tests.spots import Spots
from tests.waiting import until

MODELS = ["spots", "spots.a", "spots.b", "spots.c"]


def states(server) -> dict[str, str]:
    answer = requests.post(f"{server.url}/v2/repository/index").json()
    return {one["name"]: one["state"] for one in answer}


def control(server, what, name="spots"):
    return requests.post(f"{server.url}/v2/repository/models/{name}/{what}")


def test_load_and_unload_are_for_those_who_are_let(puppets):
    with puppets.start() as server:
        for what in ("load", "unload"):
            answer = control(server, what)
            assert (answer.status_code, "--model-control" in answer.json()["error"]) == (403, True)
        assert states(server) == dict.fromkeys(MODELS, "READY")


def test_unload_and_load_over_http(puppets):
    with puppets.start("--model-control") as server:
        assert control(server, "unload").ok
        assert states(server) == dict.fromkeys(MODELS, "UNAVAILABLE")
        assert requests.get(f"{server.url}/v2/models").json() == {"models": []}
        for path in ("", "/ready"):
            assert requests.get(f"{server.url}/v2/models/spots{path}").status_code == 503
        answer = puppets.ask(server)
        assert answer.status_code == 503
        assert answer.json()["error"] == "'spots' is not ready: it was unloaded."
        assert control(server, "unload").ok
        for name, status in (("nobody", 404), ("spots.a", 400)):
            assert control(server, "load", name).status_code == status
        puppets.spec.write_text("detectors: []")
        answer = control(server, "load")
        assert answer.status_code == 503
        assert str(puppets.folder) not in answer.json()["error"]
        assert server.says("cannot be loaded")
        puppets.write(quorum=3)
        assert control(server, "load").ok
        assert states(server) == dict.fromkeys(MODELS, "READY")
        assert told(puppets.ask(server))["votes"] == [3, 3]


def test_unload_and_load_over_grpc_in_the_words_of_kserve_and_of_triton(puppets):
    with puppets.start("--model-control") as server:
        with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
            for words in ({"repository_name": "spots"}, {"model_name": "spots"}):
                assert call(channel, "RepositoryModelUnload", **words).isUnloaded
                assert not call(channel, "ModelReady", name="spots").ready
                assert not call(channel, "RepositoryIndex", ready=True).models
                index = call(channel, "RepositoryIndex").models
                assert {one.state for one in index} == {"UNAVAILABLE"}
                assert call(channel, "RepositoryModelLoad", **words).isLoaded
                assert call(channel, "ModelReady", name="spots").ready
        assert told(puppets.ask(server))["votes"] == [3, 3]


def test_a_changed_spec_takes_the_place_of_the_old_one_and_no_request_is_lost(puppets):
    with puppets.start() as server:
        answers, over = [], threading.Event()

        def ask():
            while not over.is_set():
                answers.append(puppets.ask(server))

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for one in asking:
            one.start()
        until(lambda: len(answers) > 3)
        puppets.write(DETECTORS[:2])
        assert server.says("spots: loaded anew, for it has changed")
        count = len(answers)
        until(lambda: len(answers) > count + 6)
        over.set()
        for one in asking:
            one.join()
        votes = [told(answer)["votes"] for answer in answers]
        assert votes[0] == [3, 3]
        assert votes[-1] == [2, 2]
        assert all(one in ([3, 3], [2, 2]) for one in votes)
        assert requests.get(f"{server.url}/v2/models/spots.c").status_code == 404


def test_a_request_at_work_is_answered_by_what_it_came_to(puppets):
    with puppets.start("--member-timeout", "600") as server:
        puppets.tell("c", "hang")
        answer = []
        asking = threading.Thread(target=lambda: answer.append(puppets.ask(server)))
        asking.start()
        until(lambda: puppets.seen("c") > 1)
        puppets.write(DETECTORS[:2])
        assert server.says("loaded anew")
        assert told(puppets.ask(server))["votes"] == [2, 2]
        puppets.tell("c", "")
        asking.join()
        assert told(answer[0])["votes"] == [3, 3]


@pytest.mark.parametrize("what", ["no spec", "another name", "no detector"])
def test_a_changed_spec_that_cannot_be_loaded_changes_nothing(puppets, what):
    with puppets.start() as server:
        if what == "another name":
            puppets.write(name="other")
        elif what == "no spec":
            puppets.spec.write_text("name: [")
        else:
            text = puppets.spec.read_text()
            puppets.spec.write_text(text.replace("kind: counted", "kind: nothing", 1))
        assert server.says("spots: what has changed cannot be loaded")
        assert told(puppets.ask(server))["votes"] == [3, 3]
        time.sleep(2.5)
        assert server.log.count("cannot be loaded") == 1
        puppets.write(DETECTORS[1:])
        assert server.says("loaded anew")
        assert told(puppets.ask(server))["voted"] == "b,c"


def test_a_server_is_live_before_it_is_ready(puppets):
    puppets.tell("a", "hang")
    puppets.write()
    [port] = free_ports(1)
    command = [sys.executable, "-m", "quorate", "serve", str(puppets.spec), "--port", str(port),
               "--grpc-port", "0", "--timeout", "600"]  # fmt: skip
    path = {"PYTHONPATH": f"{puppets.plugins}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(command, env=os.environ | path)
    try:
        until(lambda: up(f"http://127.0.0.1:{port}/v2/health/live"))
        answer = requests.get(f"http://127.0.0.1:{port}/v2/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        answer = requests.get(f"http://127.0.0.1:{port}/v2/models/spots")
        assert answer.status_code == 503
        assert answer.json()["error"].startswith("'spots' is not ready: it is ")
        puppets.tell("a", "")
        until(lambda: up(f"http://127.0.0.1:{port}/v2/health/ready"))
        assert requests.get(f"http://127.0.0.1:{port}/v2/models/spots").ok
    finally:
        process.terminate()
        assert process.wait(60) == 143


def up(url: str) -> bool:
    try:
        return requests.get(url).ok
    except requests.ConnectionError:
        return False


def test_an_ensemble_that_cannot_work_ends_the_server_with_its_reason(puppets):
    detector = {"name": "a", "kind": "onnx", "weights": "no.onnx"}
    puppets.spec.write_text(yaml.safe_dump({"name": "spots", "detectors": [detector]}))
    command = [sys.executable, "-m", "quorate", "serve", str(puppets.spec), "--port", "0",
               "--grpc-port", "0"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "no.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_models_of_one_name_are_refused():
    spots = DetectionEnsemble(name="spots", detectors=(Spots(name="a", kind="spots"),))
    source = EnsembleSource.of(spots)
    with pytest.raises(SpecError, match="Two models have the name 'spots'"):
        Repository([source, source], Limits())
