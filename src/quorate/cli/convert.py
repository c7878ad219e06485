"""quorate convert: annotations from one format to another."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


OPTIONS = ("decimals", "name", "dumped", "renumber", "confidence", "polygons")
"""What the formats' own `write` takes, under the same names."""


def add_commands(commands: Any) -> None:
    """Add this command."""
    convert = commands.add_parser("convert")
    convert.add_argument("source", help="folder, ZIP archive, S3 prefix or annotation file")
    convert.add_argument("target", help="folder, .zip or file to write")
    convert.add_argument("--to", required=True, help="format to write: cvat, coco, voc, yolo, …")
    convert.add_argument("--from", dest="source_format", help="format to read (default: found out)")
    convert.add_argument(
        "--decimals",
        type=int,
        choices=range(10),
        metavar="0..9",
        help="of coordinates, for cvat, coco and voc (default: 2, for coco 3)",
    )
    convert.add_argument("--name", help="of the task, for cvat (default: the data set's)")
    convert.add_argument("--dumped", help="the time to be stated, for cvat (default: none)")
    convert.add_argument(
        "--renumber", action="store_true", help="number categories from 1 without gaps, for coco"
    )
    convert.add_argument(
        "--confidence", action="store_true", help="add the score as a sixth number, for yolo"
    )
    convert.add_argument(
        "--polygons", action="store_true", help="write outlines instead of boxes, for yolo"
    )
    convert.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import listed, note, notes
    from quorate.errors import InputError
    from quorate.formats import read, write

    dataset = read(arguments.source, format=arguments.source_format)
    if dataset.annotations is None:
        raise InputError(f"{arguments.source}: only pictures, no annotations to convert.")
    options = {
        name: value
        for name in OPTIONS
        if (value := getattr(arguments, name)) is not None and value is not False
    }
    written = write(dataset, dataset.annotations, arguments.target, format=arguments.to, **options)
    notes((*dataset.notes, *written.notes))
    note(f"{len(dataset.images):,} pictures, {len(dataset.annotations):,} annotations")
    for file in listed(written.files):
        print(file)
