"""Change a few values of a spec file and leave the rest of its text as the user wrote it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from quorate.errors import SpecError
from quorate.spec import EnsembleSpec
from quorate.spec.base import load_yaml

WIDTH = 100
REMARK = "# tuned: "


def with_fusion(text: str, fusion: Mapping[str, Any], remark: str = "") -> str:
    """The text of a spec with another `fusion`, and a line of comment above it.

    A comment that an earlier tuning left there is replaced.
    """
    root = _root(text)
    found = _entry(root, "fusion")
    if root.flow_style:
        return _put(text, root, "fusion", fusion)
    comment = f"{REMARK}{remark}\n" if remark else ""
    block = comment + _written("fusion", fusion, 0)
    if found is None:
        return text.rstrip("\n") + "\n" + block + "\n"
    start = found[0].start_mark.index
    before = text[:start]
    lines = before.splitlines(keepends=True)
    if remark and lines and lines[-1].startswith(REMARK):
        before = "".join(lines[:-1])
    return before + block + text[_end(text, found[1]) :]


def with_calibrations(text: str, calibrations: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The text of a spec with other calibrations; None takes one away.

    Detectors that are not named, and everything else, keep their text.
    """
    for name, value in calibrations.items():
        # Parsed anew for each, for every change moves what comes after it.
        entry = _entry(_root(text), "detectors")
        nodes = entry[1].value if entry and isinstance(entry[1], yaml.SequenceNode) else []
        for node in nodes:
            named = _entry(node, "name") if isinstance(node, yaml.MappingNode) else None
            if named is not None and named[1].value == name:
                text = _put(text, node, "calibration", value)
    return text


def write_spec(
    ensemble: EnsembleSpec, source: Path, target: Path, change: Callable[[str], str]
) -> None:
    """Write the spec at `source` to `target` with its text changed, so that it says `ensemble`.

    Relative paths are rewritten where `target` lies in another folder. Where the changed text
    would not say the same (a spec of an unusual shape), plain YAML without comments is written.
    The file appears whole or not at all.
    """
    original = source.read_text(encoding="utf-8")
    places = _locations(original, type(ensemble).from_yaml(source.resolve()), source.resolve())
    text = change(original)
    if source.parent.resolve() != target.parent.resolve():
        text = _moved(text, places, target.parent.resolve())
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        if not _says(unfinished, ensemble):
            plain = ensemble.model_dump(mode="json")
            for (number, key), (_, path) in places.items():
                (plain if number is None else plain["detectors"][number])[key] = path
            unfinished.write_text(_dumped(plain), encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _says(path: Path, ensemble: EnsembleSpec) -> bool:
    try:
        written = type(ensemble).from_yaml(path)
    except SpecError:
        return False
    return _same(written.model_dump(mode="json"), ensemble.model_dump(mode="json"))


def _same(one: Any, other: Any) -> bool:
    """Whether two dumped specs are equal, paths that lead to one place counting as equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, str) and isinstance(other, str) and one and "://" not in one and other:
        return one == other or os.path.realpath(one) == os.path.realpath(other)
    return bool(one == other)


def _root(text: str) -> yaml.MappingNode:
    load_yaml(text, origin="the spec")  # refuses what is no plain mapping
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return node


def _entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((k, v) for k, v in node.value if k.value == key), None)


def _end(text: str, node: yaml.Node) -> int:
    """Where a value's own text ends, without the blank lines and comments after it."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1] if node.value else None
    if last is None:
        return int(node.end_mark.index)
    return _end(text, last[1] if isinstance(last, tuple) else last)


def _put(text: str, node: yaml.MappingNode, key: str, value: Mapping[str, Any] | None) -> str:
    """Set, or with None take away, one key of a mapping in the text."""
    found = _entry(node, key)
    if node.flow_style:
        kept = {k.value: text[v.start_mark.index : v.end_mark.index] for k, v in node.value}
        kept.pop(key, None)
        if value is not None:
            kept[key] = _flow(value)
        inside = ", ".join(f"{k}: {v}" for k, v in kept.items())
        return f"{text[: node.start_mark.index]}{{{inside}}}{text[node.end_mark.index :]}"
    column = node.value[0][0].start_mark.column
    if found is not None:
        start, end = found[0].start_mark.index, _end(text, found[1])
        if value is not None:
            return text[:start] + _written(key, value, column).lstrip() + text[end:]
        line = text.rfind("\n", 0, start) + 1
        if text[line:start].strip():  # the first key of a list's entry, after its dash
            following = text[end:].lstrip()
            return text[:start] + following
        stop = text.find("\n", end)
        return text[:line] + (text[stop + 1 :] if stop >= 0 else "")
    if value is None:
        return text
    stop = text.find("\n", _end(text, node))
    head, tail = (text, "") if stop < 0 else (text[:stop], text[stop:])
    return f"{head}\n{_written(key, value, column)}{tail}"


def _written(key: str, value: Mapping[str, Any], column: int) -> str:
    """`key: value` indented, on one line where that is short enough; without a last newline."""
    indent = " " * column
    line = f"{indent}{key}: {_flow(value)}"
    if len(line) <= WIDTH:
        return line
    lines = [f"{indent}{key}:"]
    for name, one in value.items():
        if isinstance(one, Mapping):
            lines.append(_written(name, one, column + 2))
            continue
        line = f"{indent}  "
        for piece in re.split(r"(?<=\],) ", _flow({name: one})[1:-1]):  # knots stay whole
            if len(line) + len(piece) > WIDTH:
                lines.append(line.rstrip())
                line = f"{indent}    "
            line += f"{piece} "
        lines.append(line.rstrip())
    return "\n".join(lines)


def _flow(value: Mapping[str, Any]) -> str:
    dumped: str = yaml.safe_dump(
        dict(value), default_flow_style=True, sort_keys=False, width=10_000
    )
    return dumped.strip()


def _dumped(value: Any) -> str:
    dumped: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=WIDTH)
    return dumped


Places = dict[tuple[int | None, str], tuple[str, str]]
"""(detector's number, or None for the ensemble; key) -> a relative path, and the absolute one."""


def _scalars(text: str) -> dict[tuple[int | None, str], yaml.ScalarNode]:
    """`data`, and the detectors' plain values."""
    root = _root(text)
    found: dict[tuple[int | None, str], yaml.ScalarNode] = {}
    data, detectors = _entry(root, "data"), _entry(root, "detectors")
    if data is not None and isinstance(data[1], yaml.ScalarNode):
        found[None, "data"] = data[1]
    for number, node in enumerate(detectors[1].value if detectors else ()):
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(value, yaml.ScalarNode):
                found[number, key.value] = value
    return found


def _locations(text: str, spec: EnsembleSpec, source: Path) -> Places:
    """The relative paths of a spec: what reading it from an absolute place made longer."""
    places: Places = {}
    for (number, key), node in _scalars(text).items():
        value = getattr(spec if number is None else spec.detectors[number], key, None)
        if value != node.value and value == str(source.parent / node.value):
            places[number, key] = (node.value, value)
    return places


def _moved(text: str, places: Places, folder: Path) -> str:
    """The text with its relative paths starting at `folder` instead."""
    nodes = [(node, places.get(place)) for place, node in _scalars(text).items()]
    for node, place in sorted(nodes, key=lambda one: -one[0].start_mark.index):
        if place is not None and node.value == place[0]:
            start, end = node.start_mark.index, node.end_mark.index
            path = _flow({"_": os.path.relpath(place[1], folder)})[4:-1]
            text = text[:start] + path + text[end:]
    return text
