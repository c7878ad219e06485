"""The part of the page on scores: do they mean what they say."""

from __future__ import annotations

from quorate.evaluation.reliability import Reliability
from quorate.report import charts
from quorate.report.markup import QUORUM, figure, name, section, text
from quorate.report.model import Report


def reliability(report: Report) -> str:
    """Reliability curves of the quorum and of each detector; '' without truth."""
    rows: list[tuple[int | None, str, Reliability, Reliability | None]] = []
    if report.reliability_fused is not None:
        rows.append((None, QUORUM, report.reliability_fused, None))
    rows += [
        (position, detector, *report.reliability[detector])
        for position, detector in enumerate(report.detectors)
        if detector in report.reliability
    ]
    if not rows:
        return ""
    figures = "".join(
        f'<figure><figcaption><span title="{text(label)}">{name(label)}</span>'
        f"<b>{figure(before.ece)}{f' → {figure(after.ece)}' if after else ''}</b></figcaption>"
        + charts.reliability(position, before, after, f"Reliability of {text(label)}")
        + "</figure>"
        for position, label, before, after in rows
    )
    calibrated = any(after is not None for _, _, _, after in rows)
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
