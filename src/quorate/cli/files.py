"""quorate fuse, convert, evaluate, compare: files in, files out, no detector at work."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from quorate.dataset import Dataset
    from quorate.detections import Detections
    from quorate.fusion.method import Method
    from quorate.offline import FusedFiles
    from quorate.spec import Fusion

METHODS = ("affirmative", "consensus", "unanimous", "votes", "wbf", "nms", "soft_nms", "nmw", "nmm")
ANNOTATIONS = ("cvat", "coco", "voc", "yolo")
RESULTS = (
    "detections: COCO results (.json, .json.gz, - for standard input), .parquet, a VOC or YOLO "
    "folder, CVAT XML; local or s3://; globs"
)


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    _add_fuse(commands)
    convert = commands.add_parser("convert")
    convert.add_argument("source", help="folder, ZIP archive, S3 prefix or annotation file")
    convert.add_argument("target", help="folder, .zip or file to write")
    convert.add_argument("--to", required=True, help="format to write: cvat, coco, voc, yolo, …")
    convert.add_argument("--from", dest="source_format", help="format to read (default: found out)")
    convert.set_defaults(command=_convert)

    evaluate = commands.add_parser("evaluate")
    compare = commands.add_parser("compare")
    for command in (evaluate, compare):
        command.add_argument("results", nargs="+", help=RESULTS)
        command.add_argument(
            "--truth", required=True, help="annotated data set: COCO, CVAT, VOC or YOLO"
        )
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    evaluate.add_argument(
        "--iou-type",
        choices=("bbox", "segm"),
        default="bbox",
        help="compare boxes, or masks (default: bbox)",
    )
    evaluate.add_argument("--per-category", action="store_true", help="a table for each label too")
    evaluate.add_argument("-o", "--out", metavar="FILE.json", help="write the metrics as JSON too")
    evaluate.set_defaults(command=_evaluate)
    compare.add_argument("--samples", type=int, default=1000, help="bootstrap draws (default 1000)")
    compare.add_argument("--baseline", help="what the others are compared with (default: first)")
    compare.add_argument("--plot", metavar="FILE.svg", help="draw the comparison as well")
    compare.set_defaults(command=_compare)


def _add_fuse(commands: Any) -> None:
    fuse = commands.add_parser(
        "fuse", description="Fuse one file of detections for each detector; any mixture of formats."
    )
    fuse.add_argument("files", nargs="+", help=RESULTS)
    fuse.add_argument("-o", "--out", required=True, help=".json, .json.gz or .parquet to write; "
                      "with --format a folder, .zip or file")  # fmt: skip
    fuse.add_argument("--format", choices=ANNOTATIONS, help="write annotations of this format")
    fuse.add_argument("--method", choices=METHODS, default="wbf", help="default: wbf")
    fuse.add_argument("--iou", type=_share, help="boxes overlap above this (default: the method's)")
    fuse.add_argument("--min-score", type=_share, help="boxes that score less take no part")
    fuse.add_argument(
        "--weights", type=_weights, help="one for each file, with commas between: 2,1"
    )
    fuse.add_argument(
        "--min-votes",
        type=_count,
        help="votes a group needs; before another method than `votes`, as a filter",
    )
    fuse.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                      help="any other setting of the method, as in a spec")  # fmt: skip
    fuse.add_argument(
        "--images",
        help="COCO, CVAT … data set whose pictures and labels are meant, in whose order the boxes "
        "are written; or a .txt file with a picture's name or id in each line",
    )
    fuse.add_argument("--evaluate", metavar="TRUTH", help="measure the result against this truth")
    fuse.add_argument("--json", action="store_true", help="print the summary as JSON")
    fuse.set_defaults(command=_fuse)


def _share(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not within 0..1")
    return value


def _weights(text: str) -> list[float]:
    values = [_number(one) for one in text.split(",")]
    if not all(0.0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text}: weights are above 0")
    return values


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def _fuse(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note, print_json, progress_bars
    from quorate.offline import fuse_files

    files = _expanded(arguments.files)
    _check_output(arguments.out, arguments.format, files)
    dataset, truth = _pictures(arguments.images), _pictures(arguments.evaluate)
    if arguments.images is None:
        dataset = truth
    voting = arguments.method == "votes"
    with progress_bars() as report:
        done = fuse_files(
            files,
            _fusion(arguments),
            dataset=dataset,
            min_votes=None if voting else arguments.min_votes,
            progress=lambda name, read, size: report(f"{name}, MB", read >> 20, size >> 20),
        )
        written = _write(done, arguments.out, arguments.format)
    summary = _summary(done, arguments, files, truth)
    summary["notes"] += written
    if arguments.json:
        print_json(summary)
        return
    _print_fused(summary)
    for remark in summary["notes"]:
        note(f"note: {remark}")


def _pictures(location: str | None) -> Dataset | None:
    if not location:  # a form that a person left empty gives an empty word
        return None
    if location.lower().endswith(".txt"):
        from quorate.offline import picture_list

        return picture_list(location)
    from quorate.formats import read

    return read(location)


def _check_output(out: str, format: str | None, files: Sequence[str]) -> None:
    """Refuse what cannot be written before anything is read."""
    from quorate.errors import InputError

    if out in files:
        raise InputError(
            f"{out}: is read and written by the same command.",
            hint="a glob may have found the result of an earlier run; write it elsewhere",
        )
    if files.count("-") > 1:
        raise InputError("Standard input (-) is given twice, but can be read once.")
    if format is None and not out.endswith((".parquet", ".json", ".json.gz")):
        raise InputError(
            f"{out}: written are .json, .json.gz (COCO results) and .parquet.",
            hint=f"--format {'|'.join(ANNOTATIONS)} writes annotations",
        )


def _fusion(arguments: argparse.Namespace) -> Callable[[tuple[str, ...]], Fusion | Method]:
    """The method and its settings, once the detectors' names are known."""
    from quorate.errors import InputError
    from quorate.fusion.method import Method

    given = {
        key: value for key in ("iou", "min_score") if (value := getattr(arguments, key)) is not None
    }
    if arguments.method == "votes" and arguments.min_votes is not None:
        given["min_votes"] = arguments.min_votes

    def fusion(names: tuple[str, ...]) -> Fusion | Method:
        if arguments.weights:
            if len(arguments.weights) != len(names):
                raise InputError(f"--weights has {len(arguments.weights)} for {len(names)} files.")
            given["weights"] = dict(zip(names, arguments.weights, strict=True))
        if arguments.settings:
            return _checked(arguments.method, given, arguments.settings)
        return Method.named(arguments.method, **given)

    if arguments.method == "votes" and arguments.min_votes is None and not arguments.settings:
        raise InputError("--method votes needs --min-votes.")
    return fusion


def _checked(method: str, given: dict[str, Any], settings: Sequence[str]) -> Fusion:
    """A method with any `--set KEY=VALUE` as in a spec, checked as there."""
    import yaml
    from pydantic import ValidationError

    from quorate.errors import InputError
    from quorate.spec import fusion as methods
    from quorate.spec.base import spec_error

    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected KEY=VALUE.")
        given[key] = yaml.safe_load(value)
    try:
        checked: Fusion = methods.METHODS[method].model_validate({"method": method, **given})
    except ValidationError as error:
        raise spec_error(error, origin="quorate fuse") from None
    return checked


def _expanded(patterns: Sequence[str]) -> list[str]:
    """Files, with globs that the shell left alone expanded in sorted order."""
    import glob
    import os

    from quorate.errors import InputError
    from quorate.storage import exists, is_s3

    files: list[str] = []
    for pattern in patterns:
        there, meant = (exists, _objects) if is_s3(pattern) else (os.path.exists, glob.glob)
        if not glob.has_magic(pattern) or there(pattern):
            files.append(pattern)
            continue
        found = sorted(meant(pattern))
        if not found:
            raise InputError(f"{pattern}: no file is called so.")
        files += found
    return files


def _objects(pattern: str) -> list[str]:
    """The objects in S3 that a glob means: as for files, none of its signs stands for a '/'."""
    from fnmatch import fnmatchcase
    from glob import has_magic

    from quorate.storage import open_tree

    parts = pattern.split("/")
    plain = next(i for i, part in enumerate(parts) if has_magic(part))
    root, wanted = "/".join(parts[:plain]), parts[plain:]
    with open_tree(root) as tree:
        return [
            f"{root}/{name}"
            for name in tree.names()
            if len(found := name.split("/")) == len(wanted) and all(map(fnmatchcase, found, wanted))
        ]


def _write(done: FusedFiles, out: str, format: str | None) -> list[str]:
    """Write the fused boxes; returns what is to be said of it."""
    if format is not None:
        from quorate.annotations import Annotations
        from quorate.formats import write

        return write(
            done.dataset, Annotations.from_detections(done.fused), out, format=format
        ).notes
    if out.endswith(".parquet"):
        import pyarrow.parquet as pq

        from quorate.storage import writing

        with writing(out) as file:
            pq.write_table(done.fused.to_arrow(), file, compression="zstd")
        return []
    from quorate.formats.results_writing import write_results

    write_results(
        done.fused,
        out,
        image_ids=done.image_ids,
        category_ids=done.category_ids,
        decimals=6 if done.normalised else 3,
    )
    return []


def _summary(
    done: FusedFiles, arguments: argparse.Namespace, files: Sequence[str], truth: Dataset | None
) -> dict[str, Any]:
    """What `--json` prints, and the table is made of."""
    import numpy as np

    boxes = np.bincount(done.found.detector, minlength=len(files)).tolist()
    votes, counts = np.unique(done.fused.votes, return_counts=True)
    notes = list(done.notes)
    if len(done.found) and not len(done.fused):
        notes.append("no box is left: ask for fewer votes or a lower score.")
    summary: dict[str, Any] = {
        "method": arguments.method,
        "out": arguments.out,
        "pictures": len(done.dataset.images),
        "files": [
            {"name": name, "file": file, "boxes": n}
            for name, file, n in zip(done.fused.detectors, files, boxes, strict=True)
        ],
        "boxes": {"in": len(done.found), "out": len(done.fused)},
        "votes": dict(zip(map(str, votes.tolist()), counts.tolist(), strict=True)),
        "metrics": {},
        "notes": notes,
    }
    if truth is not None:
        summary["metrics"] = _measured(
            {name: done.found.of(name) for name in done.found.detectors} | {"fused": done.fused},
            truth,
        )
    return summary


def _print_fused(summary: dict[str, Any]) -> None:
    from quorate.cli.output import note, print_table

    metrics = summary["metrics"]
    counts = [(one["name"], one["boxes"]) for one in summary["files"]]
    rows = [
        {"": name, "boxes": boxes} | metrics.get(name, {})
        for name, boxes in (*counts, ("fused", summary["boxes"]["out"]))
    ]
    print_table(rows, title=f"{summary['method']} → {summary['out']}")
    votes = ", ".join(f"{n:,} with {v}" for v, n in summary["votes"].items())
    note(f"{summary['pictures']:,} pictures; boxes by votes: {votes or 'none'}")


def _measured(results: dict[str, Detections], truth: Dataset) -> dict[str, dict[str, Any]]:
    from quorate.evaluation.coco import evaluate

    names = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar100": "AR100"}
    return {
        name: {title: getattr(metrics, key) for key, title in names.items()}
        for name, metrics in ((name, evaluate(boxes, truth)) for name, boxes in results.items())
    }


def _convert(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note
    from quorate.errors import InputError
    from quorate.formats import read, write

    dataset = read(arguments.source, format=arguments.source_format)
    if dataset.annotations is None:
        raise InputError(f"{arguments.source}: only pictures, no annotations to convert.")
    written = write(dataset, dataset.annotations, arguments.target, format=arguments.to)
    for remark in (*dataset.notes, *written.notes):
        note(f"note: {remark}")
    note(f"{len(dataset.images):,} pictures, {len(dataset.annotations):,} annotations")
    for file in written.files:
        print(file)


def _read_results(files: Sequence[str], truth: Dataset) -> dict[str, Detections]:
    from quorate.formats import read_detections
    from quorate.offline import detector_names

    files = _expanded(files)
    return {
        name: read_detections(file, dataset=truth, detector=name).detections
        for name, file in zip(detector_names(files), files, strict=True)
    }


def _evaluate(arguments: argparse.Namespace) -> None:
    import json

    from quorate.cli.output import print_json, print_table
    from quorate.evaluation.coco import evaluate
    from quorate.formats import read
    from quorate.storage import write_bytes

    truth = read(arguments.truth)
    results = {
        name: evaluate(boxes, truth, iou_type=arguments.iou_type)
        for name, boxes in _read_results(arguments.results, truth).items()
    }
    values = [{"result": name} | metrics.to_dict() for name, metrics in results.items()]
    if arguments.out:
        write_bytes(arguments.out, json.dumps(values, indent=1).encode())
    if arguments.json:
        print_json(values)
        return
    print_table(
        [{"result": name} | metrics.statistics() for name, metrics in results.items()],
        title=f"{len(truth.images):,} pictures",
    )
    if arguments.per_category:
        for name, metrics in results.items():
            print_table(
                [
                    {"label": c.label, "AP": c.ap, "AP50": c.ap50, "objects": c.objects,
                     "boxes": c.boxes}
                    for c in metrics.categories
                ],
                title=name,
            )  # fmt: skip


def _compare(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note, print_json, print_table
    from quorate.errors import InputError
    from quorate.evaluation.compare import compare
    from quorate.formats import read

    if arguments.plot and not arguments.plot.endswith(".svg"):
        raise InputError(f"{arguments.plot}: a plot is an .svg file.")
    truth = read(arguments.truth)
    comparison = compare(
        _read_results(arguments.results, truth),
        truth,
        baseline=arguments.baseline,
        samples=arguments.samples,
    )
    if arguments.plot:
        from quorate.evaluation.plot import comparison_svg
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
    share = f"{comparison.confidence:.0%}"
    print_table(rows, title=f"{len(truth.images):,} pictures; intervals hold in {share} of draws")
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
