"""The parts of the page on what people get, and what they still have to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quorate.evaluation.agreement import votes_by_label
from quorate.evaluation.effort import KINDS, Saved
from quorate.evaluation.truth import Ints
from quorate.report.figures import key, ranked
from quorate.report.markup import count, counted, name, section, table, text
from quorate.report.model import Report
from quorate.spec.ensemble import ENSEMBLE

CONFUSED = 24
"""Most labels in the matrix of confusions."""


def work(report: Report) -> str:
    """What is left to do to each result and to each label, and which labels are confused."""
    ours = report.efforts.get(ENSEMBLE)
    if ours is None:
        return ""
    voters = ranked(report, report.efforts)
    least = min(one.edits.total for _, _, one in voters)
    rows = [
        [
            key(position, label),
            *(count(getattr(one.edits, kind)) for kind in KINDS),
            f'<td class="{"best" * (one.edits.total == least)}">{count(one.edits.total)}</td>',
            f"{one.each:.1f}",
            count(one.best.total),
            f"{one.best_score:.2f}",
        ]
        for position, label, one in voters
    ]
    head = ["", *KINDS, "edits", "a picture", "least", "from score"]
    best = Saved.of({name: one.best.total for name, one in report.efforts.items()}, ENSEMBLE)
    strict = (
        f" Each from its own best score on, the quorum needs {count(best.edits)}, "
        f"{text(best.told)}."
        if best
        else ""
    )
    order = np.argsort(-ours.labels.sum(1), kind="stable")
    names, confusion = report.dataset.labels.names, ours.confusion
    by_label = [
        [
            name(names[i]),
            count(int(confusion[i].sum())),
            count(int(confusion[:, i].sum())),
            *map(count, ours.labels[i].tolist()),
            count(int(ours.labels[i].sum())),
        ]
        for i in order
        if confusion[i].any() or confusion[:, i].any()
    ]
    return section(
        "work",
        "What is left to do",
        f"To the boxes that score {ours.min_score:g} or more: objects to add, boxes to delete, "
        "labels to change, boxes to move (IoU below .75). Least is the sum from the score on that "
        f"makes it least.{strict}",
        table(head, rows, classes="figures first")
        + '<h3 class="above">Label by label, of the quorum</h3>'
        + table(["label", "objects", "boxes", *KINDS, "edits"], by_label, classes="figures tall")
        + _confusion(ours.confusion, names),
    )


def _confusion(matrix: Ints, names: Sequence[str]) -> str:
    """The labels of objects (rows) and of the boxes on them (columns), the most confused first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    seen = wrong[:-1, :-1].sum(0) + wrong[:-1, :-1].sum(1)
    there = np.flatnonzero(matrix[:-1].any(1) | matrix[:, :-1].any(0))
    shown = there
    if len(there) > CONFUSED:
        shown = there[np.argsort(-seen[there], kind="stable")][:CONFUSED]
        shown = np.sort(shown[seen[shown] > 0])
    if not len(shown):
        return ""
    columns = [*shown.tolist(), len(names)]
    rows = []
    for i in columns:
        cells = []
        total = max(int(matrix[i].sum()), 1)
        for j in columns:
            kind = "own" if i == j else "wrong"
            value = int(matrix[i, j])
            shade = f' style="--v:{value / total:.3f}"' if value else ""
            cells.append(f'<td class="{kind}"{shade}>{count(value) if value else ""}</td>')
        rows.append([name(names[i]) if i < len(names) else "<i>no object</i>", *cells])
    rest = f" Shown are the {len(shown)} most confused labels." if len(shown) < len(there) else ""
    head = ["object ╲ box", *(name(names[i]) for i in shown.tolist()), "<i>no box</i>"]
    return (
        '<h3 class="above">Which label was taken for which, by the quorum</h3>'
        + table(head, rows, classes="figures confusion")
        + '<p class="small">A row is the objects of a label, a column the boxes of one. Below: '
        "boxes without an object, to delete; at the right: objects without a box, to add."
        f"{rest}</p>"
    )


def published(report: Report) -> str:
    """The boxes that are published, per label and by votes."""
    labels, counts = report.dataset.labels, report.published
    if counts is None:
        kept = report.fused.take(report.fused.score >= report.min_score)
        counts = votes_by_label(kept, labels, most=len(report.detectors))
    if not counts.any():
        return ""
    order = np.argsort(-counts.sum(1), kind="stable")
    rows = [
        [name(labels.names[i]), *map(count, counts[i, 1:].tolist()),
         count(int(counts[i].sum()))]
        for i in order if counts[i].any()
    ]  # fmt: skip
    total = ["all labels", *map(count, counts[:, 1:].sum(0).tolist()), count(int(counts.sum()))]
    return section(
        "published",
        "What is published",
        "The boxes that people get, by label and by how many detectors voted for them.",
        table(
            ["label", *(counted(v, "vote") for v in range(1, counts.shape[1])), "boxes"],
            [total, *rows],
            classes="figures tall first",
        ),
    )
