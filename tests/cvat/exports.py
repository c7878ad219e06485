"""How the small server exports a task, as a real CVAT 2.73 was seen to.

`POST tasks/ID/dataset/export` answers with a request's id, or 409 where that request is at work;
`GET requests/ID` says how far it is, and at last where the archive is: under the server's own name
for itself, which need not be the one it was asked by. Deleted frames are left out; the ids of a
video and of a task with a frame step are the numbers in the source.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from quorate.storage import write_bytes

FORMATS = ("CVAT for images 1.1", "COCO 1.0")
OWN_NAME = "http://cvat.internal:8080"


def answer(cvat: Any, method: str, path: str, query: dict[str, str]) -> Any:
    """What the server says; None where the path is no business of exports."""
    if path == "server/annotation/formats":
        both = [{"name": name, "ext": "ZIP", "enabled": True} for name in FORMATS]
        return {"importers": [], "exporters": [*both, {"name": "Off 1.0", "enabled": False}]}
    if match := re.fullmatch(r"cloudstorages/(\d+)", path):
        return {"provider_type": "AWS_S3_BUCKET", "resource": cvat.clouds[int(match[1])]}
    if match := re.fullmatch(r"tasks/(\d+)/dataset/export", path):
        return _begin(cvat, int(match[1]), query)
    if path.startswith("requests/"):
        return _state(cvat)
    if match := re.fullmatch(r"tasks/(\d+)/dataset/download", path):
        assert query["rq_id"] == cvat.export["id"]
        return cvat.export["archive"]
    return None


def _begin(cvat: Any, task: int, query: dict[str, str]) -> Any:
    name = query["format"]
    number = f"action=export&target=task&target_id={task}&format={name}"
    archive = packed(cvat, task, name, pictures=query.get("save_images") == "true")
    cvat.export = {"id": number, "task": task, "archive": archive, "asked": 0}
    if query["location"] == "cloud_storage":
        bucket = cvat.clouds[int(query["cloud_storage_id"])]
        if not cvat.clouds_lead_elsewhere:
            write_bytes(f"s3://{bucket}/{query['filename']}", archive)
        cvat.export["archive"] = None
    return {"rq_id": number}


def _state(cvat: Any) -> dict[str, Any]:
    cvat.export["asked"] += 1
    if cvat.export_fails:
        return {"status": "failed", "message": f"Traceback …\n{cvat.export_fails}"}
    if cvat.export["asked"] < 3:
        return {"status": ("queued", "started")[cvat.export["asked"] - 1], "progress": 0.5}
    place = f"{OWN_NAME}/api/tasks/{cvat.export['task']}/dataset/download"
    there = cvat.export["archive"] is not None
    url = f"{place}?rq_id={quote(cvat.export['id'])}" if there else None
    return {"status": "finished", "message": "", "progress": 0.0, "result_url": url}


def packed(cvat: Any, task: int, name: str, *, pictures: bool) -> bytes:
    """The archive: annotations and pictures."""
    about, meta = cvat.tasks[task], cvat.tasks[task]["_meta"]
    video = about["mode"] == "interpolation"
    frames = []
    for number, file in enumerate(cvat.files[task]):
        if number not in meta["deleted"]:
            absolute = meta["start"] + number * meta["step"]
            called = f"frame_{absolute:06d}" if video else meta["names"][number]
            frames.append((number, absolute, called, called + ".PNG" if video else called, file))
    labels = {n: label["name"] for n, label in cvat.labels.items() if label["_task"] == task}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        if name == FORMATS[0]:
            archive.writestr("annotations.xml", _xml(cvat, task, frames, labels))
        else:
            archive.writestr("annotations/instances_default.json", _coco(frames, labels))
        folder = "images/" if name == FORMATS[0] else "images/default/"
        for *_, placed, file in frames if pictures else ():
            archive.write(file, folder + placed)
    return out.getvalue()


def _xml(cvat: Any, task: int, frames: list[Any], labels: dict[int, str]) -> str:
    declared = "".join(
        f"<label><name>{name}</name><type>{cvat.labels[n]['type']}</type><attributes/></label>"
        for n, name in labels.items()
    )
    text = f"<annotations><version>1.1</version><meta><task><id>{task}</id><labels>{declared}"
    text += "</labels></task></meta>"
    for number, absolute, called, *_ in frames:
        text += f'<image id="{absolute}" name={quoteattr(called)} width="0" height="0">'
        for shape in cvat.drawn(task):
            if shape["frame"] == number and shape["type"] == "rectangle":
                sides = zip(("xtl", "ytl", "xbr", "ybr"), shape["points"], strict=True)
                told = " ".join(f'{side}="{value:.2f}"' for side, value in sides)
                text += f'<box label="{labels[shape["label_id"]]}" source="manual" {told}></box>'
        text += "</image>"
    return text + "</annotations>"


def _coco(frames: list[Any], labels: dict[int, str]) -> str:
    images = [
        {"id": i, "file_name": placed, "width": 0, "height": 0}
        for i, (*_, placed, _file) in enumerate(frames, start=1)
    ]
    named = [{"id": i, "name": name} for i, name in enumerate(labels.values(), start=1)]
    return json.dumps({"images": images, "categories": named, "annotations": []})
