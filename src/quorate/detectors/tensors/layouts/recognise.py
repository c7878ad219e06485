"""Which layout a graph is of: by what it says of itself, its inputs, names, shapes and values."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from quorate.detectors.tensors.layouts.dense import DENSE
from quorate.detectors.tensors.layouts.finished import FINISHED
from quorate.detectors.tensors.layouts.layout import (
    Arrays,
    Layout,
    UndecidedError,
    Wishes,
    of_wishes,
)
from quorate.detectors.tensors.layouts.pairs import BOX_WORDS, PAIRS
from quorate.detectors.tensors.layouts.rows import ROWS
from quorate.errors import DetectorError
from quorate.networks import Graph, Tensor

LAYOUTS = (*FINISHED, *PAIRS, *ROWS, *DENSE)
"""In the order in which they are tried: what outputs are called first, then their shapes."""
ELSE = (
    "say `layout:` if the model is of a known kind under other names; else a plug-in "
    "(docs/reference/plug-ins.md) or a container (docs/guides/container-detectors.md) can run it"
)


def layouts() -> dict[str, str]:
    """Every layout by name, in the order in which they are tried, and what writes it."""
    named: dict[str, list[str]] = {}
    for layout in LAYOUTS:
        named.setdefault(layout.name, []).append(layout.what)
    return {name: "; ".join(dict.fromkeys(what)) for name, what in named.items()}


def recognise(
    graph: Graph,
    wishes: Wishes,
    *,
    layout: str,
    look: Callable[[], Arrays],
    origin: str,
    known: Sequence[Layout] = LAYOUTS,
) -> Layout:
    """The layout of a graph: the one asked for by a name of `layouts()`, or the first that fits.

    `look` runs the model once, on a black picture; `known` is what is tried, in order: a plug-in
    gives its own. DetectorError, saying what was seen and what to write, where nothing fits, or
    two layouts do and nothing tells them apart.
    """
    own = known is not LAYOUTS
    told = layout if layout != "auto" else None if own else _by_metadata(graph)
    choice = [one for one in known if (one.name == told if told else one.auto)]
    why = "the spec" if layout != "auto" else "metadata" if told else "names and shapes"
    seen = graph
    found = _first(choice, seen, wishes, forced=told is not None)
    if found is None and any(not t.shape or None in t.shape[1:] for t in graph.outputs):
        values = look()
        outputs = tuple(Tensor(t.name, values[t.name].shape, t.kind) for t in graph.outputs)
        seen = replace(graph, outputs=outputs)
        found = _first(choice, seen, wishes, forced=told is not None)
    if found is None:
        raise _unknown(seen, wishes, layout=layout, origin=origin, own=own)
    if found.settle and not told:
        try:
            settled = found.settle(found, seen, look)
        except UndecidedError as undecided:
            raise DetectorError(
                f"{origin}: {undecided.problem}: {graph}.", hint=undecided.hint
            ) from None
        why += "" if settled is found else ", and values"
        found = settled
    return replace(of_wishes(found, found.outputs, found.wishes), why=why)


def _first(
    choice: Sequence[Layout], graph: Graph, wishes: Wishes, *, forced: bool
) -> Layout | None:
    """The first that fits; those whose inputs are there go before those that miss theirs."""
    there = [one for one in choice if not one.inputs or graph.input(*one.inputs)]
    for one in there + [one for one in choice if forced and one not in there]:
        if outputs := one.find(one, graph, wishes, forced):
            return replace(one, outputs=outputs, wishes=wishes)
    return None


def _by_metadata(graph: Graph) -> str | None:
    """The layout that Ultralytics' metadata tells: `description`, `head`, `task`, `args`."""
    said = graph.metadata
    if "task" not in said or "stride" not in said:
        return None
    about = f"{said.get('head', '')} {said.get('description', '')}"
    if re.search(r"rt-?detr", about, re.IGNORECASE):
        return "ultralytics_rtdetr"
    if said["task"] == "obb":
        return "yolo_obb"
    try:
        arguments = ast.literal_eval(said.get("args", "{}")[:10_000])
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        arguments = {}
    inside = isinstance(arguments, dict) and arguments.get("nms") is True
    if inside or said.get("end2end") == "True":
        return "yolov10"
    return "yolov8" if said.get("end2end") == "False" else None


def _unknown(graph: Graph, wishes: Wishes, *, layout: str, origin: str, own: bool) -> DetectorError:
    counts = f"{len(wishes.names)} names"
    if layout != "auto":
        return DetectorError(
            f"{origin}: the model does not fit the layout '{layout}' with {counts}: {graph}.",
            hint="leave `layout` out to have it recognised, or correct `names`",
        )
    problem = None if own else _explained(graph, wishes)
    if problem:
        return DetectorError(f"{origin}: {problem[0]}: {graph}.", hint=problem[1])
    return DetectorError(
        f"{origin}: the model's outputs are of no known layout: {graph}.",
        hint=f"{ELSE}. Known layouts are {', '.join(layouts())}",
    )


def _explained(graph: Graph, wishes: Wishes) -> tuple[str, str] | None:
    """Why a model that is nearly of a known layout is none, and what to do."""
    names = len(wishes.names)
    ranks = [len(tensor.shape) for tensor in graph.outputs]
    task = graph.metadata.get("task", "")
    if task in ("classify", "semantic"):
        return f"a model for the task '{task}' finds no boxes", "use a detection model"
    if ranks and min(ranks) >= 4 and max(ranks) <= 5:
        return (
            "the outputs are the raw maps of a head, not yet decoded into boxes",
            "export the model with its decoding inside (YOLOv5: export.py without --train); or "
            "decode them in a plug-in, as docs/examples/centerface does",
        )
    logits = graph.output("logits", "pred_logits")
    if logits and logits.shape and (count := logits.shape[-1]):
        return (
            f"there are {count} logits, which fit {count} names (sigmoid) or {count - 1} "
            f"(softmax, the last for no object), but there are {names}"
            + (f" and `activation: {wishes.activation}`" if wishes.activation else ""),
            "correct `names` of the detector",
        )
    flat = [tensor.shape for tensor in graph.outputs if len(tensor.shape) == 3]
    called = any(word in tensor.name.lower() for tensor in graph.outputs for word in BOX_WORDS)
    if len(flat) == 2 and flat[0][-1] == flat[1][-1] == 4 and not called:
        return (
            "two outputs have four columns, and no name tells which of them are the boxes",
            "export the model with names for its outputs, such as `pred_boxes` and `logits`",
        )
    if len(flat) == 2 and 4 in (flat[0][-1], flat[1][-1]):
        count = flat[0][-1] if flat[1][-1] == 4 else flat[1][-1]
        return (
            f"there are scores of {count} labels beside the boxes, but {names} names",
            "correct `names` of the detector; where the first score is of nothing, leave that out "
            "of `names` and say `labels_from: 1`",
        )
    if len(flat) != 1:
        return None
    _, rows, columns = flat[0]
    if rows is None or columns is None or min(rows, columns) < 5:
        return None
    room = f"{rows - 4}" if rows < columns else f"{columns - 5} or {columns - 4}"
    return (
        f"the output has room for {room} categories, but there are {names} names",
        "correct `names` of the detector, or say its `layout`",
    )
