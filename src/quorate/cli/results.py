"""Files of detections as commands are given them: what may be named, and reading it."""

from __future__ import annotations

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from quorate.dataset import Dataset
    from quorate.detections import Detections

RESULTS = (
    "detections: COCO results (.json, .json.gz, - for standard input), .parquet, a VOC or YOLO "
    "folder, CVAT XML; local or s3://; globs"
)


def expanded(patterns: Sequence[str]) -> list[str]:
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


def add_labels(command: argparse.ArgumentParser) -> None:
    """Add `--labels`."""
    command.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="FILE=WHAT",
        help="what a file means by its categories: pairs (1:bird,2:fish), a file of names, "
        "COCO's JSON or a spec; 0:names.txt numbers the first name 0; may be repeated",
    )


def labels_told(arguments: argparse.Namespace) -> dict[str, str]:
    """File -> what `--labels` says of it."""
    from quorate.errors import InputError

    told = {}
    for text in arguments.labels:
        file, equals, what = text.partition("=")
        if not equals or not file or not what:
            raise InputError(
                f"--labels {text}: expected FILE=WHAT.",
                hint="for example --labels yolo.json=names.txt, or yolo.json=1:bird,2:fish",
            )
        told[file] = what
    return told


def read_results(
    files: Sequence[str], truth: Dataset, labels: Mapping[str, str]
) -> dict[str, Detections]:
    """Each file's detections of the truth's pictures, by the name its detector gets.

    `labels` says what files mean by their categories. What is odd about a file is said on
    standard error.
    """
    from quorate.cli.output import note
    from quorate.offline import detector_names, read_worded
    from quorate.wording import wordings

    files = expanded(files)
    names = detector_names(files)
    said = wordings(labels, files, names)
    found = {}
    for name, file in zip(names, files, strict=True):
        one = read_worded(file, truth, said.get(file), name)
        found[name] = one.detections
        for remark in one.notes:
            note(f"note: {remark}")
    return found
