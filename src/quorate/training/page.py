"""The report of a training: one HTML page that needs no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

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
from quorate.spec.ensemble import ENSEMBLE
from quorate.spec.training import Training
from quorate.training.judging import Judged, joined
from quorate.training.work import Prepared
from quorate.training.worst import Worst

MOST_LABELS = 200


def page(
    judged: Judged,
    prepared: Prepared,
    training: Training,
    *,
    charts: Mapping[str, str],
    worst: Sequence[Worst],
    versions: Mapping[str, Mapping[str, str]],
) -> str:
    """The page as text: the same for the same training.

    `charts` are title -> SVG, `worst` of the best trainer's detector, `versions` trainer ->
    package -> version.
    """
    parts = {
        "quality": ("How good", _quality(judged)),
        "ensemble": ("In the ensemble", _ensemble(judged)),
        "labels": ("Label by label", _labels(judged)),
        "curves": ("How they learnt", _curves(judged, charts)),
        "worst": ("The worst pictures", _worst(judged, worst)),
        "data": ("The data", _data(prepared)),
        "run": ("The run", _run(judged, training, versions)),
    }
    tiles = _tiles(judged, prepared)
    return filled(training.name, _headline(judged), parts, tiles=tiles, troubles=_troubles(judged))


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


def _tiles(judged: Judged, prepared: Prepared) -> str:
    best = judged.alone[judged.best]
    done = [one for one in judged.outcomes if one.failed is None]
    failed = len(judged.outcomes) - len(done)
    learnt = prepared.train
    items = [
        ("AP of the best", figure(best.metrics.ap), f"AP50 {figure(best.metrics.ap50)}"),
        (
            "trainers",
            count(len(judged.outcomes)),
            f"{count(failed)} failed" if failed else "all done",
        ),
        ("pictures to learn from", count(learnt.images), counted(sum(learnt.boxes), "box")),
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
                *_gap(result),
            ]
        )
    head = ["", "AP", "AP50", "AP75", "AR100", f"AP against {name(comparison.baseline)}", "certain"]
    return table(head, rows)


def _gap(result: ComparedResult) -> tuple[str, str]:
    """The difference to the baseline, and whether it is certain."""
    gap = result.ap_difference
    if gap is None:
        return "–", "–"
    said = f"{gap.value:+.3f}"
    if gap.low is not None and gap.high is not None:
        said += f" <small>({gap.low:+.3f} to {gap.high:+.3f})</small>"
    return said, "yes" if gap.certain else "no"


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
        rows.append([name(first[i].label), count(first[i].objects), *cells])
    head = ["label", "objects", *(name(result.name) for result in results)]
    lead = "AP of each label, those of most objects first; a dash where nothing is held out of it."
    more = len(first) - len(order)
    lead += f" {count(more)} labels of fewer objects are left out." if more else ""
    return section("labels", "Label by label", lead, table(head, rows, classes="tall"))


def _curves(judged: Judged, charts: Mapping[str, str]) -> str:
    if not charts:
        return ""
    figures = "".join(
        f"<figure><figcaption><b>{text(title)}</b></figcaption>{chart}</figure>"
        for title, chart in charts.items()
    )
    names = [(place, one.name, "") for place, one in enumerate(judged.outcomes)]
    lead = (
        "As the trainers tell it; the figures are in `curves.csv`, and for TensorBoard beside it."
    )
    body = f'<div class="plain">{figures}</div>{legend(names)}'
    return section("curves", "How they learnt", coded(lead), body)


def _worst(judged: Judged, worst: Sequence[Worst]) -> str:
    if not worst:
        return ""
    cards = "".join(
        f'<figure style="flex:0 1 580px"><img loading="lazy" alt="" src="data:image/jpeg;base64,'
        f'{base64.b64encode(one.jpeg).decode()}"><figcaption>{name(one.name)}: '
        f"{count(one.false)} false, {count(one.missed)} missed</figcaption></figure>"
        for one in worst
    )
    lead = (
        f"Where {text(judged.best)} errs most, the worst first. Left the truth, right what it "
        f"finds from a score of {judged.alone[judged.best].pictures.min_score:.2f} on, that of its "
        "best F1."
    )
    return section("worst", "The worst pictures", lead, f'<div class="plain">{cards}</div>')


def _data(prepared: Prepared) -> str:
    parts = prepared.parts
    rows = [["pictures", *(count(part.images) for part in parts.values())]]
    rows += [
        [name(label), *(count(part.boxes[i]) for part in parts.values())]
        for i, label in enumerate(prepared.labels[:MOST_LABELS])
    ]
    body = table(["", *parts], rows, classes="narrow tall") + _notes(prepared.notes)
    return section("data", "The data", "Pictures, and boxes of each label.", body)


def _run(judged: Judged, training: Training, versions: Mapping[str, Mapping[str, str]]) -> str:
    rows = [
        [
            name(one.name),
            duration(one.seconds),
            "failed" if one.failed else "done",
            text(", ".join(f"{p} {v}" for p, v in versions.get(one.name, {}).items())),
        ]
        for one in judged.outcomes
    ]
    said = [*judged.notes, *(note for one in judged.outcomes for note in one.notes)]
    body = table(["", "time", "", "versions"], rows, classes="narrow")
    body += _notes(dict.fromkeys(said))
    body += (
        "<details><summary>The training as it was described</summary>"
        f"<pre>{text(training.to_yaml())}</pre></details>"
    )
    return section("run", "The run", "What was run, and what there is to say of it.", body)


def _notes(notes: Iterable[str]) -> str:
    lines = "".join(f"<li>{coded(note)}</li>" for note in notes)
    return f'<div class="note"><ul>{lines}</ul></div>' if lines else ""
