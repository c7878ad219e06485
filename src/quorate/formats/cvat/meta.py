"""`<meta>` of a CVAT XML file: the task or project, its labels and their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

import msgspec

from quorate.dataset import AttributeSpec, LabelInfo
from quorate.formats.markup import element


@dataclass
class Node:
    """An element below `<meta>`: its text and its children, in order."""

    tag: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, tag: str) -> Node | None:
        """The first child of that name."""
        return next((child for child in self.children if child.tag == tag), None)

    def value(self, tag: str, default: str = "") -> str:
        """The text of a child, as it stands."""
        child = self.find(tag)
        return default if child is None else child.text

    def iter(self, tag: str) -> Iterable[Node]:
        """Every element of that name below, in the file's order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.iter(tag)


def read_meta(meta: Node) -> tuple[str, dict[str, LabelInfo] | None, dict[str, Any]]:
    """The name of the task or project, its labels (None where none is told), and the rest."""
    top = next((c for c in meta.children if c.tag in {"task", "project", "job"}), None)
    if top is None:
        return "", None, {}
    about = {
        key: top.value(key).strip()
        for key in ("id", "name", "subset", "size", "start_frame", "stop_frame", "frame_filter")
        if top.value(key).strip()
    }
    tasks = [
        {key: task.value(key).strip() for key in ("id", "name", "subset") if task.value(key)}
        for task in top.iter("task")
    ]
    if tasks:
        about["tasks"] = tasks  # type: ignore[assignment]
    labels = top.find("labels")
    if labels is None:
        return top.value("name"), None, {top.tag: about}
    found: dict[str, LabelInfo] = {}
    for label in labels.children:
        if label.tag != "label":
            continue
        specs = label.find("attributes")
        found[label.value("name")] = LabelInfo(
            color=label.value("color").strip(),
            type=label.value("type").strip() or "any",
            attributes=tuple(
                AttributeSpec(
                    name=spec.value("name"),
                    input_type=spec.value("input_type").strip() or "text",
                    default=spec.value("default_value"),
                    values=tuple(v for v in spec.value("values").split("\n") if v),
                    mutable=spec.value("mutable").strip() == "True",
                )
                for spec in (specs.children if specs else ())
                if spec.tag == "attribute"
            ),
        )
    return top.value("name"), found or None, {top.tag: about}


def meta_xml(
    *,
    name: str,
    size: int,
    labels: Mapping[str, LabelInfo],
    subsets: Iterable[str],
    subset: str,
    dumped: str,
    frames: tuple[int, int],
) -> str:
    """`<version>` and `<meta>` of a task, or of a project where there are `subsets`."""
    about: dict[str, Any] = {"name": name}
    if subsets:
        about["subsets"] = "\n".join(subsets)
    else:
        about |= {
            "size": size,
            "mode": "annotation",
            "overlap": 0,
            "subset": subset,
            "start_frame": frames[0],
            "stop_frame": frames[1],
            "frame_filter": "",
        }
    about["labels"] = _raw(labels)
    for spec in (spec for label in about["labels"] for spec in label["attributes"]):
        spec["values"] = "\n".join(spec["values"])
    meta = {"project" if subsets else "task": about} | ({"dumped": dumped} if dumped else {})
    return "\n".join([*element("version", "1.1", 1), *element("meta", meta, 1), ""])


def labels_json(labels: Mapping[str, LabelInfo]) -> bytes:
    """The labels as CVAT's label editor takes them in its Raw view, to make a task that fits."""
    return msgspec.json.format(msgspec.json.encode(_raw(labels)), indent=1) + b"\n"


def _raw(labels: Mapping[str, LabelInfo]) -> list[dict[str, Any]]:
    return [
        {
            "name": label,
            **({"color": info.color} if info.color else {}),
            "type": info.type,
            "attributes": [
                {
                    "name": spec.name,
                    "mutable": spec.mutable,
                    "input_type": spec.input_type,
                    "default_value": spec.default,
                    "values": list(spec.values or (spec.default,)),
                }
                for spec in info.attributes
            ],
        }
        for label, info in labels.items()
    ]


def attribute_text(value: str) -> str:
    """A value between quotes, as XML writes an attribute; always double quotes."""
    quoted = quoteattr(value)
    return quoted if quoted[0] == '"' else '"' + quoted[1:-1].replace('"', "&quot;") + '"'
