"""The image in a pod: any user, a root that cannot be written, nothing compiled."""

import json
import time
import uuid

import pytest

TRY = """
import json, os, tempfile
from quorate import detectors, evaluation, fusion, masks
for room in (fusion, detectors, evaluation, masks):
    room.compile_kernels()
from pathlib import Path
written = [str(path) for path in Path("/scratch").rglob("*")]
try:
    Path("/opt/quorate/x").write_text("x")
    refused = ""
except OSError as error:
    refused = error.strerror
import quorate
kept = list(Path(quorate.__file__).parent.rglob("*.nbi"))
print(json.dumps({
    "user": os.getuid(),
    "kept": len(kept),
    "written": written,
    "refused": refused,
    "folder": tempfile.gettempdir(),
}))
"""


@pytest.fixture
def run(kubectl, image):
    """Run a command in a pod as workflows do; its log."""
    made = []

    def call(command, *, user, mounts=True):
        name = f"image-{uuid.uuid4().hex[:8]}"
        security = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
        security |= {"capabilities": {"drop": ["ALL"]}}
        container = {"name": "main", "image": image, "command": command}
        container |= {"securityContext": security, "imagePullPolicy": "IfNotPresent"}
        if mounts:
            container["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                **({"runAsUser": user} if user else {}),
            },
            "containers": [container],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        }
        metadata = {"name": name}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        made.append(name)
        until = time.monotonic() + 600
        phase = "Pending"
        while phase not in ("Succeeded", "Failed") and time.monotonic() < until:
            time.sleep(0.5)
            phase = kubectl.get("pod", name)["status"]["phase"]
        log = kubectl("logs", name)
        assert phase == "Succeeded", log
        return log

    yield call
    if made:
        kubectl("delete", "pod", "--wait=false", *made)


@pytest.mark.parametrize("user", [None, 12345])
def test_a_pod_writes_nothing_but_scratch_and_compiles_nothing(run, user):
    said = json.loads(run(["python", "-c", TRY], user=user))
    assert said["user"] == (user or 65532)
    assert said["refused"] == "Read-only file system"
    assert said["folder"] == "/scratch"
    assert said["kept"] > 0
    assert said["written"] == []  # a kernel that was compiled would be kept here


def test_the_image_runs_without_any_place_to_write(run):
    assert "usage: quorate" in run(["quorate", "--help"], user=12345, mounts=False)
