"""What `quorate run` says at its end: what was found, what it wrote, where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cli.output import listed, note, notes, print_table, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quorate.steps import Summary
    from quorate.steps.summary import ClassSummary, ClassVoted, Voted
    from quorate.steps.work import Skipped

MOST = 5


def print_summary(
    summary: Summary | ClassSummary, *, as_json: bool = False, import_next: bool = True
) -> None:
    """Print the table of voters and the files, or the whole summary as JSON.

    `import_next` tells how the files come into CVAT.
    """
    if as_json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(summary), indent=2).decode())
        return
    from quorate.steps.summary import ClassSummary

    members: Sequence[Voted | ClassVoted]
    if isinstance(summary, ClassSummary):
        members = summary.classifiers
        _say_labels(summary)
    else:
        members = summary.detectors
        _say_boxes(summary)
    for voter in members:
        if voter.failed:
            warn(f"degraded: {voter.name} failed and has no vote: {voter.failed}")
    _say_rest(summary, import_next=import_next)


def _say_labels(summary: ClassSummary) -> None:
    """Of labels of whole pictures: who is right how often, and which labels were given."""
    measured = summary.ensemble.accuracy is not None
    rows = [
        {"": voter.name, "pictures": voter.pictures}
        | ({"accuracy": voter.accuracy} if measured else {})
        | ({} if summary.ensemble.top5 is None else {"top 5": voter.top5})
        for voter in (*summary.classifiers, summary.ensemble)
    ]
    print_table(rows, title=f"{summary.name}: {summary.images:,} pictures, {summary.method}")
    most = sorted(summary.counts.items(), key=lambda one: -one[1])
    told = ", ".join(f"{count:,} {name}" for name, count in most[:MOST])
    more = f" and {len(most) - MOST} more labels" if len(most) > MOST else ""
    labels = "label" if summary.published == 1 else "labels"
    note(f"published: {summary.published:,} {labels}{f' ({told}{more})' if told else ''}")


def _say_boxes(summary: Summary) -> None:
    """Of boxes: how many each has, how good they are, and what is left to do."""
    measured = summary.ensemble.ap is not None
    rows = [
        {"": voter.name, "boxes": voter.boxes} | (_measured(voter) if measured else {})
        for voter in (*summary.detectors, summary.ensemble)
    ]
    print_table(rows, title=f"{summary.name}: {summary.images:,} pictures, {summary.method}")
    votes = ", ".join(f"{count:,} with {votes}" for votes, count in summary.votes.items())
    many = "s" * (list(summary.votes) != ["1"])
    boxes = "box" if summary.published == 1 else "boxes"
    told = f"{summary.published:,} {boxes} ({votes} vote{many})" if summary.published else "no box"
    note(f"published: {told}")
    if measured:
        _say_effort(summary)


def _say_rest(summary: Summary | ClassSummary, *, import_next: bool) -> None:
    """What went wrong, what there is to say, and the files."""
    if summary.skipped:
        warn(
            f"{len(summary.skipped):,} picture{'s' * (len(summary.skipped) > 1)} could not be read:"
        )
        for line in _by_reason(summary.skipped):
            warn(f"  {line}")
    notes(summary.notes)
    note("wrote:")
    for file in listed(summary.files):
        note(f"  {file}")
    for file in (one for one in summary.files if one.endswith("report.html")):
        note(f"look at: {file}")
    for file in (one for one in summary.files if one.endswith("annotations.xml") and import_next):
        note(
            "into CVAT: create a task with the same pictures and the labels of "
            f"{file.replace('annotations.xml', 'labels.json')} (paste it into the label editor's "
            f"Raw view);\n           then Upload annotations, CVAT 1.1, {file}\n"
            "           pictures in sub-folders: make a ZIP inside the data folder "
            "(zip -r ../pictures.zip .) and create the task from it;\n"
            "           CVAT forgets the folders of files that are chosen one by one"
        )


def _by_reason(pictures: Sequence[Skipped]) -> Iterator[str]:
    """Each picture and its reason; of more than `MOST`, how many there are of each reason."""
    reasons: dict[str, list[str]] = {}
    for one in pictures:
        why = one.reason.removeprefix(f"{one.file_name}: ")
        if len(pictures) <= MOST:
            yield f"{one.file_name}: {why}"
        else:  # what stands in brackets differs from picture to picture
            reasons.setdefault(why.partition(" (")[0].rstrip("."), []).append(one.file_name)
    for why, names in sorted(reasons.items(), key=lambda reason: -len(reason[1])):
        yield f"{len(names):,}: {why}, the first {names[0]}; summary.json lists them"


def _measured(voter: Voted) -> dict[str, Any]:
    left = voter.effort or {}
    best = {"least": left.get("best", {}).get("edits"), "from score": left.get("best_score")}
    return {"AP": voter.ap, "AP50": voter.ap50, "edits": left.get("edits")} | best


def _say_effort(summary: Summary) -> None:
    """What a person would still have to do to what is published, and what the quorum saves."""
    from quorate.evaluation.effort import Saved

    left = summary.ensemble.effort
    if not left:
        return
    note(
        f"left to a person: {left['edits']:,} edits, {left['edits_per_picture']:.1f} a picture: "
        f"{left['add']:,} objects to add, {left['delete']:,} boxes to delete, "
        f"{left['relabel']:,} labels to change, {left['move']:,} boxes to move"
    )
    voters = {v.name: v.effort for v in (*summary.detectors, summary.ensemble) if v.effort}
    ours = summary.ensemble.name
    if now := Saved.of({name: one["edits"] for name, one in voters.items()}, ours):
        note(f"  {now.told}")
    if best := Saved.of({name: one["best"]["edits"] for name, one in voters.items()}, ours):
        note(
            f"  each from its best score on (`publish: {{min_score: {left['best_score']:g}}}`): "
            f"{best.edits:,}, {best.told}"
        )
