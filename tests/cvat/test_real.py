"""The same on a real CVAT, the one that CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD lead to."""

import io
import json
import os
import time
import zipfile
from collections import Counter

import pytest
import urllib3

from quorate.cvat import Client, annotate, undo
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from tests.spots import Spots, pool

pytestmark = pytest.mark.skipif(not os.environ.get("CVAT_URL"), reason="no CVAT: set CVAT_URL")
ATTRIBUTES = ("votes", "confidence", "run")


@pytest.fixture
def client(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Client.connect()


def asked(client, method, path, **sent):
    headers = dict(client.headers)
    if "body" in sent:
        headers["Content-Type"] = "application/json"
    url = f"{client.server}/api/{path}"
    answer = urllib3.request(method, url, headers=headers, timeout=120, **sent)
    assert answer.status < 300, answer.data[:500]
    return json.loads(answer.data or b"null")


@pytest.fixture
def task(client, tmp_path):
    """A task of six pictures in two folders and three jobs, which goes away afterwards."""
    told = {"mutable": False, "input_type": "text", "default_value": "1", "values": ["1"]}
    labels = [
        {"name": name, "attributes": [{"name": a, **told} for a in ATTRIBUTES]}
        for name in ("red", "green")
    ]
    body = json.dumps({"name": "quorate test", "labels": labels, "segment_size": 2})
    number = asked(client, "POST", "tasks", body=body)["id"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        root = pool(tmp_path / "pool", 6)
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(root).as_posix())
    file = ("pool.zip", packed.getvalue(), "application/zip")
    fields = {"image_quality": "70", "client_files[0]": file}
    request = asked(client, "POST", f"tasks/{number}/data", fields=fields)["rq_id"]
    end = time.monotonic() + 300
    while (status := asked(client, "GET", f"requests/{request}")["status"]) != "finished":
        assert status != "failed"
        assert time.monotonic() < end
        time.sleep(0.5)
    yield number
    asked(client, "DELETE", f"tasks/{number}")


def boxes(client, number):
    """What the server has: name, label and coordinates of each box."""
    task = next(tasks(client, Place("task", number)))
    names = {frame.number: frame.name for frame in task.frames}
    words = {label.id: label.name for label in task.labels}
    shapes = asked(client, "GET", f"tasks/{number}/annotations")["shapes"]
    return Counter((names[s["frame"]], words[s["label_id"]], *s["points"]) for s in shapes)


def test_boxes_arrive_once_and_go_again(client, task, tmp_path):
    ensemble = DetectionEnsemble(
        name="spots",
        detectors=(Spots(name="a", kind="spots"), Spots(name="b", kind="spots", shift=1.0)),
    )
    (done,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    told = read(tmp_path / "out" / "cvat")
    names = {image.id: image.name for image in told.images}
    shapes = told.annotations
    columns = (shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist())
    local = Counter(
        (names[image], told.labels.name_of(category), *box)
        for image, category, box in zip(*columns, strict=True)
    )
    assert boxes(client, task) == local
    assert done.published.created == local.total() == 12
    (again,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    assert (again.published.created, again.published.there) == (0, 12)
    assert boxes(client, task) == local
    assert undo(done.published.run, client=client).removed == 12
    assert boxes(client, task) == Counter()
