"""quorate fuse: files of detections in, one out; no detector at work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import (
    RESULTS,
    add_labels,
    count,
    expanded,
    labels_told,
    method,
    number,
    pairs,
    share,
)
from quorate.cli.output import note, notes, output_file, print_json, print_table, progress_bars
from quorate.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quorate.dataset import Dataset
    from quorate.detections import Detections
    from quorate.fusion.rules import Method
    from quorate.offline import FusedFiles
    from quorate.spec import Fusion

METHODS = ("affirmative", "consensus", "unanimous", "votes", "wbf", "nms", "soft_nms", "nmw", "nmm")
ENDINGS = {"": ".json", "coco": ".json", "cvat": ".xml"}
"""Of what fits into one file, as standard output (-o -) asks for."""
ANNOTATIONS = ("cvat", "coco", "voc", "yolo")
MEASURES = ("ap", "ap50", "ap75", "ar100")


def add_commands(commands: Any) -> None:
    """Add this command."""
    fuse = commands.add_parser(
        "fuse", description="Fuse one file of detections for each detector; any mixture of formats."
    )
    add = fuse.add_argument
    add("files", nargs="+", help=RESULTS)
    add("-o", "--out", required=True, help=".json, .json.gz or .parquet to write, - for standard "
        "output; with --format a folder, .zip or file")  # fmt: skip
    add("--format", choices=ANNOTATIONS, help="write annotations of this format")
    add("--method", choices=METHODS, type=method, default="wbf", help="default: wbf")
    add("--iou", type=share, help="boxes overlap above this (default: the method's)")
    add("--min-score", type=share, help="boxes that score less take no part")
    add("--weights", type=_weights, help="one for each file, with commas between: 2,1")
    add("--min-votes", type=count, help="votes a group needs; before another method than `votes`, "
        "as a filter")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="any other setting of the method, as in a spec")  # fmt: skip
    add(
        "--images",
        help="COCO, CVAT … data set whose pictures and labels are meant, in whose order the boxes "
        "are written; or a .txt file with a picture's name or id in each line",
    )
    add_labels(fuse)
    add("--evaluate", metavar="TRUTH", help="measure the result against this truth")
    add("--json", action="store_true", help="print the summary as JSON")
    fuse.set_defaults(command=_fuse)


def _weights(text: str) -> list[float]:
    values = [number(one) for one in text.split(",")]
    if not all(0.0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text}: a weight is a number above 0")
    return values


def _fuse(arguments: argparse.Namespace) -> None:
    with output_file(arguments.out, ENDINGS.get(arguments.format or "", "")) as out:
        _fuse_into(out, arguments)


def _fuse_into(out: str, arguments: argparse.Namespace) -> None:
    from quorate.offline import fuse_files
    from quorate.storage.owner import owned_output

    files = expanded(arguments.files)
    _check_output(arguments.out, arguments.format, files)
    dataset, truth = _pictures(arguments.images), _pictures(arguments.evaluate)
    with progress_bars() as report:
        done = fuse_files(
            files,
            _fusion(arguments),
            dataset=truth if arguments.images is None else dataset,
            labels=labels_told(arguments),
            min_votes=None if arguments.method == "votes" else arguments.min_votes,
            progress=lambda name, read, size: report(f"{name}, MB", read >> 20, size >> 20),
        )
        with owned_output(out):
            written = _write(done, out, arguments.format)
    summary = _summary(done, arguments, files, truth)
    summary["notes"] += written
    if arguments.json:
        print_json(summary)
        return
    counts = {one["name"]: one["boxes"] for one in summary["files"]}
    rows = [
        {"": name, "boxes": boxes} | summary["metrics"].get(name, {})
        for name, boxes in (*counts.items(), ("fused", summary["boxes"]["out"]))
    ]
    print_table(rows, title=f"{summary['method']} → {summary['out']}")
    votes = ", ".join(f"{n:,} with {v}" for v, n in summary["votes"].items())
    note(f"{summary['pictures']:,} pictures; boxes by votes: {votes or 'none'}")
    notes(summary["notes"])


def _pictures(location: str | None) -> Dataset | None:
    from quorate.formats import read
    from quorate.offline import picture_list

    if not location:  # a form that a person left empty gives an empty word
        return None
    return picture_list(location) if location.lower().endswith(".txt") else read(location)


def _check_output(out: str, format: str | None, files: Sequence[str]) -> None:
    """Refuse what cannot be written before anything is read."""
    if out in files:
        raise InputError(
            f"{out}: is read and written by the same command.",
            hint="a glob may have found the result of an earlier run; write it elsewhere",
        )
    if files.count("-") > 1:
        raise InputError("Standard input (-) is given twice, but can be read once.")
    if out == "-" and (format or "") not in ENDINGS:
        raise InputError(
            f"-o -: annotations of {format} are more than one file.",
            hint="write them to a folder or a .zip; cvat and coco fit into one file",
        )
    if format is None and out != "-" and not out.endswith((".parquet", ".json", ".json.gz")):
        raise InputError(
            f"{out}: written are .json, .json.gz (COCO results) and .parquet.",
            hint=f"--format {'|'.join(ANNOTATIONS)} writes annotations",
        )


def _fusion(arguments: argparse.Namespace) -> Callable[[tuple[str, ...]], Fusion | Method]:
    """The method and its settings, once the detectors' names are known."""
    from quorate.fusion.rules import Method

    names = ("iou", "min_score", *(("min_votes",) if arguments.method == "votes" else ()))
    given = {key: value for key in names if (value := getattr(arguments, key)) is not None}
    if arguments.method == "votes" and "min_votes" not in given and not arguments.settings:
        raise InputError(
            "--method votes needs --min-votes.", hint="for example --method votes --min-votes 2"
        )

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

    return fusion


def _checked(method: str, given: dict[str, Any], settings: Sequence[str]) -> Fusion:
    """A method with any `--set KEY=VALUE` as in a spec, checked as there."""
    import yaml
    from pydantic import ValidationError

    from quorate.spec.base import spec_error
    from quorate.spec.fusion import METHODS

    said = pairs("--set", settings, "KEY=VALUE", "for example --set confidence=max")
    given |= {key: yaml.safe_load(value) for key, value in said.items()}
    try:
        return METHODS[method].parsed(given)
    except ValidationError as error:
        raise spec_error(error, given, origin="--set") from None


def _write(done: FusedFiles, out: str, format: str | None) -> list[str]:
    """Write the fused boxes; returns what is to be said of it."""
    from quorate.annotations import Annotations
    from quorate.formats import write
    from quorate.formats.coco.results_writing import write_results
    from quorate.storage import writing

    if format is not None:
        drawn = Annotations.from_detections(done.fused)
        return write(done.dataset, drawn, out, format=format).notes
    if out.endswith(".parquet"):
        labels, images = done.dataset.labels, done.dataset.images
        named = any(image.name != str(image.id) for image in images)
        with writing(out) as file:
            done.fused.to_parquet(
                file,
                labels=None if labels.bare else labels,
                pictures={image.id: image.name for image in images} if named else None,
            )
        return []
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


def _measured(
    results: dict[str, Detections], truth: Dataset
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Each result's figures, and what is doubtful about them."""
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.doubts import doubts
    from quorate.evaluation.effort import effort

    metrics = {name: evaluate(boxes, truth) for name, boxes in results.items()}
    figures = {}
    for name, boxes in results.items():
        best = effort(boxes, truth)
        figures[name] = {key.upper(): getattr(metrics[name], key) for key in MEASURES} | {
            "least edits": best.best.total,
            "from score": best.best_score,
        }
    return figures, doubts(results, truth, metrics=metrics, ensemble="fused")
