"""The parts of the page that tell numbers: who is good at what, and who agrees with whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from quorate.evaluation.effort import Saved
from quorate.report.charts import (
    Curve,
    heat_map,
    legend,
    precision_recall,
    reliability_chart,
    small_precision_recall,
)
from quorate.report.markup import (
    QUORUM,
    coded,
    count,
    counted,
    figure,
    heat,
    listed,
    name,
    percent,
    section,
    series,
    table,
    text,
)
from quorate.report.model import Report
from quorate.report.template import degraded, described, tiles_of
from quorate.spec.ensemble import ENSEMBLE

Known = TypeVar("Known")
WORST = 0.1
"""The share of the pictures whose disagreement is told beside the mean."""
SMALL_CHARTS = 12


def headline(report: Report) -> tuple[str, str]:
    """The message of the page in one sentence, and the sentence below it."""
    pictures = counted(report.total, "picture")
    voters = counted(len(report.detectors), "detector")
    decided = counted(report.decided, "box")
    below = f"{voters} looked at {pictures}; {decided} decided."
    if report.fusion:
        sentence = report.fusion.endswith(".")
        below += f" {text(report.fusion if sentence else f'Decided by {report.fusion}.')}"
    now = Saved.of({name: one.edits.total for name, one in report.efforts.items()}, ENSEMBLE)
    if now is not None:
        saved = f"<em>{count(abs(now.saved))}</em> {'fewer' if now.saved >= 0 else 'more'}"
        return (
            f"The quorum leaves {counted(now.edits, 'edit')} to a person, {saved} than the best "
            f"single detector, {name(now.best)} ({count(now.best_edits)}).",
            f"{_reached(report)} {below}",
        )
    agreed = report.agreement
    if agreed.votes.sum():
        carried = int(agreed.votes[agreed.needed :].sum())
        return (
            f"The quorum stands behind <em>{percent(carried, int(agreed.votes.sum()))}</em> of "
            f"what the {voters} saw.",
            below,
        )
    return (f"{decided} on {pictures}.", below)


def _reached(report: Report) -> str:
    """AP of the quorum beside that of the best detector."""
    known = {n: one.ap or 0.0 for n, one in report.metrics.items() if n != ENSEMBLE}
    if report.ensemble is None or report.ensemble.ap is None or not known:
        return ""
    best = max(known, key=lambda name: known[name])  # the first of equals
    ours, single = report.ensemble.ap, known[best]
    # The difference of what is shown, so that a reader who subtracts finds the same.
    gap = round(ours, 3) - round(single, 3)
    apart = f"{abs(gap):.3f} {'more' if gap > 0 else 'less'} than" if gap else "as much as"
    return f"It reaches {ours:.3f} mAP, {apart} {name(best)} alone ({single:.3f})."


def tiles(report: Report) -> str:
    """The run in three or four numbers."""
    agreed, ensemble = report.agreement, report.ensemble
    items: list[tuple[str, str, str]] = []
    if ensemble is not None and ensemble.ap is not None:
        items.append(
            ("mAP of the quorum", figure(ensemble.ap), f"{figure(ensemble.ap50)} at IoU .5")
        )
    skipped = f"{count(len(report.skipped))} skipped" if report.skipped else "all were read"
    items.append(("pictures", count(report.total), skipped))
    seen = f"of {count(sum(report.boxes.values()))} that detectors saw"
    if report.published is not None:
        items.append(("boxes published", count(int(report.published.sum())), seen))
    else:
        items.append(("boxes decided", count(report.decided), seen))
    if len(agreed.image_id) and len(report.detectors) > 1:
        worst = np.sort(agreed.disagreement)[-math.ceil(WORST * len(agreed.image_id)) :]
        who = f"the worst {counted(len(worst), 'picture')}" if len(worst) > 1 else "the worst one"
        items.append(
            (
                "mean disagreement",
                f"{float(agreed.disagreement.mean()):.2f}",
                f"{who}: {worst[0]:.2f}{' or more' * (len(worst) > 1)}",
            )
        )
    return tiles_of(items)


def troubles(report: Report) -> str:
    """What went wrong, first and plainly; '' when nothing did."""
    parts = [
        f'<div class="alarm" role="note"><p>{coded(doubt[:1].upper() + doubt[1:])}</p></div>'
        for doubt in report.doubts
    ]
    if report.failed:
        voters, all_of = len(report.detectors), len(report.detectors) + len(report.failed)
        who = listed([name(n) for n in report.detectors])
        parts.append(degraded(report.failed, f"{who} ({voters} of {all_of} detectors)"))
    skipped = [f"{name(one)}<span>{text(reason)}</span>" for one, reason in report.skipped[:200]]
    if (more := len(report.skipped) - 200) > 0:
        skipped.append(f"and {count(more)} more")
    unread = f"{counted(len(report.skipped), 'picture')} could not be read and took no part"
    notes = counted(len(report.notes), "note")
    for title, items in ((unread, skipped), (notes, [coded(note) for note in report.notes])):
        if items:
            rows = "".join(f"<li>{item}</li>" for item in items)
            parts.append(
                f'<details class="note"><summary>{title}</summary><ul>{rows}</ul></details>'
            )
    return "".join(parts)


def ranked(report: Report, known: Mapping[str, Known]) -> list[tuple[int | None, str, Known]]:
    """What is known of the quorum, then of the detectors in the spec's order; place, name, it."""
    voters = [(None, QUORUM, ENSEMBLE), *((i, n, n) for i, n in enumerate(report.detectors))]
    return [(place, shown, known[name]) for place, shown, name in voters if name in known]


def key(position: int | None, label: str) -> str:
    """A row's name beside the colour of its curve."""
    return f'<i class="key {series(position)}"></i>{name(label)}'


def quality(report: Report) -> str:
    """Metrics of the quorum and of each detector, and their curves; '' without truth."""
    rows = ranked(report, report.metrics)
    if not rows:
        return ""
    columns = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
    top = {
        c: max((v for _, _, m in rows if (v := getattr(m, c)) is not None), default=None)
        for c in columns
    }
    body = table(
        ["", "mAP", "AP .5", "AP .75", "small", "medium", "large", "recall", "boxes"],
        [
            [
                key(position, label),
                *(heat(getattr(m, c), best=getattr(m, c) == top[c]) for c in columns),
                count(m.boxes),
            ]
            for position, label, m in rows
        ],
        classes="figures first" if report.ensemble is not None else "figures",
    )
    curves: list[Curve] = [(position, m.curves.mean50()) for position, _, m in rows]
    chart = (
        '<figure class="side"><div>'
        + precision_recall(curves, "Precision over recall at IoU .5, mean over labels")
        + "</div><figcaption><h3>Precision over recall</h3><p>Each curve walks from a detector's "
        "surest boxes to all of them, at IoU .5 and averaged over labels. Higher and further to "
        "the right is better; the area below a curve is its AP .5.</p>"
        + legend([(position, label, figure(m.ap50)) for position, label, m in rows])
        + "</figcaption></figure>"
    )
    return section(
        "quality",
        "How good",
        f"Against {counted(rows[0][2].objects, 'object')} of the truth, by COCO's rules. mAP is "
        "the mean precision over IoU .50 to .95: 1 is perfect. Small is below 32² pixels, large "
        "above 96². The best of a column is underlined.",
        body + chart,
    )


def labels(report: Report) -> str:
    """AP label by label; '' without truth."""
    rows = ranked(report, report.metrics)
    if not rows:
        return ""
    lead = rows[0][2].categories
    by_objects = sorted(
        (c for c, category in enumerate(lead) if category.objects), key=lambda c: -lead[c].objects
    )
    cells = []
    for position, category in enumerate(lead):
        values = [m.categories[position].ap for _, _, m in rows]
        best = max((v for v in values if v is not None), default=None)
        keep = "–" if category.score is None else f"{category.score:.2f}"
        cells.append(
            [
                name(category.label),
                count(category.objects),
                *(heat(v, best=v == best) for v in values),
                figure(category.f1),
                keep,
            ]
        )
    head = [
        "label",
        "objects",
        *(key(p, label) for p, label, _ in rows),
        '<abbr title="best harmonic mean of precision and recall, at IoU .5">best F1</abbr>',
        '<abbr title="the score threshold at which the best F1 is had">from score</abbr>',
    ]
    charts = "".join(
        f'<figure><figcaption><span title="{text(lead[c].label)}">'
        f"{name(lead[c].label)}</span><b>{figure(lead[c].ap50)}</b>"
        "</figcaption>"
        + small_precision_recall(
            [(p, m.curves.precision50[c]) for p, _, m in rows],
            f"Precision over recall of {lead[c].label} at IoU .5",
        )
        + "</figure>"
        for c in by_objects[:SMALL_CHARTS]
    )
    whose = "the quorum" if rows[0][1] == QUORUM else name(rows[0][1])
    which = "" if len(by_objects) <= SMALL_CHARTS else f" of the {SMALL_CHARTS} commonest labels"
    return section(
        "labels",
        "Label by label",
        f"mAP of each label. Best F1 and its score are those of {whose}: keep the "
        "boxes from that score on to balance false boxes against missed objects.",
        table(head, cells, classes="figures tall")
        + f'<h3 class="above">Precision over recall{which}, at IoU .5</h3>'
        + f'<div class="multiples">{charts}</div>',
    )


def reliability(report: Report) -> str:
    """Reliability curves of the quorum and of each detector; '' without truth."""
    rows = ranked(report, report.reliability)
    if not rows:
        return ""
    figures = "".join(
        f'<figure><figcaption><span title="{text(label)}">{name(label)}</span>'
        f"<b>{figure(before.ece)}{f' → {figure(after.ece)}' if after else ''}</b></figcaption>"
        + reliability_chart(position, before, after, f"Reliability of {text(label)}")
        + "</figure>"
        for position, label, (before, after) in rows
    )
    calibrated = any(after is not None for _, _, (_, after) in rows)
    lead = (
        "Of the boxes that score about 0.8, are eight in ten right (same label, IoU .5 or more, "
        "one to one)? Up: the share that is right; to the right: the mean score; a dot for each "
        "tenth, larger with more boxes. On the diagonal a score is a probability; below it, it "
        "claims too much. The figure is the expected calibration error (ECE): the mean distance."
    )
    more = (
        '<p class="small">Faint: the scores as the detector gave them. Strong: as the spec\'s '
        "calibration reads them. If the calibration was fitted on these very pictures, its error "
        "here flatters it; <code>quorate calibrate</code> tells the error on pictures held out."
        "</p>"
        if calibrated
        else ""
    )
    return section(
        "reliability",
        "What scores mean",
        lead,
        f'<div class="multiples reliabilities">{figures}</div>{more}',
    )


def accord(report: Report) -> str:
    """How far the detectors agree; '' with fewer than two."""
    agreed = report.agreement
    if len(agreed.detectors) < 2:
        return ""
    total = int(agreed.votes.sum())
    carried = int(agreed.votes[agreed.needed :].sum())
    matrix = (
        '<figure class="side"><div>'
        + heat_map(agreed.names, agreed.pairwise, "Agreement of each pair of detectors")
        + "</div><figcaption><h3>Pair by pair</h3><p>The share of two detectors' boxes that they "
        f"have in common: same label, IoU above {agreed.iou:g}, one to one (F1). A pair near 1 is "
        "two voices of one opinion; near 0, at least one of them is often wrong.</p>"
        "</figcaption></figure>"
    )
    widest = max((d.boxes + d.missed for d in agreed.detectors), default=0) or 1
    rows = []
    kinds = ("confirmed", "disputed", "lonely", "missed")
    for position, detector in enumerate(agreed.detectors):
        parts = "".join(
            f'<i class="{kind}" style="width:{100 * getattr(detector, kind) / widest:.2f}%"></i>'
            for kind in kinds
            if getattr(detector, kind)
        )
        rows.append(
            [
                key(position, detector.name),
                f'<td class="bar"><div>{parts}</div></td>',
                *(
                    f"{count(n)}<small>{percent(n, detector.boxes)}</small>"
                    for n in (detector.confirmed, detector.disputed, detector.lonely)
                ),
                count(detector.missed),
            ]
        )
    standing = table(
        [
            "",
            '<span class="hidden">shares</span>',
            *(f'<i class="dot {kind}"></i>{kind}' for kind in kinds),
        ],
        rows,
        classes="standing",
    )
    most = int(agreed.votes[1:].max(initial=1)) or 1
    voted = "".join(
        f'<tr class="{"in" if votes >= agreed.needed else "out"}"><th scope="row">'
        f'{counted(votes, "vote")}</th><td class="bar"><div><i style="width:'
        f'{100 * int(agreed.votes[votes]) / most:.2f}%"></i></div></td>'
        f"<td>{count(int(agreed.votes[votes]))}</td></tr>"
        for votes in range(len(agreed.votes) - 1, 0, -1)
    )
    votes = (
        f'<div class="pair"><div><h3>What became of each detector\'s boxes</h3>{standing}'
        f'<p class="small">Confirmed: the group has the {counted(agreed.needed, "vote")} needed. '
        "Disputed: others voted for it, too few. Lonely: nobody else saw it. Missed: the others "
        "carried it without this detector.</p></div>"
        f'<div><h3>Groups by votes</h3><div class="scroll votes"><table><tbody>{voted}</tbody>'
        f'</table></div><p class="small">{count(carried)} of {counted(total, "group")} '
        f"({percent(carried, total)}) have the votes.</p></div></div>"
    )
    return section(
        "agreement",
        "How far they agree",
        "No truth is needed for this: boxes are compared with one another, from a score of "
        f"{agreed.min_score:g} on.",
        votes + matrix,
    )


def run(report: Report) -> str:
    """Boxes by detector, and the spec."""
    voters: list[tuple[int | None, str, int]] = [(None, QUORUM, report.decided)]
    voters += [(i, n, report.boxes.get(n, 0)) for i, n in enumerate(report.detectors)]
    rows = [
        [key(place, n), count(boxes), f"{boxes / report.total:.1f}" if report.total else "–"]
        for place, n, boxes in voters
    ]
    given = table(["", "boxes", "a picture"], rows, classes="narrow")
    about = described(report.about, report.spec)
    return section(
        "run",
        "The run",
        "How many boxes each detector gave, at any score, and what was run.",
        f'<div class="pair"><div><h3>Boxes</h3>{given}</div></div>{about}',
    )
