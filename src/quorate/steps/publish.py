"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec
from quorate.steps.container import adopt_all
from quorate.steps.findings import FoundBoxes
from quorate.steps.moving import STAGE, moved
from quorate.steps.results import Results
from quorate.steps.summary import ClassSummary, Summary
from quorate.steps.work import Work, write_json
from quorate.storage import remove_tree

SUMMARY = "summary.json"
REVIEW = "review.json"
"""The pictures that need a person, the worst first: a list of `Doubt`."""


def publish(
    ensemble: Ensemble,
    work: Work,
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary | ClassSummary:
    """Write the annotation files, `summary.json`, `review.json` and `report.html` below `out`.

    Every shard must be fused; of labels there is no `review.json`. Where the data set has
    annotations of its own they are the truth that each member and the ensemble are measured
    against. Files that an earlier publish wrote
    to `out` and that are written no more are removed; one that was changed since stays, with a
    note. All files are complete before the first of them is moved to its place.
    """
    out.mkdir(parents=True, exist_ok=True)
    stage = out / STAGE
    remove_tree(stage)
    for shard in range(work.plan().shards):
        adopt_all(work, shard, ensemble.members)
    results = Results(work, {member.name: member.voters for member in ensemble.members})
    found: FoundBoxes | FoundLabels
    if isinstance(ensemble, ClassificationSpec):
        from quorate.steps.labels import FoundLabels

        found = FoundLabels.of(ensemble, results)
    else:
        assert isinstance(ensemble, EnsembleSpec)
        found = FoundBoxes.of(ensemble, results)
    asked = ensemble.publish
    total = len(asked.formats) + asked.report
    files: list[str] = []
    notes = [*found.notes]
    for number, name in enumerate(asked.formats):
        progress(number, total)
        written = found.write(name, stage)
        files += [Path(file).relative_to(stage).as_posix() for file in written.files]
        notes += [note for note in written.notes if note not in notes]
    if found.review(stage / REVIEW):
        files.append(REVIEW)
    if asked.report:
        progress(total - 1, total)
        files += found.report(stage / "report.html", notes)
    notes += moved(stage, out, files)
    summary = found.summary(notes, [*files, SUMMARY])
    write_json(out / SUMMARY, summary)
    work.forget_earlier()
    progress(total, total)
    return summary.at(str(out))
