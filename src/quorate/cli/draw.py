"""quorate draw: pictures with boxes on them."""

from __future__ import annotations

import argparse
from typing import Any

from quorate.cli.arguments import add_labels, read_files, share
from quorate.cli.output import note, progress_bars, warn
from quorate.errors import InputError


def add_commands(commands: Any) -> None:
    """Add this command."""
    draw = commands.add_parser(
        "draw",
        description="Draw boxes on pictures, a file each. Where the data set has annotations and "
        "results are given, each box says what is to be done to it.",
    )
    add = draw.add_argument
    add("data", help="folder of pictures, or a data set: COCO, CVAT, VOC or YOLO")
    add("results", nargs="?", help="detections to draw (default: the data set's annotations)")
    add("-o", "--out", required=True, help="folder to write the pictures to")
    add(
        "--min-score", type=share, default=0.25, help="draw boxes from this score on (default 0.25)"
    )
    add("--only", metavar="NAME", help="only pictures of this name; a glob: 'cam1/*'")
    add("--errors", action="store_true", help="only pictures on which something is to be done")
    add_labels(draw)
    draw.set_defaults(command=_draw)


def _draw(arguments: argparse.Namespace) -> None:
    from dataclasses import replace
    from fnmatch import fnmatchcase

    from quorate.formats import read
    from quorate.report.drawn import draw_pictures

    dataset = read(arguments.data)
    found = None
    if arguments.results:
        [one] = read_files([arguments.results], dataset, arguments).values()
        found, dataset = one.detections, replace(dataset, labels=one.labels)
    elif dataset.annotations is None:
        raise InputError(
            f"{arguments.data}: has pictures but nothing to draw on them.",
            hint="name detections as well: quorate draw pictures/ yolo.json -o drawn/",
        )
    if arguments.errors and (found is None or dataset.annotations is None):
        raise InputError(
            "--errors needs detections and a data set with annotations, the truth.",
            hint="quorate draw instances.json yolo.json --errors -o drawn/",
        )
    with progress_bars() as report:
        done = draw_pictures(
            dataset,
            arguments.out,
            found,
            min_score=arguments.min_score,
            errors=arguments.errors,
            wanted=lambda image: not arguments.only or fnmatchcase(image.name, arguments.only),
            progress=lambda drawn, total: report("draw", drawn, total),
        )
    for name, reason in done.skipped:
        warn(f"left out: {name}: {reason}")
    note(f"wrote: {len(done.files):,} pictures to {arguments.out}")
