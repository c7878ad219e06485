"""Somebody with the chart's Role `quorate-user` and a token of their own, each way to a cluster."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
import yaml

from quorate.argo.doctor.examine import USERS
from tests.cluster.runs import PARTS, Bucket, Runs, quorate
from tests.cluster.strict import Strict
from tests.cluster.test_chart import does, may

pytestmark = pytest.mark.usefixtures("argo")


@pytest.fixture(scope="module")
def strict(kubectl, image, bucket):
    found = Strict(image, bucket)
    found.make()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def argo_server(kubectl, tmp_path_factory):
    """An argo-server that lets everybody do what their own token may; HOST:PORT."""
    if shutil.which("argo") is None:
        pytest.skip("the executable `argo` is not there")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    environment = {key: one for key, one in os.environ.items() if not key.startswith("ARGO_")}
    with log.open("wb") as written:
        server = subprocess.Popen(
            ["argo", "server", "--auth-mode=client", "--secure=false", f"--port={port}",
             f"--namespace={kubectl.namespace}", f"--kubeconfig={os.environ['KUBECONFIG']}"],
            stdout=written, stderr=written, env=environment,
        )  # fmt: skip
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.5)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def person(strict, tmp_path_factory):
    """The kubeconfig of somebody whom the chart's values name."""
    return strict.as_person(tmp_path_factory.mktemp("person"))


@pytest.fixture(params=["argo-server", "kubeconfig", "pod"])
def way(request, strict, person, monkeypatch):
    """The command line, one of the three ways to the cluster, with that person's own token."""
    for name in [one for one in os.environ if one.startswith("ARGO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ARGO_NAMESPACE", strict.namespace)
    if request.param == "kubeconfig":
        monkeypatch.setenv("KUBECONFIG", str(person))
        return quorate
    if request.param == "pod":
        return Inside(strict)
    monkeypatch.setenv("ARGO_SERVER", request.getfixturevalue("argo_server"))
    monkeypatch.setenv("ARGO_SECURE", "false")
    user = yaml.safe_load(person.read_text(encoding="utf-8"))["users"][0]["user"]
    monkeypatch.setenv("ARGO_TOKEN", user["token"])
    monkeypatch.setenv("KUBECONFIG", str(person.with_name("there-is-none")))
    return quorate


class Inside:
    """The command line in a pod whose account is the person's: no kubeconfig, no argo-server."""

    def __init__(self, strict):
        self.strict = strict
        keys = [key for key in os.environ if key.startswith("AWS_") and "BUNDLE" not in key]
        least = {"cpu": "100m", "memory": "256Mi"}
        container = {
            "name": "main",
            "image": strict.image,
            "command": ["sleep", "3600"],
            "env": [{"name": key, "value": os.environ[key]} for key in keys],
            "resources": {"requests": least, "limits": {"cpu": "2", "memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        own = {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec = {"serviceAccountName": "person", "securityContext": own, "containers": [container]}
        metadata = {"name": "inside"}
        strict.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        strict("wait", "--for=condition=Ready", "pod/inside", "--timeout=120s")

    def __call__(self, *arguments, check=True):
        command = ["exec", "inside", "--", "quorate", *map(str, arguments)]
        done = self.strict(*command, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done


def test_what_the_role_gives_and_nothing_more(strict, person):
    assert may(strict, "person") == {(resource, verb) for verb, _, resource, _ in USERS}
    assert does(strict, person) == may(strict, "person")


def test_runs_are_started_seen_stopped_and_tried_again(strict, way, tmp_path, monkeypatch, request):
    runs = Runs(strict, Bucket(strict.bucket), strict.image,
                prefix=f"quorate-tests/person-{os.getpid()}", folder=tmp_path)  # fmt: skip
    try:
        runs.bucket.put_folder(PARTS / "models", f"{runs.prefix}/models")
        name = f"by-{request.node.callspec.id}"
        path = runs.spec(name, quorum=1, fusion="wbf")
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec["detectors"] = spec["detectors"][:1]
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")

        begin = ["submit", path]
        if isinstance(way, Inside):  # its image renders no templates
            begin = ["submit", "--from", runs.template(path)]

        # The pictures are late: the run fails, and is tried again when they are there.
        failed = way(*begin, "--watch", check=False)
        assert failed.returncode == 1, failed.stderr
        assert f"/{runs.prefix}/images" in failed.stderr
        (run,) = re.findall(r"^run: (\S+)", failed.stderr, re.M)
        runs.bucket.put_folder(PARTS / "images", f"{runs.prefix}/images")
        way("retry", run)
        watched = way("watch", run)
        assert "published:" in watched.stderr + watched.stdout

        assert run in way("list").stdout
        assert "✔ publish" in way("status", run).stdout
        assert "60 pictures" in way("logs", run, "publish").stdout
        assert "✔ cluster: " in way("doctor").stdout
        stopped = way(*begin).stdout.strip()
        assert way("stop", stopped, "--now").returncode == 0
        assert way("watch", stopped, check=False).returncode == 1
    finally:
        monkeypatch.undo()
        runs.clear()


def test_a_template_that_somebody_changed_is_not_overwritten(strict, person, tmp_path, monkeypatch):
    runs = Runs(strict, Bucket(strict.bucket), strict.image, "quorate-tests/changed", tmp_path)
    path = runs.spec("changed")
    somebody = os.environ["KUBECONFIG"]
    monkeypatch.setenv("KUBECONFIG", str(person))
    for name in ("ARGO_SERVER", "ARGO_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    first = quorate("submit", path).stdout.strip()
    assert quorate("stop", first, "--now").returncode == 0
    doctor = quorate("doctor", path, check=False).stdout
    assert "✔ you: you may submit" in doctor
    assert "which needs `create`" in doctor  # it may create no pods
    # Somebody changes the template; the next submit says so, and changes nothing.
    change = [{"op": "add", "path": "/spec/templates/1/metadata", "value": {"labels": {"a": "b"}}}]
    monkeypatch.setenv("KUBECONFIG", somebody)
    strict("patch", "workflowtemplate", "changed", "--type=json", f"--patch={json.dumps(change)}")
    monkeypatch.setenv("KUBECONFIG", str(person))
    refused = quorate("submit", path, check=False)
    assert refused.returncode == 2
    assert "Somebody has changed the template changed" in refused.stderr
    assert "differs in templates.prepare.metadata" in refused.stderr
    assert "--from changed" in refused.stderr
    assert "(updated)" in quorate("submit", path, "--overwrite").stderr
    stopped = quorate("submit", path).stdout.strip()
    assert quorate("stop", stopped, "--now").returncode == 0


def test_somebody_else_is_told_which_right_is_missing(strict, argo_server, tmp_path, monkeypatch):
    strict("create", "serviceaccount", "somebody")
    token = strict("create", "token", "somebody").strip()
    said = {"SERVER": argo_server, "SECURE": "false", "NAMESPACE": strict.namespace, "TOKEN": token}
    for key, value in said.items():
        monkeypatch.setenv(f"ARGO_{key}", value)
    refused = quorate("list", check=False)
    assert refused.returncode == 2
    assert "not allowed to list workflows" in refused.stderr
    monkeypatch.setenv("ARGO_TOKEN", "")
    unknown = quorate("list", check=False)
    assert unknown.returncode == 2
    assert "does not know who you are" in unknown.stderr
