"""Which layout a graph is of, by the names, shapes and metadata of its outputs."""

from __future__ import annotations

from collections.abc import Callable

from quorate.detectors.tensors.layouts import detr, end_to_end, yolo
from quorate.detectors.tensors.layouts.layout import Layout, Wishes, yolo_cells
from quorate.errors import DetectorError
from quorate.networks import Graph


def recognise(
    graph: Graph, wishes: Wishes, *, layout: str, probe: Callable[[], Graph], origin: str
) -> Layout:
    """The layout of a graph: the one asked for, or with "auto" the first that fits.

    Args:
        graph: the model's signature.
        wishes: what else is known.
        layout: a name of `layouts()`, or "auto".
        probe: runs the model once, for the sizes of outputs that the graph leaves open.
        origin: the weights, for errors.

    Raises:
        DetectorError: nothing fits; it lists what was found and what is known.
    """
    known = layouts()
    choice = list(known.values()) if layout == "auto" else [known[layout]]
    forced = layout != "auto"
    for candidate in choice:
        if found := candidate.fit(graph, wishes, forced=forced):
            return found
    if any(not tensor.shape or None in tensor.shape[1:] for tensor in graph.outputs):
        graph = probe()
        for candidate in choice:
            if found := candidate.fit(graph, wishes, forced=forced):
                return found
    raise _unknown(graph, wishes, layout=layout, origin=origin)


def layouts() -> dict[str, type[Layout]]:
    """Every layout by name, in the order in which they are tried."""
    kinds: tuple[type[Layout], ...] = (
        end_to_end.EfficientNms,
        end_to_end.Tensorflow,
        end_to_end.SelectedIndices,
        detr.Detr,
        end_to_end.RtDetr,
        end_to_end.Torchvision,
        end_to_end.MmDeploy,
        end_to_end.Yolov7EndToEnd,
        yolo.Yolov10,
        yolo.Yolov8,
        yolo.Yolov5,
        yolo.Yolox,
    )
    return {kind.name: kind for kind in kinds}


def _unknown(graph: Graph, wishes: Wishes, *, layout: str, origin: str) -> DetectorError:
    counts = f"{len(wishes.names)} names"
    if layout != "auto":
        return DetectorError(
            f"{origin}: the model does not fit the layout '{layout}' with {counts}: {graph}.",
            hint="leave `layout` out to have it recognised, or correct `names`",
        )
    if problem := _explained(graph, wishes):
        return DetectorError(f"{origin}: {problem[0]}: {graph}.", hint=problem[1])
    return DetectorError(
        f"{origin}: the model's outputs are of no known layout: {graph}.",
        hint=f"known layouts are {', '.join(layouts())}; name one under `layout:` of the detector "
        "if the model is of that kind under other names",
    )


def _explained(graph: Graph, wishes: Wishes) -> tuple[str, str] | None:
    """Why a model that is nearly of a known layout is none, and what to do."""
    names = len(wishes.names)
    ranks = [len(tensor.shape) for tensor in graph.outputs]
    if ranks and min(ranks) >= 4 and max(ranks) <= 5:
        return (
            "the outputs are the raw maps of a head with anchors, not yet decoded into boxes",
            "export the model with its decoding inside (YOLOv5: export.py without --train)",
        )
    task = graph.metadata.get("task", "")
    if task in ("classify", "obb", "semantic"):
        return f"a model for the task '{task}' finds no upright boxes", "use a detection model"
    logits = graph.output("logits", "pred_logits")
    if logits and logits.shape and (count := logits.shape[-1]):
        return (
            f"there are {count} logits, which fit {count} names (sigmoid) or {count - 1} "
            f"(softmax, the last for no object), but there are {names}"
            + (f" and `activation: {wishes.activation}`" if wishes.activation else ""),
            "correct `names` of the detector",
        )
    flat = [tensor.shape for tensor in graph.outputs if len(tensor.shape) == 3]
    if len(flat) != 1:
        return None
    _, rows, columns = flat[0]
    if rows is None or columns is None or min(rows, columns) < 5:
        return None
    if columns == names + 5 and rows in yolo_cells(wishes.frame):
        return (
            "the output may be YOLOX's, still to be decoded, or YOLOv6's, decoded",
            "say which: `layout: yolox`, or `layout: yolov5` for one that is decoded",
        )
    room = f"{rows - 4}" if rows < columns else f"{columns - 5} or {columns - 4}"
    return (
        f"the output has room for {room} categories, but there are {names} names",
        "correct `names` of the detector, or say its `layout`",
    )
