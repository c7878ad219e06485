"""What a server's tensors say of a picture: boxes as Quorate tells them, or a label.

Boxes are those of `quorate serve`: `boxes`, `scores`, `labels`, `counts` and, of an ensemble,
`votes` and `voters`. A label comes in the ways of this field:

    texts           BYTES (n,), or (n, k) from the likeliest on: `label`, `labels`
    numbers         whole numbers (n,), the label's place in the names: an argmax
    probabilities   float (n, k), or logits, of which the largest counts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quorate.errors import DetectorError
from quorate.networks import Arrays, Graph, Tensor
from quorate.open_inference.tensors import BYTES

BOXES = ("boxes", "scores", "labels", "counts")
VOTES = ("votes", "voters")
TEXTS = ("label", "labels")
INDEX = "index"
SCORES = ("probability", "probabilities", "score", "scores")


class Box(NamedTuple):
    """A box of a picture.

    xyxy   x1, y1, x2, y2 in pixels, x2 and y2 exclusive
    votes  how many detectors carried it; None where the server does not tell
    """

    label: str
    score: float
    xyxy: tuple[float, float, float, float]
    votes: int | None


class Boxes(NamedTuple):
    """The boxes of one picture, as the server orders them, and the members that failed on it."""

    boxes: tuple[Box, ...]
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """The label of one picture.

    index  its place in the names, where that is known
    score  what the server gives it, likewise: a probability, or a logit
    """

    label: str
    index: int | None
    score: float | None
    failed: tuple[str, ...] = ()


def members(graph: Graph) -> tuple[str, ...]:
    """The members of an ensemble, whose own outputs are called MEMBER.output."""
    return tuple(dict.fromkeys(t.name.rpartition(".")[0] for t in graph.outputs if "." in t.name))


def boxes_outputs(graph: Graph) -> list[str]:
    """The outputs that tell boxes as Quorate does; [] where a model has others."""
    names = {one.name for one in graph.outputs}
    if not names.issuperset(BOXES):
        return []
    return [one for one in (*BOXES, *VOTES) if one in names]


def boxes_of(arrays: Arrays, asked: Sequence[str]) -> Boxes:
    """The boxes of the one picture that was asked about; `asked` are the ensemble's members."""
    sizes = {len(arrays[name]) for name in (*BOXES[:3], "votes") if name in arrays}
    xyxy = arrays["boxes"]
    if sizes != {int(arrays["counts"].sum())} or xyxy.shape[1:] != (4,):
        shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in arrays.items())
        raise DetectorError(f"the server's boxes do not fit together: {shapes}.")
    votes = arrays["votes"].tolist() if "votes" in arrays else [None] * len(xyxy)
    labels = [one.decode("utf-8", "replace") for one in arrays["labels"].tolist()]
    rows = zip(labels, arrays["scores"].tolist(), xyxy.tolist(), votes, strict=True)
    return Boxes(tuple(Box(a, b, tuple(c), d) for a, b, c, d in rows), failed(arrays, asked))


def failed(arrays: Arrays, asked: Sequence[str]) -> tuple[str, ...]:
    """The members that took no part, of those whose votes were `asked`."""
    if "voters" not in arrays:
        return ()
    voted = arrays["voters"].tolist()[0].decode("utf-8", "replace").split(",")
    return tuple(name for name in asked if name not in voted)


def label_outputs(graph: Graph) -> list[str]:
    """The outputs that tell a picture's label; DetectorError where there are none, or doubt."""
    own = [one for one in graph.outputs if "." not in one.name]
    texts = [one for one in own if one.kind == BYTES and one.name in TEXTS]
    whole = [one for one in own if one.whole and _rank(one) == 1]
    real = [one for one in own if one.kind in ("float", "float16", "double")]
    rows = [one for one in real if _rank(one) == 2]
    scores = [one for one in real if one.name in SCORES and _rank(one) == 1]
    if texts:
        whole = [one for one in whole if one.name == INDEX]
        rows = []  # what it is, and how sure, is told
    found = [*texts[:1], *whole, *(scores[:1] or rows)]
    if not (texts or whole or rows) or len(whole) > 1 or len(rows) > 1:
        raise DetectorError(
            f"The outputs do not say which one is the label: {graph}.",
            hint="a label is one output of whole numbers [n], or of numbers [n, labels]; "
            "`quorate detect` asks for boxes",
        )
    return [one.name for one in found] + ["voters"] * any(one.name == "voters" for one in own)


def _rank(tensor: Tensor) -> int:
    """The rank without sizes of 1 behind the first: (n, k, 1, 1) is a table of (n, k)."""
    return len(tensor.shape[:1]) + sum(size != 1 for size in tensor.shape[1:])


def label_of(arrays: Arrays, names: Sequence[str], asked: Sequence[str]) -> Label:
    """The label of the one picture that was asked about; `names` are the labels in order."""
    text: str | None = None
    index: int | None = None
    score: float | None = None
    for name, value in arrays.items():
        if name == "voters":
            continue
        numbers = value.reshape(-1)
        if not len(numbers):
            raise DetectorError(f"the server's '{name}' is empty.")
        if value.dtype == object:
            text = numbers[0].decode("utf-8", "replace")
        elif value.dtype.kind in "iu":
            index = int(numbers[0])
        elif np.isnan(numbers).any():
            raise DetectorError(f"the server's '{name}' holds NaN.")
        else:
            best = int(numbers.argmax())
            score = float(numbers[best if index is None else min(index, len(numbers) - 1)])
            index = best if index is None and text is None else index
    if text is None and index is not None:
        text = names[index] if index in range(len(names)) else str(index)
    return Label(text or "", index, score, failed(arrays, asked))
