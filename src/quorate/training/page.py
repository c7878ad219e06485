"""The report of a training: one HTML page that needs no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.evaluation.compare import ComparedResult, Comparison
from quorate.report.charts import legend
from quorate.report.markup import (
    coded,
    count,
    counted,
    duration,
    figure,
    heat,
    name,
    section,
    series,
    table,
    text,
)
from quorate.report.template import filled, tiles_of
from quorate.training.judging import ENSEMBLE, Judged, joined
from quorate.training.work import Part, Prepared
from quorate.training.worst import Worst

MOST_LABELS = 200


@dataclass(frozen=True, eq=False)
class Told:
    """What the page shows beside what was judged.

    name      of the training
    charts    title -> SVG
    worst     of the best trainer's detector
    spec      as its user wrote it
    versions  trainer -> package -> version
    """

    name: str
    prepared: Prepared
    charts: Mapping[str, str]
    worst: Sequence[Worst]
    spec: str
    versions: Mapping[str, Mapping[str, str]]


def page(judged: Judged, told: Told) -> str:
    """The page as text: the same for the same training."""
    parts = {
        "quality": ("How good", _quality(judged)),
        "ensemble": ("In the ensemble", _ensemble(judged)),
        "labels": ("Label by label", _labels(judged)),
        "curves": ("How they learnt", _curves(judged, told)),
        "worst": ("The worst pictures", _worst(judged, told)),
        "data": ("The data", _data(told.prepared)),
        "run": ("The run", _run(judged, told)),
    }
    return filled(
        told.name, _headline(judged), parts, tiles=_tiles(judged, told), troubles=_troubles(judged)
    )


def _headline(judged: Judged) -> tuple[str, str]:
    best = judged.alone[judged.best]
    others = [one for one in judged.alone.results if one.name != judged.best]
    message = f"{name(judged.best)} reaches an AP of <em>{figure(best.metrics.ap)}</em>"
    if others:
        second = max(others, key=lambda one: one.metrics.ap or 0.0)
        beside = f"{name(second.name)} ({figure(second.metrics.ap)})"
        if (second.metrics.ap or 0.0) == (best.metrics.ap or 0.0):
            message += f", as {name(second.name)} does"
        elif second.ap_difference is not None and second.ap_difference.certain:
            message += f", surely more than {beside}"
        else:
            message += f", more than {beside}, but not for certain"
    below = f"Measured on {counted(best.metrics.images, 'picture')} held out ({judged.part})."
    if joins := judged.joins:
        before = judged.rounds[0][ENSEMBLE].metrics.ap
        after = judged.rounds[len(joins) - 1][joined(*joins)].metrics.ap
        below += (
            f" With {' and '.join(map(name, joins))} the ensemble's AP surely rises, from "
            f"{figure(before)} to {figure(after)}."
        )
    elif judged.rounds:
        below += " None of them surely raises the ensemble's AP."
    return message + ".", below


def _tiles(judged: Judged, told: Told) -> str:
    best = judged.alone[judged.best]
    done = [one for one in judged.outcomes if one.failed is None]
    failed = len(judged.outcomes) - len(done)
    learnt = sum(told.prepared.train.boxes)
    items = [
        ("AP of the best", figure(best.metrics.ap), f"AP50 {figure(best.metrics.ap50)}"),
        (
            "trainers",
            count(len(judged.outcomes)),
            f"{count(failed)} failed" if failed else "all done",
        ),
        ("pictures to learn from", count(told.prepared.train.images), counted(learnt, "box")),
        ("time", duration(sum(one.seconds for one in done)), "of all trainers together"),
    ]
    if judged.rounds:
        base = judged.rounds[0][ENSEMBLE]
        items.insert(1, ("AP of the ensemble", figure(base.metrics.ap), "before any of them joins"))
    return tiles_of(items)


def _troubles(judged: Judged) -> str:
    lines = "".join(
        f"<li><strong>{name(one.name)} failed</strong>: {text(one.failed.reason)}</li>"
        for one in judged.outcomes
        if one.failed is not None
    )
    if not lines:
        return ""
    done = len(judged.alone.results)
    return (
        f'<div class="alarm" role="note"><p>{counted(done, "trainer")} of '
        f"{len(judged.outcomes)} came to the end.</p><ul>{lines}</ul></div>"
    )


def _figures(comparison: Comparison) -> str:
    """A table of results: their figures, and the difference to the baseline with its interval."""
    rows = []
    for place, result in enumerate(comparison.results):
        base = result.name == comparison.baseline
        rows.append(
            [
                f'<i class="key {series(place)}"></i>{name(result.name)}',
                heat(result.metrics.ap, best=base),
                heat(result.metrics.ap50),
                heat(result.metrics.ap75),
                heat(result.metrics.ar100),
                f"<td>{_gap(result)}</td>",
                f"<td>{_sure(result)}</td>",
            ]
        )
    head = ["", "AP", "AP50", "AP75", "AR100", f"AP against {name(comparison.baseline)}", "certain"]
    return table(head, rows)


def _gap(result: ComparedResult) -> str:
    gap = result.ap_difference
    if gap is None:
        return "–"
    if gap.low is None or gap.high is None:
        return f"{gap.value:+.3f}"
    return f"{gap.value:+.3f} <small>({gap.low:+.3f} to {gap.high:+.3f})</small>"


def _sure(result: ComparedResult) -> str:
    gap = result.ap_difference
    return "–" if gap is None else "yes" if gap.certain else "no"


def _drawn(comparison: Comparison) -> str:
    if not comparison.samples:
        return ""
    return (
        f" Intervals hold in {comparison.confidence:.0%} of {comparison.samples:,} draws of the "
        "pictures with repetition (bootstrap); a difference is certain where its interval leaves "
        "out zero."
    )


def _quality(judged: Judged) -> str:
    lead = (
        "What each trainer exported, run as an ensemble would run it, on the same pictures."
        + _drawn(judged.alone)
    )
    return section("quality", "How good", lead, _figures(judged.alone))


def _ensemble(judged: Judged) -> str:
    if not judged.rounds:
        return ""
    first, *further = judged.rounds
    lead = "Does adding a trained detector to the ensemble raise its AP? On the same pictures."
    body = _figures(first)
    for comparison in further:
        body += f"<p>Does another one raise the AP of {name(comparison.baseline)}?</p>"
        body += _figures(comparison)
    return section("ensemble", "In the ensemble", lead + _drawn(first), body)


def _labels(judged: Judged) -> str:
    results = judged.alone.results
    first = results[0].metrics.categories
    order = sorted(range(len(first)), key=lambda i: -first[i].objects)[:MOST_LABELS]
    rows = []
    for i in order:
        known = [result.metrics.categories[i].ap for result in results]
        best = max((one for one in known if one is not None), default=None)
        cells = [heat(one, best=one is not None and one == best) for one in known]
        rows.append([name(first[i].label), f"<td>{count(first[i].objects)}</td>", *cells])
    head = ["label", "objects", *(name(result.name) for result in results)]
    lead = "AP of each label, those of most objects first; a dash where nothing is held out of it."
    more = len(first) - len(order)
    lead += f" {count(more)} labels of fewer objects are left out." if more else ""
    return section("labels", "Label by label", lead, table(head, rows, classes="tall"))


def _curves(judged: Judged, told: Told) -> str:
    if not told.charts:
        return ""
    figures = "".join(
        f"<figure><figcaption><b>{text(title)}</b></figcaption>{chart}</figure>"
        for title, chart in told.charts.items()
    )
    names = [(place, one.name, "") for place, one in enumerate(judged.outcomes)]
    lead = (
        "As the trainers tell it; the figures are in `curves.csv`, and for TensorBoard beside it."
    )
    body = f'<div class="plain">{figures}</div>{legend(names)}'
    return section("curves", "How they learnt", coded(lead), body)


def _worst(judged: Judged, told: Told) -> str:
    if not told.worst:
        return ""
    cards = "".join(
        f'<figure style="flex:0 1 580px"><img loading="lazy" alt="" src="data:image/jpeg;base64,'
        f'{base64.b64encode(one.jpeg).decode()}"><figcaption>{name(one.name)}: '
        f"{count(one.false)} false, {count(one.missed)} missed</figcaption></figure>"
        for one in told.worst
    )
    lead = (
        f"Where {text(judged.best)} errs most, the worst first. Left the truth, right what it "
        f"finds from a score of {judged.alone[judged.best].pictures.min_score:.2f} on, that of its "
        "best F1."
    )
    return section("worst", "The worst pictures", lead, f'<div class="plain">{cards}</div>')


def _data(prepared: Prepared) -> str:
    parts: list[tuple[str, Part | None]] = [
        ("to learn from", prepared.train),
        ("validation", prepared.validation),
        ("test", prepared.test),
    ]
    known = [(word, part) for word, part in parts if part is not None]
    rows = [["pictures", *(f"<td>{count(part.images)}</td>" for _, part in known)]]
    rows += [
        [name(label), *(f"<td>{count(part.boxes[i])}</td>" for _, part in known)]
        for i, label in enumerate(prepared.labels[:MOST_LABELS])
    ]
    notes = "".join(f"<li>{coded(note)}</li>" for note in prepared.notes)
    body = table(["", *(word for word, _ in known)], rows, classes="narrow tall")
    body += f'<div class="note"><ul>{notes}</ul></div>' if notes else ""
    return section("data", "The data", "Pictures, and boxes of each label.", body)


def _run(judged: Judged, told: Told) -> str:
    rows = [
        [
            name(one.name),
            f"<td>{duration(one.seconds)}</td>",
            f"<td>{'failed' if one.failed else 'done'}</td>",
            "<td>"
            + text(", ".join(f"{p} {v}" for p, v in told.versions.get(one.name, {}).items()))
            + "</td>",
        ]
        for one in judged.outcomes
    ]
    said = [*judged.notes, *(note for one in judged.outcomes for note in one.notes)]
    notes = "".join(f"<li>{coded(note)}</li>" for note in dict.fromkeys(said))
    body = table(["", "time", "", "versions"], rows, classes="narrow")
    body += f'<div class="note"><ul>{notes}</ul></div>' if notes else ""
    body += (
        "<details><summary>The training as it was described</summary>"
        f"<pre>{text(told.spec)}</pre></details>"
    )
    return section("run", "The run", "What was run, and what there is to say of it.", body)
