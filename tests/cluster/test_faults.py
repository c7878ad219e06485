"""What goes wrong in a pod is said in one sentence, and tried again only where that may help."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cluster.runs import nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")

EXPIRED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"""


@contextmanager
def store_that_knows_no_token():
    """An S3 store for whom every session has expired, at the address of the real one; its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(400)
            self.send_header("Content-Length", str(len(EXPIRED)))
            self.end_headers()
            self.wfile.write(EXPIRED)

        def log_message(self, *_):
            pass

    host = urlsplit(os.environ["AWS_ENDPOINT_URL"]).hostname
    try:
        server = ThreadingHTTPServer((host, 0), Answer)
    except OSError:
        pytest.skip(f"pods reach {host}, which is not this machine: no place for another store")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


FAULTS = {
    "down": {},
    "refused": {},
    "expired": {},
    "large": {"pool": "faults-small"},
    "late": {"timeout": "3s"},
    "nowhere": {"pool": "faults-none"},
}


@pytest.fixture(scope="module")
def faulty(runs):
    """A run in which one detector is well and each other one meets a fault of its own."""
    path = runs.spec(
        "faults",
        quorum=1,
        fusion="consensus",
        workflow={"retries": 1},
        pools={
            "faults-small": {"memory": "64Mi", "cpu": "100m"},
            "faults-none": {"node_selector": {"quorate.test/no": "such"}, "pending_timeout": "5s"},
        },
    )
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    well, *_ = spec["detectors"]
    faulty = [deepcopy(well) | {"name": name} | more for name, more in FAULTS.items()]
    spec["detectors"] = [well, *faulty]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    host = urlsplit(os.environ["AWS_ENDPOINT_URL"]).hostname
    with store_that_knows_no_token() as expired:
        environment = {
            "down": {"AWS_ENDPOINT_URL": f"http://{host}:1"},
            "refused": {"AWS_SECRET_ACCESS_KEY": "not-the-key"},
            "expired": {"AWS_ENDPOINT_URL": expired, "AWS_SESSION_TOKEN": "of-yesterday"},
        }

        def change(templates):
            for name, variables in environment.items():
                container = templates[f"detect-{name}"]["container"]
                container["env"] = [{"name": k, "value": v} for k, v in variables.items()]

        yield runs.wait(runs.create(runs.template(path, change)))


def pods_of(workflow, detector):
    return [n for n in nodes(workflow) if n["templateName"].endswith(f"-{detector}")]


def test_the_quorum_outlives_them_all(faulty):
    assert faulty["status"]["phase"] == "Succeeded", faulty["status"]


@pytest.mark.parametrize(
    ("detector", "said", "remedy", "tries"),
    [
        ("down", "cannot be reached", "is the store up, and AWS_ENDPOINT_URL its address?", 2),
        ("refused", "S3 refused access (SignatureDoesNotMatch)", "check AWS_ACCESS_KEY_ID", 1),
        ("expired", "the credentials for S3 have expired (ExpiredToken)", "get new ones", 1),
    ],
)
def test_a_store_that_is_down_is_tried_again_and_one_that_refuses_is_not(
    runs, faulty, detector, said, remedy, tries
):
    tried = pods_of(faulty, detector)
    assert len(tried) == tries
    for pod in tried:
        assert said in pod["message"]
        assert remedy in pod["message"]
        assert len(pod["message"].splitlines()) == 1
    assert said in failures(runs, faulty)[detector]


@pytest.mark.parametrize(
    ("detector", "said", "tries"),
    [
        ("large", "it ran out of memory (OOMKilled)", 2),
        ("late", "it took longer than its timeout (3s)", 1),
        ("nowhere", "given up while it waited for a node: cannot be scheduled: 0/", 2),
    ],
)
def test_the_report_says_why_of_a_detector_that_could_not_say_it_itself(
    runs, faulty, detector, said, tries
):
    assert len(pods_of(faulty, detector)) == tries
    assert said in failures(runs, faulty)[detector]
    published = runs.results(faulty["metadata"]["name"])
    assert said in published["report.html"].decode()


def failures(runs, workflow):
    summary = json.loads(runs.results(workflow["metadata"]["name"])["summary.json"])
    return {one["name"]: one["failed"] for one in summary["detectors"]}


def test_an_image_that_cannot_be_pulled_is_told_within_seconds_with_what_to_do(runs):
    path = runs.spec("faults-image")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"][0]["image"] = "localhost/nobody-has-this:1"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = runs.create(runs.template(path))
    watching = subprocess.Popen(
        [sys.executable, "-m", "quorate", "watch", name],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        began = None
        for line in watching.stderr:
            if "detect-yolo  Pending" in line:
                began = began or time.monotonic()
            if "→" in line:
                break
        assert time.monotonic() - began < 30
    finally:
        watching.terminate()
        watching.communicate()
    status = json.loads(quorate("status", name, "--json").stdout)
    (task,) = [one for one in status["tasks"] if one["task"] == "shard 00000/detect-yolo"]
    assert "the image localhost/nobody-has-this:1 cannot be pulled" in task["message"]
    assert "is its name right" in task["remedy"]
    quorate("stop", name, "--now")
    runs.wait(name)


@pytest.fixture(scope="module")
def repositories(kubectl, bucket):
    """Artifact repositories that Argo's own containers get nowhere with."""
    name = "faults-repositories"
    keys = {"id": os.environ["AWS_ACCESS_KEY_ID"], "wrong": "not-the-key"}
    host = urlsplit(os.environ["AWS_ENDPOINT_URL"])

    def entry(endpoint):
        secrets = {"accessKeySecret": "id", "secretKeySecret": "wrong"}
        store = {"endpoint": endpoint, "insecure": host.scheme == "http", "bucket": bucket}
        store["region"] = os.environ.get("AWS_REGION", "us-east-1")
        named = {field: {"name": name, "key": key} for field, key in secrets.items()}
        return yaml.safe_dump({"s3": store | named})

    entries = {"refused": entry(host.netloc), "down": entry(f"{host.hostname}:1")}
    metadata = {"name": name}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": entries},
    )
    yield name
    kubectl("delete", "secret,configmap", name)


@pytest.mark.parametrize(
    ("which", "said", "tries"), [("refused", "signature", 1), ("down", "connection refused", 2)]
)
def test_argos_own_containers_say_what_is_wrong_with_the_artifact_repository(
    runs, repositories, which, said, tries
):
    settings = {"artifact_repository": f"{repositories}/{which}", "retries": 1}
    path = runs.spec(f"faults-{which}", workflow=settings)
    ended = runs.wait(runs.create(runs.template(path)))
    assert ended["status"]["phase"] == "Failed"
    assert len([one for one in nodes(ended) if one["templateName"] == "prepare"]) == tries
    done = quorate("watch", ended["metadata"]["name"], check=False)
    assert done.returncode == 1
    assert "prepare: its files could not be kept: " in done.stderr
    assert said in done.stderr
    assert "does the artifact repository name the right store" in done.stderr
