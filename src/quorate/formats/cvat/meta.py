"""`<meta>` of a CVAT XML file: the task or project, its labels and their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

import msgspec

from quorate.dataset import AttributeSpec, LabelInfo
from quorate.formats.markup import element


def read_meta(meta: Element) -> tuple[str, dict[str, LabelInfo] | None, dict[str, Any]]:
    """The name of the task or project, its labels (None where none is told), and the rest."""
    top = next((child for child in meta if child.tag in {"task", "project", "job"}), None)
    if top is None:
        return "", None, {}
    about: dict[str, Any] = {
        key: value.strip()
        for key in ("id", "name", "subset", "size", "start_frame", "stop_frame", "frame_filter")
        if (value := top.findtext(key, "")).strip()
    }
    if tasks := top.findall(".//task"):
        about["tasks"] = [
            {
                key: value.strip()
                for key in ("id", "name", "subset")
                if (value := one.findtext(key, ""))
            }
            for one in tasks
        ]
    labels = {
        label.findtext("name", ""): LabelInfo(
            color=label.findtext("color", "").strip(),
            type=label.findtext("type", "").strip() or "any",
            attributes=tuple(
                AttributeSpec(
                    name=spec.findtext("name", ""),
                    input_type=spec.findtext("input_type", "").strip() or "text",
                    default=spec.findtext("default_value", ""),
                    values=tuple(v for v in spec.findtext("values", "").split("\n") if v),
                    mutable=spec.findtext("mutable", "").strip() == "True",
                )
                for spec in label.findall("attributes/attribute")
            ),
        )
        for label in top.findall("labels/label")
    }
    return top.findtext("name", ""), labels or None, {top.tag: about}


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
