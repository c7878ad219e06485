"""A real cluster for the tests beside this file: any one that KUBECONFIG leads to.

What it must offer is asked of the cluster itself. What it lacks skips the tests that need it, and
the reason says what to do.

    KUBECONFIG            the cluster, and in it the namespace of the current context
    AWS_…, S3_BUCKET      an S3 store that pods reach at the same address
    QUORATE_TEST_IMAGE    the image of containers/cpu (default: localhost/quorate-cpu:dev)

    QUORATE_TEST_TORCH_IMAGE, QUORATE_TEST_TENSORFLOW_IMAGE, QUORATE_TEST_RFDETR_IMAGE
                          those of containers/cuda, …/tensorflow-trainer and …/rfdetr-trainer
                          (default: localhost/quorate-cuda:dev and so on)
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.chart import install
from tests.cluster.runs import PARTS, Bucket, Runs
from tests.training.pictures import squares

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)


class Kubectl:
    """kubectl against the cluster's namespace; what it prints, or AssertionError with why not."""

    def __init__(self, namespace):
        self.namespace = namespace

    def __call__(self, *arguments, given=None, check=True):
        done = subprocess.run(
            ["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout if check else done

    def get(self, kind, name):
        return json.loads(self("get", kind, name, "--output", "json"))

    def apply(self, *manifests):
        self("apply", "--filename=-", given="\n---\n".join(map(json.dumps, manifests)))

    def config_of(self, account, folder):
        """A kubeconfig of one of the namespace's accounts, in a file."""
        config = json.loads(self("config", "view", "--raw", "--minify", "--output=json"))
        config["users"][0]["user"] = {"token": self("create", "token", account).strip()}
        config["contexts"][0]["context"]["namespace"] = self.namespace
        path = folder / f"{account}.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def kubectl():
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs a Kubernetes cluster: KUBECONFIG is not set")
    namespace = subprocess.run(
        ["kubectl", "config", "view", "--minify", "--output=jsonpath={..namespace}"],
        capture_output=True,
        text=True,
    )
    found = Kubectl(namespace.stdout or "default")
    ready = found("get", "--raw=/readyz", "--request-timeout=10s", check=False)
    if ready.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {ready.stderr.strip()}")
    return found


@pytest.fixture(scope="session")
def bucket():
    if not (os.environ.get("AWS_ENDPOINT_URL") and os.environ.get("S3_BUCKET")):
        pytest.skip("needs an S3 store: AWS_ENDPOINT_URL and S3_BUCKET are not set")
    return os.environ["S3_BUCKET"]


@pytest.fixture(scope="session")
def image(kubectl):
    """The name of the image that runs the steps, when a node has it."""
    return on_a_node(kubectl, "QUORATE_TEST_IMAGE", "cpu")


@pytest.fixture(scope="session")
def torch_image(kubectl):
    """The name of the image that has torch, when a node has it."""
    return on_a_node(kubectl, "QUORATE_TEST_TORCH_IMAGE", "cuda")


@pytest.fixture(scope="session")
def tensorflow_image(kubectl):
    """The name of the image of the trainer in TensorFlow, when a node has it."""
    return on_a_node(kubectl, "QUORATE_TEST_TENSORFLOW_IMAGE", "tensorflow-trainer")


@pytest.fixture(scope="session")
def rfdetr_image(kubectl):
    """The name of the image of RF-DETR's own library, when a node has it."""
    return on_a_node(kubectl, "QUORATE_TEST_RFDETR_IMAGE", "rfdetr-trainer")


def on_a_node(kubectl, variable, role):
    """The image that a variable names, or that of containers/ROLE; skips where no node has it."""
    image = os.environ.get(variable, f"localhost/quorate-{role}:dev")
    # A node tells of a new image with a heartbeat, which a busy one is late with.
    until = time.monotonic() + (180 if variable in os.environ else 0)
    while image not in images_of_nodes(kubectl):
        if time.monotonic() > until:
            pytest.skip(f"no node has the image {image} (containers/{role}; {variable})")
        time.sleep(2)
    return image


def images_of_nodes(kubectl):
    """The names of all images that some node has."""
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    images = [one for node in nodes for one in node["status"].get("images") or ()]
    return {name for one in images for name in one["names"] or ()}


@pytest.fixture(scope="session")
def argo(kubectl):
    """Skips unless a workflow is acted upon: that the definitions are there proves nothing."""
    if kubectl("get", "crd", "workflows.argoproj.io", check=False).returncode:
        pytest.skip("the cluster has no Argo Workflows: its resource definitions are missing")
    name = f"probe-{uuid.uuid4().hex[:8]}"
    suspend = {"name": "wait", "suspend": {"duration": "1s"}}
    kubectl.apply(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name},
            "spec": {"entrypoint": "wait", "templates": [suspend]},
        }
    )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if kubectl.get("workflow", name).get("status", {}).get("phase"):
                return
            time.sleep(0.5)
    finally:
        kubectl("delete", "workflow", name, "--wait=false")
    pytest.skip("the cluster has Argo's resource definitions, but no controller acts on them")


@pytest.fixture(scope="session")
def installed(kubectl, bucket, image):
    """The Helm chart, installed with the store's address and keys; stays for the next run."""
    install(kubectl.namespace, image, bucket)


@pytest.fixture(scope="module")
def runs(request, kubectl, bucket, image, tmp_path_factory):
    """Runs of the demo, whose pictures and weights lie in S3 below a prefix of the module's own."""
    runs = Runs(
        kubectl,
        Bucket(bucket),
        image,
        prefix=f"quorate-tests/{request.path.stem}-{os.getpid()}",
        folder=tmp_path_factory.mktemp("specs"),
    )
    for name in ("images", "models"):
        runs.bucket.put_folder(PARTS / name, f"{runs.prefix}/{name}")
    yield runs
    runs.clear()


@pytest.fixture(scope="session")
def host(bucket):
    """The address of this machine that pods reach: the store's."""
    found = urlsplit(os.environ["AWS_ENDPOINT_URL"]).hostname
    with socket.socket() as free:
        try:
            free.bind((found, 0))
        except OSError:
            pytest.skip(f"pods reach {found}, which is not this machine: no place for servers")
    return found


@pytest.fixture(scope="module")
def dump(runs, tmp_path_factory):
    """Forty squares as CVAT writes a task in COCO 1.0, in the bucket; the location."""
    folder = squares(tmp_path_factory.mktemp("squares") / "data", 40)
    runs.bucket.put_folder(folder, f"{runs.prefix}/dump")
    return f"s3://{runs.bucket.name}/{runs.prefix}/dump/"


@pytest.fixture
def repository(host, tmp_path):
    """A git server on this machine; its URL, of a repository with the files that it is given."""
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    work = tmp_path / "vision"

    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, "-C", str(work), *arguments], check=True, capture_output=True)

    def commit(files):
        work.mkdir()
        git("init", "--initial-branch=main")
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text, encoding="utf-8")
        git("add", ".")
        git("commit", "--message=spec")
        git("tag", "v3")
        return f"git://{host}:{port}/vision"

    daemon = subprocess.Popen(
        ["git", "daemon", f"--listen={host}", f"--port={port}", "--export-all", "--reuseaddr",
         f"--base-path={tmp_path}", str(tmp_path)]
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as ready:
                if ready.connect_ex((host, port)) == 0:
                    break
            time.sleep(0.1)
        yield commit
    finally:
        daemon.terminate()
        daemon.wait()


@pytest.fixture
def pool_of(kubectl):
    """Says how many pods may use a pool at once, where the chart says it too."""
    said = []

    def patch(pool, value):
        given = json.dumps({"data": {pool: value}})
        kubectl("patch", "configmap", "quorate-pools", "--type=merge", f"--patch={given}")

    def make(pool, pods):
        if kubectl("get", "configmap", "quorate-pools", check=False).returncode:
            kubectl("create", "configmap", "quorate-pools")
        patch(pool, str(pods))
        said.append(pool)
        return pool

    yield make
    for pool in said:
        patch(pool, None)
