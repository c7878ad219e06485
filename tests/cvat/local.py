"""The demo's ensemble, run here: what every way into CVAT must give."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from tests.cvat.servers import ROOT

PARTS = ROOT / "docs/examples/parts"
WORDS = ("bolt", "nut", "washer", "screw")


def local_run(folder: Path, **changes) -> tuple[list[str], dict[str, list]]:
    """The demo's pictures, and what a run publishes for CVAT of each: label, box, attributes."""
    spec = DetectionEnsemble.from_yaml(PARTS / "spec.yaml")
    asked = {"formats": ("cvat",), "report": False, "review": None, **changes}
    publish = spec.publish.model_copy(update=asked)
    spec.model_copy(update={"publish": publish}).run(out=folder / "out")
    found = read(folder / "out/cvat")
    boxes = found.annotations
    shapes = {image.id: [] for image in found.images}
    columns = {{"score": "confidence"}.get(n, n): c for n, c in boxes.attributes.items()}
    for row, image in enumerate(boxes.image_id.tolist()):
        told = {name: str(column[row]) for name, column in columns.items()}
        label = found.labels.name_of(int(boxes.category_id[row]))
        shapes[image].append((label, boxes.xyxy[row].tolist(), told))
    names = [image.file_name for image in found.images]
    return names, {image.file_name: shapes[image.id] for image in found.images}


def shapes(cvat, task):
    """The shapes of a task but for what tells runs apart."""
    specs = {a["id"]: a["name"] for label in cvat.labels.values() for a in label["attributes"]}
    words = {number: label["name"] for number, label in cvat.labels.items()}
    return Counter(
        (
            *(shape["frame"], words[shape["label_id"]], shape["type"], *shape["points"]),
            *(shape["score"], shape["source"]),
            *sorted((specs[v["spec_id"]], v["value"]) for v in shape["attributes"]
                    if specs[v["spec_id"]] != "run"),
        )
        for shape in cvat.drawn(task)
    )  # fmt: skip
