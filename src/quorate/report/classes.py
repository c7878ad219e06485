"""The report of labels of whole pictures: one HTML page that needs no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quorate.classifications import Classifications
from quorate.evaluation.classes import TOP, ClassMetrics
from quorate.labels import Labels
from quorate.report.charts import heat_map
from quorate.report.markup import (
    coded,
    count,
    counted,
    figure,
    heat,
    listed,
    name,
    percent,
    section,
    short,
    table,
    text,
)
from quorate.report.template import degraded, described, filled, tiles_of
from quorate.report.wall import thumbnail
from quorate.spec.ensemble import ENSEMBLE
from quorate.storage import write_bytes
from quorate.workers import in_threads

SHOWN = 60
"""Pictures on the page, those that the classifiers disagree about most."""
SIDE, BYTES = 320, 60_000
"""Pixels of the longer side of such a picture, and bytes of its JPEG."""
MOST_CONFUSED = 24
"""Labels up to which the confusion is drawn; of more, the rows of the table tell."""
MOST_LABELS = 200
"""Labels in the table, those of most pictures first."""


@dataclass(frozen=True, eq=False)
class ClassReport:
    """Everything the page shows. Names, labels, paths and reasons may hold any text.

    Attributes:
        name: The ensemble.
        method: How it decides.
        labels: The vocabulary.
        images: How many pictures were looked at.
        members: The classifiers, in the spec's order.
        counts: (labels,) pictures whose label is published.
        metrics: Of each classifier and of `ensemble`; empty without truth.
        disagreement: (n,) of each picture.
        hardest: What was decided on the pictures that are shown, in the order they are shown.
        truth: Positions of true labels by the pictures' ids.
        names: Of the pictures that are shown, by id.
        spec: The ensemble as its user wrote it.
        failed: Classifier -> reason.
        skipped: (picture, reason) for each that could not be read.
        notes: Sentences.
        about: Classifier -> what its model was taken for.
        read: Image id -> the picture, uint8 (h, w, 3) RGB.
    """

    name: str
    method: str
    labels: Labels
    images: int
    members: tuple[str, ...]
    counts: NDArray[np.int64]
    metrics: Mapping[str, ClassMetrics]
    disagreement: NDArray[np.float32]
    hardest: Classifications
    truth: Mapping[int, int]
    names: Mapping[int, str]
    read: Callable[[int], NDArray[np.uint8]]
    spec: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def write_class_report(path: str | Path, report: ClassReport) -> list[str]:
    """Write the page, its pictures inside; its name. The same for the same report."""
    parts = {
        "quality": ("How good", _quality(report)),
        "labels": ("Labels", _labels(report)),
        "pictures": ("Pictures", _pictures(report)),
        "run": ("The run", _run(report)),
    }
    whole = filled(
        report.name, _headline(report), parts, tiles=_tiles(report), troubles=_troubles(report)
    )
    write_bytes(path, whole.encode())
    return [Path(path).name]


def _headline(report: ClassReport) -> tuple[str, str]:
    """The message of the page in one sentence, and the sentence below it."""
    who = counted(len(report.members), "classifier")
    below = f"{who} looked at {counted(report.images, 'picture')}. Decided by {report.method}."
    measured = report.metrics.get(ENSEMBLE)
    known = {n: m.accuracy for n, m in report.metrics.items() if n != ENSEMBLE}
    known = {n: one for n, one in known.items() if one is not None}
    if measured is not None and measured.accuracy is not None and known:
        best = max(known, key=lambda one: known[one] or 0)  # the first of equals
        ours, theirs = measured.accuracy, known[best] or 0.0
        right = int(measured.within[0])
        single = int(report.metrics[best].within[0])
        apart = f"{count(abs(right - single))} {'more' if right > single else 'fewer'} than"
        more = "as many as" if right == single else apart
        return (
            f"The ensemble labels <em>{percent(right, measured.pictures)}</em> of the pictures "
            f"right, {more} the best single classifier, {name(best)}.",
            f"It reaches an accuracy of {ours:.3f}, {name(best)} {theirs:.3f}. {below}",
        )
    same = int((report.disagreement < 0.05).sum())
    return (
        f"The classifiers say the same of <em>{percent(same, len(report.disagreement))}</em> of "
        "the pictures.",
        below,
    )


def _tiles(report: ClassReport) -> str:
    skipped = f"{count(len(report.skipped))} skipped" if report.skipped else "all were read"
    used = int((report.counts > 0).sum())
    items = [
        ("pictures", count(report.images), skipped),
        ("labels published", count(int(report.counts.sum())), f"{count(used)} different ones"),
    ]
    measured = report.metrics.get(ENSEMBLE)
    if measured is not None:
        items.insert(
            0,
            (
                "accuracy",
                figure(measured.accuracy),
                f"{figure(measured.top(TOP))} in the first {TOP}"
                if len(report.labels) > TOP
                else f"of {counted(measured.pictures, 'picture')}",
            ),
        )
    if len(report.members) > 1 and len(report.disagreement):
        mean = f"{float(report.disagreement.mean()):.2f}"
        items.append(("mean disagreement", mean, "0: all say the same, 1: nothing in common"))
    return tiles_of(items)


def _troubles(report: ClassReport) -> str:
    parts = []
    if report.failed:
        left = [name(one) for one in report.members if one not in report.failed]
        who = listed(left) if left else "different classifiers in different parts"
        parts.append(degraded(report.failed, who))
    if report.skipped:
        some = "".join(f"<li>{name(n)}: {text(why)}</li>" for n, why in report.skipped[:200])
        unread = counted(len(report.skipped), "picture")
        parts.append(
            f'<div class="alarm" role="note"><p>{unread} could not be read and took no part.</p>'
            f"<ul>{some}</ul></div>"
        )
    return "".join(parts)


def _quality(report: ClassReport) -> str:
    """Accuracy of each classifier beside the ensemble's, and what is taken for what."""
    if not report.metrics:
        return ""
    rows, many = [], len(report.labels) > TOP
    for who in (ENSEMBLE, *report.members):
        one = report.metrics[who]
        first = [heat(one.top(TOP))] if many else []
        rows.append(
            [name(who), heat(one.accuracy, best=who == ENSEMBLE), *first,
             f"<td>{count(one.pictures)}</td>"]
        )  # fmt: skip
    head = ["", "accuracy", *([f"in the first {TOP}"] if many else []), "pictures"]
    body = table(head, rows, classes="narrow")
    whole = report.metrics[ENSEMBLE].confusion
    used = np.flatnonzero(whole[:, :-1].sum(axis=0) + whole.sum(axis=1))
    if 1 < len(used) <= MOST_CONFUSED:
        square = whole[np.ix_(used, used)].astype(np.float64)
        of = whole[used].sum(axis=1, keepdims=True)
        shares = np.divide(square, of, out=np.full_like(square, np.nan), where=of > 0)
        body += "<h3>What the ensemble takes each label for</h3>"
        body += heat_map([report.labels.names[i] for i in used], shares, "confusion")
        body += (
            "<p>A row is a true label, a column the label that was given to its pictures; what is "
            "right, the diagonal, is left blank.</p>"
        )
    return section("quality", "How good", "Measured against the true labels.", body)


def _labels(report: ClassReport) -> str:
    measured = report.metrics.get(ENSEMBLE)
    order = np.argsort(-report.counts, kind="stable")
    order = order[: min(MOST_LABELS, len(order))]
    head = ["label", "published"] + (["true", "precision", "recall"] if measured else [])
    rows = []
    for i in order.tolist():
        row = [name(short(report.labels.names[i], 60)), f"<td>{count(int(report.counts[i]))}</td>"]
        if measured:
            row.append(f"<td>{count(int(measured.confusion[i].sum()))}</td>")
            row += [heat(float(measured.precision[i])), heat(float(measured.recall[i]))]
        rows.append(row)
    more = len(report.labels) - len(order)
    lead = "How many pictures have each label"
    lead += f"; {count(more)} labels of fewer pictures are left out." if more else "."
    return section("labels", "Labels", lead, table(head, rows, classes="narrow"))


def _pictures(report: ClassReport) -> str:
    """The pictures that the classifiers disagree about most, with what each says."""
    shown = report.hardest
    one = partial(thumbnail, report.read, longest=SIDE, limit=BYTES)
    seen = in_threads(one, shown.image_id.tolist())
    cards = []
    for row, (image_id, picture) in enumerate(zip(shown.image_id.tolist(), seen, strict=True)):
        first = shown.top(row, 1)[0]
        lines = [f"<b>{name(first.label)} {first.probability:.2f}</b>"]
        if image_id in report.truth:
            true = report.labels.names[report.truth[image_id]]
            lines[0] += " right" if true == first.label else f" but it is {name(true)}"
        for member in shown.members:
            own = shown.top_of(row, member, 2)
            said = ", ".join(f"{name(c.label)} {c.probability:.2f}" for c in own) or "nothing"
            lines.append(f"{name(member)}: {said}")
        image = (
            f"<p>{text(picture)}</p>"
            if isinstance(picture, str)
            else '<img loading="lazy" alt="" src="data:image/jpeg;base64,'
            f'{base64.b64encode(picture[0]).decode()}">'
        )
        caption = "<br>".join([text(short(report.names[image_id], 80)), *lines])
        cards.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    if not cards:
        return ""
    several = len(report.members) > 1
    lead = counted(len(cards), "picture")
    lead += f" of {count(report.images)}, the greatest disagreement first." if several else "."
    title = "The pictures they argue about" if several else "Pictures"
    return section("pictures", title, lead, f'<div class="plain">{"".join(cards)}</div>')


def _run(report: ClassReport) -> str:
    notes = "".join(f"<li>{coded(note)}</li>" for note in report.notes)
    body = (f"<ul>{notes}</ul>" if notes else "") + described(report.about, report.spec)
    return section("run", "The run", "What was run, and what there is to say of it.", body)
