"""quorate convert: annotations from one format to another."""

from __future__ import annotations

import argparse
from typing import Any

from quorate.cli.output import listed, note, notes
from quorate.errors import InputError

OPTIONS = ("decimals", "name", "dumped", "renumber", "confidence", "polygons", "pictures")
"""What the formats' own `write` takes, under the same names."""


def add_commands(commands: Any) -> None:
    """Add this command."""
    convert = commands.add_parser("convert")
    add = convert.add_argument
    add("source", help="folder, ZIP archive, S3 prefix or annotation file")
    add("target", help="folder, .zip or file to write")
    add(
        "--to",
        required=True,
        help="format to write: cvat, coco, voc, yolo, mot, tfrecord, …",
    )
    add("--from", dest="source_format", help="format to read (default: found out)")
    decimals = "of coordinates, for all but yolo and tfrecord (default: 2, for coco 3)"
    add("--decimals", type=int, choices=range(10), metavar="0..9", help=decimals)
    add("--name", help="of the task, for cvat (default: the data set's)")
    add("--dumped", help="the time to be stated, for cvat (default: none)")
    for flag, what in (
        ("--renumber", "number categories from 1 without gaps, for coco"),
        ("--confidence", "add the score as a sixth number, for yolo"),
        ("--polygons", "write outlines instead of boxes, for yolo"),
        ("--pictures", "write the pictures into it, for tfrecord"),
    ):
        add(flag, action="store_true", help=what)
    convert.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> None:
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
