"""What CVAT does with functions, as far as a function can tell or a labeller suffers.

Read in `cvat/apps/lambda_manager/views.py` of CVAT 2.73.0, and compared with that of 2.15.0, which
differs only where it is said:

- `GET /api/functions`, `GET /api/functions/NAME` and `POST /api/function_invocations` with these
  headers and bodies; `threshold` is sent only where it is neither missing nor zero; any status of
  4xx or 5xx is an error whose body is dropped.
- An unknown type of function is left out of the list (2.15 lists it); labels or attributes that
  are not unique likewise (2.15: an error).
- A run asks for the function first; only then "clean" deletes what is there, and frames follow
  one by one. Deleted frames are left out.
- Labels that are not mapped, and attributes that are not mapped or whose value does not fit, are
  dropped without a word. The default mapping is by name.
- A mask comes as the pixels of its box and becomes run lengths; its `points` are a polygon for
  those who ask for polygons.
- A region of interest is cut out before the call, and shapes are moved back after it (2.15 has
  none).
- Results are stored after each frame whose number is divisible by 100, and at the end; an error
  loses those that are not stored. NaN is stored (JSON of Python's own).
- The wrong number of points fails the run.

Left out: jobs, permissions, queues, skeletons, other kinds of function.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import requests
from PIL import Image

KINDS = ("detector", "interactor", "reid", "tracker")


@dataclass
class Label:
    """A label of a task: attributes are name -> (input type, values)."""

    name: str
    type: str = "any"
    attributes: dict[str, tuple[str, list[str]]] = field(default_factory=dict)


@dataclass
class Task:
    """A task: its frames' files, its labels, and the shapes that are stored."""

    frames: list[bytes]
    labels: list[Label]
    deleted: set[int] = field(default_factory=set)
    shapes: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Model:
    """A function as the interface sees it."""

    id: str
    name: str
    description: str
    labels: list[dict[str, Any]]
    port: int | None


class Lambda:
    """CVAT's server and worker, asking a dashboard."""

    def __init__(self, url: str, *, timeout: float = 120) -> None:
        self.url, self.timeout = url, timeout
        self.session = requests.Session()

    def _http(self, method: str, path: str, *, headers=None, data=None) -> Any:
        own = {
            "x-nuclio-project-name": "cvat",
            "x-nuclio-function-namespace": "nuclio",
            "x-nuclio-invoke-via": "domain-name",
            "X-Nuclio-Invoke-Timeout": f"{self.timeout}s",
        }
        with requests.Session() as session:
            reply = session.request(
                method, self.url + path, headers=own | (headers or {}), timeout=self.timeout,
                json=data,
            )  # fmt: skip
        reply.raise_for_status()
        return reply.json()

    def list(self) -> list[Model]:
        models = []
        for item in self._http("get", "/api/functions").values():
            try:
                models.append(parsed(item))
            except ValueError:
                continue
        return models

    def get(self, name: str) -> Model:
        return parsed(self._http("get", f"/api/functions/{name}"))

    def invoke(self, model: Model, payload: dict[str, Any]) -> Any:
        headers = {"x-nuclio-function-name": model.id, "x-nuclio-path": "/"}
        return self._http("post", "/api/function_invocations", headers=headers, data=payload)

    def annotate(
        self,
        task: Task,
        name: str,
        *,
        threshold: float | None = None,
        cleanup: bool = False,
        conv_mask_to_poly: bool = False,
        mapping: dict[str, dict[str, Any]] | None = None,
        roi: tuple[int, int, int, int] | None = None,
    ) -> None:
        """A run of the dialog, from the request to the last frame."""
        model = self.get(name)
        if cleanup:
            task.shapes.clear()
        collected: list[dict[str, Any]] = []
        for frame in range(len(task.frames)):
            if frame in task.deleted:
                continue
            collected += self.frame(
                task, model, frame, threshold=threshold, mapping=mapping, roi=roi,
                conv_mask_to_poly=conv_mask_to_poly,
            )  # fmt: skip
            if frame and frame % 100 == 0:
                task.shapes += collected
                collected = []
        task.shapes += collected

    def frame(
        self, task: Task, model: Model, frame: int, *, threshold=None, mapping=None, roi=None,
        conv_mask_to_poly=False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A call for one frame: what would be stored of the answer."""
        by_name = {label.name: label for label in task.labels}
        mapping = mapping or {
            one["name"]: {
                "name": one["name"],
                "attributes": {
                    a["name"]: a["name"]
                    for a in one["attributes"]
                    if a["name"] in by_name[one["name"]].attributes
                },
            }
            for one in model.labels
            if one["name"] in by_name and compatible(one["type"], by_name[one["name"]].type)
        }
        data = task.frames[frame]
        if roi is not None:
            with Image.open(io.BytesIO(data)) as image:
                crop, form = image.crop(roi), image.format
            crop.save(written := io.BytesIO(), format=form or "PNG")
            data = written.getvalue()
        payload: dict[str, Any] = {"threshold": threshold} if threshold else {}
        payload["image"] = base64.b64encode(data).decode("utf-8")
        shapes = []
        for item in self.invoke(model, payload):
            if item["label"] not in mapping:
                continue
            to = mapping[item["label"]]
            label = by_name[to["name"]]
            attributes = {}
            for one in item.get("attributes", {}):
                name = to.get("attributes", {}).get(one["name"])
                if name is not None and fits(one["value"], *label.attributes[name]):
                    attributes[name] = str(one["value"])
            shape = stored(item, frame, label, attributes, conv_mask_to_poly=conv_mask_to_poly)
            if roi is not None:
                x, y = roi[:2]
                start = -4 if shape["type"] == "mask" else 0
                points = shape["points"]
                moved = [v + (y if i % 2 else x) for i, v in enumerate(points[start:])]
                shape["points"] = [*(points[:start] if start else []), *moved]
            shapes.append(shape)
        return shapes


def parsed(item: dict[str, Any]) -> Model:
    notes = item["metadata"]["annotations"]
    if notes.get("type") not in KINDS:
        raise ValueError("unknown type")
    labels = [
        {
            "name": one["name"],
            "type": one.get("type", "any"),
            "attributes": [
                {key: a[key] for key in ("name", "input_type", "values")}
                for a in one.get("attributes", [])
            ],
        }
        for one in json.loads(notes.get("spec") or "[]")
    ]
    for names in ([one["name"] for one in labels],
                  *([a["name"] for a in one["attributes"]] for one in labels)):  # fmt: skip
        if len(names) != len(set(names)):
            raise ValueError("not unique")
    name = item["metadata"]["name"]
    return Model(
        name,
        notes.get("name", name),
        item["spec"]["description"],
        labels,
        item["status"].get("httpPort"),
    )


def compatible(model: str, label: str) -> bool:
    return (
        model == label
        or (label == "any" and model != "skeleton")
        or (model == "any" and label != "skeleton")
        or {model, label} <= {"mask", "polygon"}
    )


def fits(value: Any, input_type: str, values: list[str]) -> bool:
    if input_type == "number":
        low, high, step = map(int, values)
        try:
            number = int(value)
        except ValueError:
            return False
        return low <= number <= high and (number - low) % step == 0
    if input_type == "checkbox":
        return value in ("true", "false")
    return input_type == "text" or value in values


def stored(
    item: dict[str, Any], frame: int, label: Label, attributes: dict[str, str], *,
    conv_mask_to_poly: bool,
) -> dict[str, Any]:  # fmt: skip
    """The shape as it is stored; AssertionError for what the serializer would refuse."""
    kind = item["type"]
    points = item.get("mask", []) if kind == "mask" else item.get("points", [])
    if kind == "mask" and "points" in item and conv_mask_to_poly:
        kind, points = "polygon", item["points"]
    elif kind == "mask":
        flat = np.array(points[:-4])
        assert set(np.unique(flat)) <= {0, 1}
        left, top, right, bottom = points[-4:]
        assert len(flat) == (right - left + 1) * (bottom - top + 1)
        changes = np.flatnonzero(np.diff(flat, prepend=1 - flat[0], append=1 - flat[-1]))
        lengths = np.diff(changes, prepend=0) if flat[0] else np.diff(changes)
        points = [*lengths.tolist(), left, top, right, bottom]
    assert {"rectangle": len(points) == 4, "mask": len(points) >= 5,
            "polygon": len(points) >= 6 and len(points) % 2 == 0}[kind], kind  # fmt: skip
    group = item.get("group_id")
    assert group is None or 0 <= group < 1 << 31
    assert all(isinstance(value, int | float) for value in points)
    return {
        "frame": frame,
        "label": label.name,
        "type": kind,
        "points": points,
        "source": "auto",
        "attributes": attributes,
        "group": group,
    }
