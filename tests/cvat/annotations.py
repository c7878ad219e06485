"""Shapes and tracks of the small CVAT, after `dataset_manager/task.py` and the serializers in 2.73.

A track's own attributes must be immutable ones of its label, its keyframes' mutable ones; a
keyframe lacks the attributes that the one before had, and answers fill them in; an attribute that
was not sent is answered with its default, though it is not stored.
"""

from __future__ import annotations

import math
from typing import Any

from tests.cvat.talk import RefusedError

Labels = dict[int, dict[str, Any]]


def new_shape(sent: dict[str, Any], known: Labels, next_id: Any) -> dict[str, Any]:
    _check(sent, "shapes")
    _points(sent)
    specs = _specs(sent, known)
    _attributes(sent, {*specs})
    fields = ("type", "frame", "label_id", "points", "attributes", "score")
    made = {"source": "manual", "rotation": 0.0, "attributes": []}
    made |= {name: sent[name] for name in fields if name in sent}
    return made | {"source": sent.get("source", "manual"), "id": next_id()}


def new_track(sent: dict[str, Any], known: Labels, next_id: Any) -> dict[str, Any]:
    _check(sent, "tracks")
    specs = _specs(sent, known)
    changing = {n for n, spec in specs.items() if spec["mutable"]}
    _attributes(sent, {*specs} - changing)
    shapes = []
    for one in sent["shapes"]:
        _points(one)
        _attributes(one, changing)
        base = {"occluded": False, "outside": False, "rotation": 0.0, "attributes": []}
        shapes.append(base | one | {"id": next_id()})
    if sent["frame"] != min(one["frame"] for one in shapes):
        raise AssertionError("CVAT would add a shape that is outside, or move the track")
    return {"source": "manual", "group": 0, "attributes": [], "elements": []} | sent | {
        "id": next_id(), "shapes": shapes,
    }  # fmt: skip


def whole_shape(shape: dict[str, Any], known: Labels) -> dict[str, Any]:
    specs = _specs(shape, known)
    defaults = {n: spec["default_value"] for n, spec in specs.items()}
    return shape | {"attributes": _filled(shape["attributes"], defaults)}


def whole_track(track: dict[str, Any], known: Labels) -> dict[str, Any]:
    specs = _specs(track, known)
    own = {n: spec["default_value"] for n, spec in specs.items() if not spec["mutable"]}
    last = {n: spec["default_value"] for n, spec in specs.items() if spec["mutable"]}
    shapes = []
    for one in track["shapes"]:
        values = _filled(one["attributes"], last)
        last = {value["spec_id"]: value["value"] for value in values}
        shapes.append(one | {"attributes": values})
    return track | {"attributes": _filled(track["attributes"], own), "shapes": shapes}


def _filled(values: list[dict[str, Any]], defaults: dict[int, str]) -> list[dict[str, Any]]:
    there = {value["spec_id"] for value in values}
    more = [{"spec_id": n, "value": v} for n, v in defaults.items() if n not in there]
    return [*values, *more]


def _check(sent: dict[str, Any], kind: str) -> None:
    if sent.get("id") is not None:
        raise RefusedError(400, {kind: [{"id": ["must be absent"]}]})


def _points(sent: dict[str, Any]) -> None:
    if not all(math.isfinite(value) for value in sent["points"]):
        raise RefusedError(400, {"shapes": [{"points": ["A valid number is required."]}]})


def _specs(sent: dict[str, Any], known: Labels) -> dict[int, dict[str, Any]]:
    if sent["label_id"] not in known:
        raise RefusedError(400, [f"label_id `{sent['label_id']}` is invalid"])
    return {one["id"]: one for one in known[sent["label_id"]]["attributes"]}


def _attributes(sent: dict[str, Any], allowed: set[int]) -> None:
    for value in sent.get("attributes", []):
        if value["spec_id"] not in allowed:
            raise RefusedError(400, [f"spec_id `{value['spec_id']}` is invalid"])
