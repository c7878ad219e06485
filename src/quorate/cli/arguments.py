"""What commands are given on the command line: numbers, pairs, and files of detections."""

from __future__ import annotations

import argparse
from argparse import ArgumentTypeError
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quorate.cli.output import notes
from quorate.errors import InputError

if TYPE_CHECKING:
    from quorate.dataset import Dataset
    from quorate.formats.detections.reading import DetectionFile

RESULTS = (
    "detections: COCO results (.json, .json.gz, - for standard input), .parquet, .csv, a VOC or "
    "YOLO folder, mmdetection's preds/, CVAT XML; local or s3://; globs"
)


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a number") from None


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0.0 <= value <= 1.0:
        raise ArgumentTypeError(f"{text} is not within 0..1")
    return value


def count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)


def method(text: str) -> str:
    """A method's name however it is written: `Soft-NMS` is `soft_nms`."""
    return text.lower().replace("-", "_")


def pairs(
    option: str, given: Iterable[str], form: str, example: str | None = None
) -> dict[str, str]:
    """What an option that may be repeated was given, as `form` says it: NAME=VALUE."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise InputError(f"{option} {one}: expected {form}.", hint=example)
        if name in found:
            raise InputError(f"{option} {name} is given twice.")
        found[name] = value
    return found


def expanded(patterns: Sequence[str]) -> list[str]:
    """Files, with globs that the shell left alone expanded in sorted order."""
    import glob
    import os

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


def add_labels(command: argparse.ArgumentParser) -> None:
    """Add `--labels`."""
    command.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="FILE=WHAT",
        help="what a file means by its categories: pairs (1:bird,2:fish), a file of names, "
        "COCO's JSON, a spec, or coco; 0:names.txt numbers the first name 0; may be repeated, or "
        "have several with ; between them",
    )


def labels_told(arguments: argparse.Namespace) -> dict[str, str]:
    """File -> what `--labels` says of it."""
    example = "for example --labels yolo.json=names.txt, or yolo.json=1:bird,2:fish"
    each = (one.strip() for text in arguments.labels for one in text.split(";"))
    return pairs("--labels", filter(None, each), "FILE=WHAT", example)


def read_files(
    files: Sequence[str], dataset: Dataset, arguments: argparse.Namespace
) -> dict[str, DetectionFile]:
    """Each file of detections of a data set's pictures, by the name its detector gets.

    What is odd about a file is said on standard error.
    """
    from quorate.offline import detector_names, read_worded
    from quorate.wording import wordings

    names = detector_names(files)
    said = wordings(labels_told(arguments), files, names)
    found = {}
    for name, file in zip(names, files, strict=True):
        found[name] = read_worded(file, dataset, said.get(file), name)
        notes(found[name].notes)
    return found
