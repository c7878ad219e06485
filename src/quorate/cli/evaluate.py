"""quorate evaluate, compare: files of detections beside a truth."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import RESULTS, add_labels, expanded, read_files, share
from quorate.cli.output import note, print_json, print_table, signed, warn, written_as_json
from quorate.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quorate.dataset import Dataset
    from quorate.detections import Detections
    from quorate.evaluation.coco import CocoMetrics
    from quorate.evaluation.effort import Effort


def add_commands(commands: Any) -> None:
    """Add these commands."""
    evaluate = commands.add_parser("evaluate")
    compare = commands.add_parser("compare")
    for command in (evaluate, compare):
        add = command.add_argument
        add("results", nargs="+", help=RESULTS)
        add("--truth", required=True, help="annotated data set: COCO, CVAT, VOC or YOLO")
        add_labels(command)
        add("--json", action="store_true", help="print JSON instead of a table")
    add = evaluate.add_argument
    add(
        "--iou-type",
        choices=("bbox", "segm"),
        default="bbox",
        help="compare boxes, or masks (default: bbox)",
    )
    add("--per-category", action="store_true", help="a table for each label too")
    add("--per-picture", action="store_true", help="the edits of each picture too, most first")
    add(
        "--min-score",
        type=share,
        default=0.0,
        help="the score from which boxes are published, for the edits (default: 0, all of a file)",
    )
    add(
        "--move-below",
        type=share,
        default=0.75,
        metavar="IOU",
        help="a box that fits its object less is to be moved (default: 0.75)",
    )
    add(
        "-o",
        "--out",
        metavar="FILE.json",
        help="write the metrics as JSON too, - for standard output",
    )
    evaluate.set_defaults(command=_evaluate)
    add = compare.add_argument
    add("--samples", type=int, default=1000, help="bootstrap draws (default 1000)")
    add("--baseline", help="what the others are compared with (default: first)")
    add("--plot", metavar="FILE.svg", help="draw the comparison as well")
    compare.set_defaults(command=_compare)


def _read(arguments: argparse.Namespace) -> tuple[Dataset, dict[str, Detections]]:
    """The truth, and each result by its name; what is doubtful about one is said."""
    from quorate.evaluation.doubts import doubts
    from quorate.formats import read

    truth = read(arguments.truth)
    files = read_files(expanded(arguments.results), truth, arguments)
    found = {name: file.detections for name, file in files.items()}
    for doubt in doubts(found, truth):
        warn(f"warning: {doubt}")
    return truth, found


def _evaluate(arguments: argparse.Namespace) -> None:
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.effort import by_kind, effort

    if _of_labels(arguments.results):
        from quorate.cli.labels import evaluate as evaluate_labels

        evaluate_labels(arguments, expanded(arguments.results))
        return
    least, tight = arguments.min_score, arguments.move_below
    truth, found = _read(arguments)
    results = {n: evaluate(boxes, truth, iou_type=arguments.iou_type) for n, boxes in found.items()}
    efforts = {n: effort(boxes, truth, min_score=least, tight=tight) for n, boxes in found.items()}
    values = [
        {"result": name} | results[name].to_dict() | {"effort": done.to_dict(truth)}
        for name, done in efforts.items()
    ]
    if written_as_json(values, arguments.out, as_json=arguments.json):
        return
    _print_statistics(results, title=f"{len(truth.images):,} pictures")
    title = f"What a person would still have to do, from score {least:g} on"
    print_table([{"result": name} | _row(one) for name, one in efforts.items()], title=title)
    for name, metrics in results.items() if arguments.per_category else ():
        rows = [
            {"label": c.label, "AP": c.ap, "AP50": c.ap50, "objects": c.objects, "boxes": c.boxes}
            | by_kind(edits)
            for c, edits in zip(metrics.categories, efforts[name].labels, strict=True)
        ]
        print_table(rows, title=name)
    for name, done in efforts.items() if arguments.per_picture else ():
        print_table(done.rows(truth), title=name)


def _of_labels(results: Sequence[str]) -> bool:
    """Whether the files are of labels of whole pictures; InputError where only some are."""
    from quorate.cli.labels import are_classifications

    files = [one for one in results if one.lower().endswith(".parquet")]
    if not files:
        return False
    known = {are_classifications(file) for file in expanded(files)}
    if known == {True} and len(files) == len(results):
        return True
    if True in known:
        raise InputError("Some of the files are of boxes and some of labels; give one kind.")
    return False


def _row(done: Effort) -> dict[str, Any]:
    """A row of the table of edits."""
    from quorate.evaluation.effort import KINDS

    return {kind: getattr(done.edits, kind) for kind in KINDS} | {
        "edits": done.edits.total,
        "a picture": done.each,
        "least": done.best.total,
        "at score": done.best_score,
    }


def _print_statistics(results: dict[str, CocoMetrics], *, title: str) -> None:
    """The twelve numbers in one table, or in two where the terminal is too narrow for one."""
    import shutil
    import sys

    rows = [
        {"result": name}
        | {key[:2].upper() + key[2:]: value for key, value in metrics.statistics().items()}
        for name, metrics in results.items()
    ]
    names = list(rows[0])[1:]
    gap = 2
    needed = max(map(len, results)) + gap + sum(max(5, len(name)) + gap for name in names)
    halves = [names]
    if sys.stdout.isatty() and needed > shutil.get_terminal_size().columns:
        halves = [[name for name in names if name.startswith(kind)] for kind in ("AP", "AR")]
    for half in halves:
        print_table([{name: row[name] for name in ("result", *half)} for row in rows], title=title)
        title = ""


def _compare(arguments: argparse.Namespace) -> None:
    from quorate.evaluation.compare import compare
    from quorate.report.comparison import comparison_svg
    from quorate.storage import write_bytes

    if arguments.plot and not arguments.plot.endswith(".svg"):
        raise InputError(f"{arguments.plot}: a plot is an .svg file.")
    if arguments.samples < 0:
        raise InputError(f"--samples {arguments.samples}: draws cannot be fewer than 0.")
    arguments.results = expanded(arguments.results)
    if len(arguments.results) < 2:
        raise InputError(
            f"{arguments.results[0]}: one result has nothing to be compared with.",
            hint="name another, or take `quorate evaluate`",
        )
    truth, found = _read(arguments)
    done = compare(found, truth, baseline=arguments.baseline, samples=arguments.samples)
    if arguments.plot:
        write_bytes(arguments.plot, comparison_svg(done).encode())
        note(f"wrote {arguments.plot}")
    if arguments.json:
        print_json(done.to_dict())
        return
    rows = []
    for result in done.results:
        gap = result.ap_difference
        metrics = {"AP": result.metrics.ap, "AP50": result.metrics.ap50}
        against = {f"AP against {done.baseline}": signed(gap)}
        ahead = "" if gap is None or gap.above_zero is None else f"{gap.above_zero:.0%}"
        rows.append({"result": result.name} | metrics | against | {"ahead": ahead})
    title = f"{len(truth.images):,} pictures"
    if done.samples:
        title += f"; intervals hold in {done.confidence:.0%} of draws"
    print_table(rows, title=title)
    for result in done.results:
        gained, lost = done.changed(result.name, most=3)
        for word, positions in (("gained", gained), ("lost", lost)):
            if len(positions):
                names = ", ".join(done.file_names[int(i)] for i in positions)
                note(f"{result.name} {word} most on {names}")
