"""quorate evaluate, compare: files of detections beside a truth."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.numbers import share
from quorate.cli.results import RESULTS, add_labels, expanded, labels_told, read_results

if TYPE_CHECKING:
    from typing import Any

    from quorate.evaluation.coco import CocoMetrics
    from quorate.evaluation.effort import Effort


def add_commands(commands: Any) -> None:
    """Add these commands."""
    evaluate = commands.add_parser("evaluate")
    compare = commands.add_parser("compare")
    for command in (evaluate, compare):
        command.add_argument("results", nargs="+", help=RESULTS)
        command.add_argument(
            "--truth", required=True, help="annotated data set: COCO, CVAT, VOC or YOLO"
        )
        add_labels(command)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    evaluate.add_argument(
        "--iou-type",
        choices=("bbox", "segm"),
        default="bbox",
        help="compare boxes, or masks (default: bbox)",
    )
    evaluate.add_argument("--per-category", action="store_true", help="a table for each label too")
    evaluate.add_argument(
        "--per-picture", action="store_true", help="the edits of each picture too, most first"
    )
    evaluate.add_argument(
        "--min-score",
        type=share,
        default=0.0,
        help="the score from which boxes are published, for the edits (default: 0, all of a file)",
    )
    evaluate.add_argument(
        "--move-below",
        type=share,
        default=0.75,
        metavar="IOU",
        help="a box that fits its object less is to be moved (default: 0.75)",
    )
    evaluate.add_argument(
        "-o",
        "--out",
        metavar="FILE.json",
        help="write the metrics as JSON too, - for standard output",
    )
    evaluate.set_defaults(command=_evaluate)
    compare.add_argument("--samples", type=int, default=1000, help="bootstrap draws (default 1000)")
    compare.add_argument("--baseline", help="what the others are compared with (default: first)")
    compare.add_argument("--plot", metavar="FILE.svg", help="draw the comparison as well")
    compare.set_defaults(command=_compare)


def _evaluate(arguments: argparse.Namespace) -> None:
    import json

    from quorate.cli.output import print_json, print_table, warn
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.doubts import doubts
    from quorate.evaluation.effort import TIGHT, by_kind, effort
    from quorate.formats import read
    from quorate.storage import write_bytes

    truth = read(arguments.truth)
    found = read_results(arguments.results, truth, labels_told(arguments))
    results = {
        name: evaluate(boxes, truth, iou_type=arguments.iou_type) for name, boxes in found.items()
    }
    efforts = {
        name: effort(boxes, truth, min_score=arguments.min_score, tight=arguments.move_below)
        for name, boxes in found.items()
    }
    for doubt in doubts(found, truth, efforts=efforts if arguments.move_below == TIGHT else None):
        warn(f"warning: {doubt}")
    values = [
        {"result": name} | results[name].to_dict() | {"effort": done.to_dict(truth)}
        for name, done in efforts.items()
    ]
    if arguments.out and arguments.out != "-":
        write_bytes(arguments.out, json.dumps(values, indent=1).encode())
    if arguments.json or arguments.out == "-":
        print_json(values)
        return
    _print_statistics(results, title=f"{len(truth.images):,} pictures")
    print_table(
        [{"result": name} | effort_row(one) for name, one in efforts.items()],
        title=f"What a person would still have to do, from score {arguments.min_score:g} on",
    )
    for name, metrics in results.items() if arguments.per_category else ():
        print_table(
            [
                {"label": c.label, "AP": c.ap, "AP50": c.ap50, "objects": c.objects,
                 "boxes": c.boxes} | by_kind(edits)
                for c, edits in zip(metrics.categories, efforts[name].labels, strict=True)
            ],
            title=name,
        )  # fmt: skip
    for name, done in efforts.items() if arguments.per_picture else ():
        print_table(done.rows(truth), title=name)


def effort_row(done: Effort) -> dict[str, Any]:
    """A row of the table of edits."""
    edits = done.edits
    return {
        "add": edits.add,
        "delete": edits.delete,
        "relabel": edits.relabel,
        "move": edits.move,
        "edits": edits.total,
        "a picture": done.each,
        "least": done.best.total,
        "at score": done.best_score,
    }


def _print_statistics(results: dict[str, CocoMetrics], *, title: str) -> None:
    """The twelve numbers in one table, or in two where the terminal is too narrow for one."""
    import shutil
    import sys

    from quorate.cli.output import print_table

    rows = [
        {"result": name}
        | {key[:2].upper() + key[2:]: value for key, value in metrics.statistics().items()}
        for name, metrics in results.items()
    ]
    names = list(rows[0])[1:]
    gap = 2
    needed = max(map(len, results)) + gap + sum(max(5, len(name)) + gap for name in names)
    if sys.stdout.isatty() and needed > shutil.get_terminal_size().columns:
        halves = [[name for name in names if name.startswith(kind)] for kind in ("AP", "AR")]
    else:
        halves = [names]
    for half in halves:
        print_table([{name: row[name] for name in ("result", *half)} for row in rows], title=title)
        title = ""


def _compare(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note, print_json, print_table, warn
    from quorate.errors import InputError
    from quorate.evaluation.compare import compare
    from quorate.evaluation.doubts import doubts
    from quorate.formats import read

    if arguments.plot and not arguments.plot.endswith(".svg"):
        raise InputError(f"{arguments.plot}: a plot is an .svg file.")
    if arguments.samples < 0:
        raise InputError(f"--samples {arguments.samples}: draws cannot be fewer than 0.")
    files = expanded(arguments.results)
    if len(files) < 2:
        raise InputError(
            f"{files[0]}: one result has nothing to be compared with.",
            hint="name another, or take `quorate evaluate`",
        )
    truth = read(arguments.truth)
    found = read_results(files, truth, labels_told(arguments))
    for doubt in doubts(found, truth):
        warn(f"warning: {doubt}")
    comparison = compare(
        found,
        truth,
        baseline=arguments.baseline,
        samples=arguments.samples,
    )
    if arguments.plot:
        from quorate.report.comparison import comparison_svg
        from quorate.storage import write_bytes

        write_bytes(arguments.plot, comparison_svg(comparison).encode())
        note(f"wrote {arguments.plot}")
    if arguments.json:
        print_json(comparison.to_dict())
        return
    rows = []
    for result in comparison.results:
        gap = result.ap_difference
        rows.append(
            {
                "result": result.name,
                "AP": result.metrics.ap,
                "AP50": result.metrics.ap50,
                f"AP against {comparison.baseline}": _signed(gap),
                "ahead": "" if gap is None or gap.above_zero is None else f"{gap.above_zero:.0%}",
            }
        )
    title = f"{len(truth.images):,} pictures"
    if comparison.samples:
        title += f"; intervals hold in {comparison.confidence:.0%} of draws"
    print_table(rows, title=title)
    for result in comparison.results:
        gained, lost = comparison.changed(result.name, most=3)
        for word, positions in (("gained", gained), ("lost", lost)):
            if len(positions):
                names = ", ".join(comparison.file_names[int(i)] for i in positions)
                note(f"{result.name} {word} most on {names}")


def _signed(gap: Any) -> str:
    if gap is None:
        return ""
    if gap.low is None:
        return f"{gap.value:+.3f}"
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
