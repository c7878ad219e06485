"""A real CVAT's "Automatic annotation" with the demo's ensemble: the boxes are those of a run here.

CVAT_FUNCTIONS_PORT is the port of this machine at which the server looks for its functions.
"""

import os
import time

import pytest

from tests.cvat.local import PARTS, WORDS, local_run
from tests.cvat.real import WAIT, needs_cvat, zipped
from tests.cvat.servers import serving

pytestmark = [
    needs_cvat,
    pytest.mark.skipif(
        not os.environ.get("CVAT_FUNCTIONS_PORT"),
        reason="CVAT's functions are elsewhere: set CVAT_FUNCTIONS_PORT",
    ),
]


def annotated(real, task):
    """Wait for a run of the demo's model; what the server then has, by picture."""
    body = {"function": "parts", "task": task, "cleanup": True}
    number = real.send("POST", "lambda/requests", body=body)["id"]
    end = time.monotonic() + WAIT
    while (told := real.get(f"lambda/requests/{number}"))["status"] in ("queued", "started"):
        assert time.monotonic() < end
        time.sleep(0.5)
    return told["status"]


def test_the_demos_boxes_with_votes_and_confidence(real, tmp_path):
    names, wanted = local_run(tmp_path)
    task = real.task(WORDS, files=[zipped(PARTS / "images")])
    port = os.environ["CVAT_FUNCTIONS_PORT"]
    with serving(PARTS / "spec.yaml", options=("--port", port)):
        assert annotated(real, task) == "finished"
    frames = [frame["name"] for frame in real.get(f"tasks/{task}/data/meta")["frames"]]
    told = real.get(f"labels?task_id={task}&page_size=100")["results"]
    words = {label["id"]: label["name"] for label in told}
    specs = {spec["id"]: spec["name"] for label in told for spec in label["attributes"]}
    found = {name: [] for name in names}
    for shape in real.shapes(task):
        values = {specs[value["spec_id"]]: value["value"] for value in shape["attributes"]}
        values.pop("run")  # an attribute of the label that the function does not have
        points = [round(value, 2) for value in shape["points"]]
        found[frames[shape["frame"]]].append((words[shape["label_id"]], points, values))
    total = 0
    for name in names:
        rounded = [(word, [round(v, 2) for v in box], told) for word, box, told in wanted[name]]
        assert sorted(found[name], key=repr) == sorted(rounded, key=repr)
        total += len(rounded)
    assert total > 400
