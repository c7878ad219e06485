"""quorate convert: annotations from one format to another."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def add_commands(commands: Any) -> None:
    """Add this command."""
    convert = commands.add_parser("convert")
    convert.add_argument("source", help="folder, ZIP archive, S3 prefix or annotation file")
    convert.add_argument("target", help="folder, .zip or file to write")
    convert.add_argument("--to", required=True, help="format to write: cvat, coco, voc, yolo, …")
    convert.add_argument("--from", dest="source_format", help="format to read (default: found out)")
    convert.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import listed, note, notes
    from quorate.errors import InputError
    from quorate.formats import read, write

    dataset = read(arguments.source, format=arguments.source_format)
    if dataset.annotations is None:
        raise InputError(f"{arguments.source}: only pictures, no annotations to convert.")
    written = write(dataset, dataset.annotations, arguments.target, format=arguments.to)
    notes((*dataset.notes, *written.notes))
    note(f"{len(dataset.images):,} pictures, {len(dataset.annotations):,} annotations")
    for file in listed(written.files):
        print(file)
