"""Change a few values of a spec file; comments, order and quotes stay as the user wrote them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from quorate.errors import SpecError
from quorate.spec import EnsembleSpec
from quorate.spec.base import load_yaml
from quorate.storage import write_bytes

WIDTH = 100
REMARK = "# tuned: "

Value = Mapping[str, Any]


def with_fusion(text: str, fusion: Value, remark: str = "") -> str:
    """The text of a spec with another `fusion`, and a line of comment above it.

    A comment that an earlier tuning left there is replaced.
    """
    changed = _edited(text, lambda spec: _put(spec, "fusion", fusion))
    if not remark:
        return changed
    end = "\r\n" if "\r\n" in text else "\n"
    above = re.compile(rf"^({REMARK}[^\r\n]*\r?\n)?(?=fusion\s*:)", re.MULTILINE)
    return above.sub(lambda _: f"{REMARK}{remark}{end}", changed, count=1)


def with_calibrations(text: str, calibrations: Mapping[str, Value | None]) -> str:
    """The text of a spec with other calibrations; None takes one away."""

    def change(spec: CommentedMap) -> None:
        for detector in spec["detectors"]:
            if detector.get("name") in calibrations:
                _put(detector, "calibration", calibrations[detector["name"]])

    return _edited(text, change)


def write_spec(
    ensemble: EnsembleSpec, source: Path, target: Path, change: Callable[[str], str]
) -> None:
    """Write the spec at `source` to `target` with its text changed, so that it says `ensemble`.

    Relative paths are rewritten where `target` lies in another folder. Where the changed text
    would not say the same, plain YAML without comments is written. The file appears whole or not
    at all.
    """
    source, target = source.resolve(), target.resolve()
    given = type(ensemble).from_yaml(source)
    with source.open(encoding="utf-8", newline="") as file:
        text = change(file.read())

    def move(spec: CommentedMap) -> None:
        for node, key in _relative_paths(spec, given, source.parent):
            moved = os.path.relpath(source.parent / node[key], target.parent)
            node[key] = type(node[key])(moved)

    if source.parent != target.parent:
        text = _edited(text, move)
    if not _says(text, target, ensemble):
        said = yaml.safe_dump(ensemble.model_dump(mode="json"), sort_keys=False)
        text = _edited(said, lambda spec: None)
    write_bytes(target, text.encode())


def _edited(text: str, change: Callable[[CommentedMap], None]) -> str:
    """The text after a change to what it says; indentation and the ends of lines are kept."""
    load_yaml(text, origin="the spec")  # refuses what is no plain mapping
    lines = text.replace("\r\n", "\n")
    _, indent, dash = load_yaml_guess_indent(lines)
    editor = _editor()
    editor.width = max([WIDTH, *map(len, lines.splitlines())])
    spec = editor.load(lines)
    steps = [
        inner.lc.col - outer.lc.col
        for outer in (spec, *spec["detectors"])
        for inner in outer.values()
        if isinstance(inner, CommentedMap) and _has_lines(inner)
    ]
    editor.indent(mapping=min(steps, default=2), sequence=indent or 2, offset=dash or 0)
    change(spec)
    out = io.StringIO()
    editor.dump(spec, out)
    return out.getvalue().replace("\n", "\r\n") if "\r\n" in text else out.getvalue()


def _editor() -> YAML:
    editor = YAML()
    editor.preserve_quotes = True
    return editor


def _put(node: CommentedMap, key: str, value: Value | None) -> None:
    """Set, or with None take away, one key; the comments around it stay.

    ruamel keeps the lines between two keys with the last value above them, so they are taken off
    before the change and put back below whatever stands there after it.
    """
    if value is None and key not in node:
        return
    above = [name for name in node if name != key]
    last = key if key in node else above[-1]
    below = _take_lines_below(node, last)
    if value is None:
        place = list(node).index(key)
        del node[key]
        last = above[place - 1] if place else above[0]
    else:
        own = node.ca.items.get(key)
        flow = node.fa.flow_style()
        node[key] = _node(value, 10_000 if flow else WIDTH - node.lc.col - len(key) - 2)
        if own is not None and node[key].fa.flow_style() and own[2] is None and own[3]:
            own[2] = own[3].pop()  # the comment behind `key:` goes behind the value
        last = key
    _put_lines_below(node, last, below)


def _node(value: Any, room: int) -> Any:
    """A mapping or a list on one line where that is short enough, else its parts on lines."""
    plain = dict(value) if isinstance(value, Mapping) else list(value)
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    node = _editor().load(text)
    if len(text) > room:
        node.fa.set_block_style()
        for key, inner in plain.items() if isinstance(plain, dict) else ():
            if isinstance(inner, Mapping | list | tuple):
                node[key] = _node(inner, room - len(key))
    return node


def _last(node: Any, key: Any) -> tuple[Any, Any]:
    """The last value of `node[key]` that has a line of its own: what holds it, and its key."""
    value = node[key]
    if _has_lines(value):
        return _last(value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1)
    return node, key


def _has_lines(value: Any) -> bool:
    """Whether the entries of a value have lines of their own."""
    collection = isinstance(value, CommentedMap | CommentedSeq)
    return collection and bool(value) and not value.fa.flow_style()


def _take_lines_below(node: CommentedMap, key: str) -> str:
    """The blank lines and comments below a value, which loses them."""
    holder, last = _last(node, key)
    if ends := holder.ca.end:  # where ruamel puts them below a list of lists
        holder.ca.end = []
        return "".join(" " * len(end.value.strip()[:1]) * end.column + end.value for end in ends)
    place = 2 if isinstance(holder, CommentedMap) else 0
    token = holder.ca.items.get(last, [None] * 4)[place]
    if token is None:
        return ""
    behind, _, below = token.value.partition("\n")
    token.value = f"{behind}\n"
    if not behind:
        holder.ca.items[last][place] = None
    return str(below)


def _put_lines_below(node: CommentedMap, key: str, lines: str) -> None:
    if not lines:
        return
    holder, last = _last(node, key)
    place = 2 if isinstance(holder, CommentedMap) else 0
    own = holder.ca.items.setdefault(last, [None] * 4)
    behind = "\n" if own[place] is None else own[place].value
    column = 0 if own[place] is None else own[place].start_mark.column
    own[place] = CommentToken(behind + lines, CommentMark(column), None)


def _relative_paths(
    spec: CommentedMap, given: EnsembleSpec, folder: Path
) -> Iterator[tuple[CommentedMap, str]]:
    """What reading the spec from its folder made longer: the mapping and the key of each path."""
    for node, model in [(spec, given), *zip(spec["detectors"], given.detectors, strict=True)]:
        for key, value in node.items():
            if isinstance(value, str) and value != getattr(model, key, None) == str(folder / value):
                yield node, key


def _says(text: str, target: Path, ensemble: EnsembleSpec) -> bool:
    """Whether a spec file of this text would be read as the ensemble."""
    try:
        value = load_yaml(text, origin=str(target))
        written = type(ensemble).model_validate(value, context={"folder": target.parent})
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
