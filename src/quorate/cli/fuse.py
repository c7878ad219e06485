"""quorate fuse: files of detections in, one out; no detector at work."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.numbers import count, method, number, share
from quorate.cli.results import RESULTS, add_labels, expanded, labels_told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from quorate.dataset import Dataset
    from quorate.detections import Detections
    from quorate.fusion.rules import Method
    from quorate.offline import FusedFiles
    from quorate.spec import Fusion

METHODS = ("affirmative", "consensus", "unanimous", "votes", "wbf", "nms", "soft_nms", "nmw", "nmm")
ENDINGS = {"": ".json", "coco": ".json", "cvat": ".xml"}
"""Of what fits into one file, as standard output (-o -) asks for."""
ANNOTATIONS = ("cvat", "coco", "voc", "yolo")


def add_commands(commands: Any) -> None:
    """Add this command."""
    fuse = commands.add_parser(
        "fuse", description="Fuse one file of detections for each detector; any mixture of formats."
    )
    fuse.add_argument("files", nargs="+", help=RESULTS)
    fuse.add_argument("-o", "--out", required=True, help=".json, .json.gz or .parquet to write, "
                      "- for standard output; with --format a folder, .zip or file")  # fmt: skip
    fuse.add_argument("--format", choices=ANNOTATIONS, help="write annotations of this format")
    fuse.add_argument("--method", choices=METHODS, type=method, default="wbf", help="default: wbf")
    fuse.add_argument("--iou", type=share, help="boxes overlap above this (default: the method's)")
    fuse.add_argument("--min-score", type=share, help="boxes that score less take no part")
    fuse.add_argument(
        "--weights", type=_weights, help="one for each file, with commas between: 2,1"
    )
    fuse.add_argument(
        "--min-votes",
        type=count,
        help="votes a group needs; before another method than `votes`, as a filter",
    )
    fuse.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                      help="any other setting of the method, as in a spec")  # fmt: skip
    fuse.add_argument(
        "--images",
        help="COCO, CVAT … data set whose pictures and labels are meant, in whose order the boxes "
        "are written; or a .txt file with a picture's name or id in each line",
    )
    add_labels(fuse)
    fuse.add_argument("--evaluate", metavar="TRUTH", help="measure the result against this truth")
    fuse.add_argument("--json", action="store_true", help="print the summary as JSON")
    fuse.set_defaults(command=_fuse)


def _weights(text: str) -> list[float]:
    values = [number(one) for one in text.split(",")]
    if not all(0.0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text}: a weight is a number above 0")
    return values


def _fuse(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import output_file

    ending = ENDINGS.get(arguments.format or "", "")
    with output_file(arguments.out, ending) as out:
        _fuse_into(out, arguments)


def _fuse_into(out: str, arguments: argparse.Namespace) -> None:
    from quorate.cli.output import notes, print_json, progress_bars
    from quorate.offline import fuse_files
    from quorate.storage.owner import owned_output

    files = expanded(arguments.files)
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
            labels=labels_told(arguments),
            min_votes=None if voting else arguments.min_votes,
            progress=lambda name, read, size: report(f"{name}, MB", read >> 20, size >> 20),
        )
        with owned_output(out):
            written = _write(done, out, arguments.format)
    summary = _summary(done, arguments, files, truth)
    summary["notes"] += written
    if arguments.json:
        print_json(summary)
        return
    _print_fused(summary)
    notes(summary["notes"])


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
    if out == "-":
        if (format or "") not in ENDINGS:
            raise InputError(
                f"-o -: annotations of {format} are more than one file.",
                hint="write them to a folder or a .zip; cvat and coco fit into one file",
            )
        return
    if format is None and not out.endswith((".parquet", ".json", ".json.gz")):
        raise InputError(
            f"{out}: written are .json, .json.gz (COCO results) and .parquet.",
            hint=f"--format {'|'.join(ANNOTATIONS)} writes annotations",
        )


def _fusion(arguments: argparse.Namespace) -> Callable[[tuple[str, ...]], Fusion | Method]:
    """The method and its settings, once the detectors' names are known."""
    from quorate.errors import InputError
    from quorate.fusion.rules import Method

    given = {
        key: value for key in ("iou", "min_score") if (value := getattr(arguments, key)) is not None
    }
    if arguments.method == "votes" and arguments.min_votes is not None:
        given["min_votes"] = arguments.min_votes

    def fusion(names: tuple[str, ...]) -> Fusion | Method:
        if arguments.weights:
            if len(arguments.weights) != len(names):
                raise InputError(
                    f"--weights has {len(arguments.weights)} for {len(names)} files.",
                    hint=f"one for each file, in their order ({', '.join(names)}), with commas "
                    f"between: --weights {','.join(['1'] * len(names))}",
                )
            given["weights"] = dict(zip(names, arguments.weights, strict=True))
        if arguments.settings:
            return _checked(arguments.method, given, arguments.settings)
        return Method.named(arguments.method, **given)

    if arguments.method == "votes" and arguments.min_votes is None and not arguments.settings:
        raise InputError(
            "--method votes needs --min-votes.", hint="for example --method votes --min-votes 2"
        )
    return fusion


def _checked(method: str, given: dict[str, Any], settings: Sequence[str]) -> Fusion:
    """A method with any `--set KEY=VALUE` as in a spec, checked as there."""
    import yaml
    from pydantic import ValidationError

    from quorate.errors import InputError
    from quorate.spec.base import spec_error
    from quorate.spec.fusion import METHODS

    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(
                f"--set {setting}: expected KEY=VALUE.", hint="for example --set confidence=max"
            )
        given[key] = yaml.safe_load(value)
    try:
        return METHODS[method].parsed(given)
    except ValidationError as error:
        raise spec_error(error, given, origin="--set") from None


def _write(done: FusedFiles, out: str, format: str | None) -> list[str]:
    """Write the fused boxes; returns what is to be said of it."""
    if format is not None:
        from quorate.annotations import Annotations
        from quorate.formats import write

        return write(
            done.dataset, Annotations.from_detections(done.fused), out, format=format
        ).notes
    if out.endswith(".parquet"):
        from quorate.storage import writing

        labels, images = done.dataset.labels, done.dataset.images
        named = any(image.name != str(image.id) for image in images)
        with writing(out) as file:
            done.fused.to_parquet(
                file,
                labels=None if labels.bare else labels,
                pictures={image.id: image.name for image in images} if named else None,
            )
        return []
    from quorate.formats.coco.results_writing import write_results

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
        results = {name: done.found.of(name) for name in done.found.detectors}
        summary["metrics"], doubtful = _measured(results | {"fused": done.fused}, truth)
        notes += doubtful
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


def _measured(
    results: dict[str, Detections], truth: Dataset
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Each result's figures, and what is doubtful about them."""
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.doubts import doubts
    from quorate.evaluation.effort import effort

    names = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar100": "AR100"}
    metrics = {name: evaluate(boxes, truth) for name, boxes in results.items()}
    figures = {}
    for name, boxes in results.items():
        best = effort(boxes, truth)
        figures[name] = {title: getattr(metrics[name], key) for key, title in names.items()} | {
            "least edits": best.best.total,
            "from score": best.best_score,
        }
    return figures, doubts(results, truth, metrics=metrics, ensemble="fused")
