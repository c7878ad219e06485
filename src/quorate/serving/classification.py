"""A classification ensemble as models of the protocol: its tensors, and those of each classifier.

    label              BYTES  [n]     the label that was decided on
    probability        FP32   [n]     its probability
    index              INT32  [n]     its position in the vocabulary: the argmax
    categories         INT32  [n]     its category id
    votes              INT32  [n]     whose first choice it is, counted; of the ensemble alone
    voters             BYTES  [n]     who took part, with commas; of the ensemble alone
    probabilities      FP32   [n, k]  of all labels, in the vocabulary's order
    top_labels         BYTES  [n, t]  the likeliest labels; t is the parameter `top_k`
    top_probabilities  FP32   [n, t]
    top_indices        INT32  [n, t]

The last four are given where they are asked for. A classifier's own word is the outputs
`NAME.label` and so on of the ensemble, where they are asked for, and those of the model
ENSEMBLE.NAME. Of one that failed the label is "", the index -1, and all probabilities 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.classifications import Classifications, Decision
from quorate.labels import Labels
from quorate.serving.values import Parameters, Refused, TensorInfo, Why

TOP = 5
"""How many of the likeliest labels are told where the request does not say it."""


class Classification:
    """See `quorate.serving.served.Tensors`."""

    on_request: tuple[str, ...] = (
        "probabilities",
        "top_labels",
        "top_probabilities",
        "top_indices",
    )

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        first = (
            TensorInfo("label", "BYTES", (-1,)),
            TensorInfo("probability", "FP32", (-1,)),
            TensorInfo("index", "INT32", (-1,)),
            TensorInfo("categories", "INT32", (-1,)),
        )
        counted = TensorInfo("votes", "INT32", (-1,)), TensorInfo("voters", "BYTES", (-1,))
        ranked = (
            TensorInfo("probabilities", "FP32", (-1, len(labels))),
            TensorInfo("top_labels", "BYTES", (-1, -1)),
            TensorInfo("top_probabilities", "FP32", (-1, -1)),
            TensorInfo("top_indices", "INT32", (-1, -1)),
        )
        self.own: tuple[TensorInfo, ...] = first + ranked
        self.decided: tuple[TensorInfo, ...] = first + counted + ranked

    def tensors(
        self, answers: Sequence[Decision], wanted: Sequence[str], parameters: Parameters
    ) -> dict[str, NDArray[Any]]:
        """The outputs wanted; Refused where `top_k` is no number of labels."""
        top = self._top(parameters)
        found: dict[str, Mapping[str, NDArray[Any]]] = {}
        told = {}
        for name in wanted:
            member, _, column = name.rpartition(".")
            if member not in found:
                found[member] = self._columns([_of(one, member) for one in answers], top)
            if column == "votes":
                told[name] = np.array([one.votes for one in answers], np.int32)
            elif column == "voters":
                told[name] = np.array([",".join(one.members).encode() for one in answers], object)
            else:
                told[name] = found[member][column]
        return told

    @staticmethod
    def voters(answer: Decision) -> tuple[str, ...]:
        """Who took part."""
        return answer.members

    @staticmethod
    def votes(answer: Decision) -> list[int]:
        """The votes of what was decided."""
        return [answer.votes]

    def _top(self, parameters: Parameters) -> int:
        top = parameters.get("top_k", min(TOP, len(self.labels)))
        if type(top) is not int or not 0 < top <= len(self.labels):
            raise Refused(
                Why.INVALID, f"The parameter `top_k` is a number from 1 to {len(self.labels)}."
            )
        return top

    def _columns(self, said: Sequence[Classifications | None], top: int) -> dict[str, NDArray[Any]]:
        k = len(self.labels)
        rows = np.zeros((len(said), k), np.float32)
        ranked = np.full((len(said), k), -1, np.int64)
        for i, one in enumerate(said):
            if one is not None:
                rows[i], ranked[i] = one.probabilities[0], one.ranking[0]
        names = np.array([b"", *(name.encode() for name in self.labels.names)], object)
        ids = np.array([-1, *self.labels.ids], np.int32)
        best = ranked[:, :top]
        first = ranked[:, 0]
        likeliest = np.take_along_axis(rows, np.maximum(best, 0), axis=1)
        return {
            "label": names[first + 1],
            "probability": np.take_along_axis(rows, np.maximum(first, 0)[:, None], axis=1)[:, 0],
            "index": first.astype(np.int32),
            "categories": ids[first + 1],
            "probabilities": rows,
            "top_labels": names[best + 1],
            "top_probabilities": likeliest,
            "top_indices": best.astype(np.int32),
        }


def _of(answer: Decision, member: str) -> Classifications | None:
    """The decision as a table, or what one classifier said; None where it took no part."""
    table = answer.table
    if not member:
        return table
    if member not in table.members:
        return None
    said = table.of_members[:, table.members.index(member)]
    return Classifications.of(member, table.image_id, said, table.labels)
