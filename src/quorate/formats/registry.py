"""The formats by name, and reading and writing through whichever fits."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from inspect import Parameter, signature
from typing import Any

from quorate.annotations import Annotations
from quorate.columns import positions_in
from quorate.dataset import Dataset
from quorate.errors import FormatError, InputError, did_you_mean
from quorate.formats import (
    coco,
    cvat,
    datumaro,
    datumaro_json,
    folder,
    labelme,
    mot,
    tfrecord,
    unread,
    voc,
    yolo,
)
from quorate.formats.base import Format, Source, Written, is_picture, open_source
from quorate.formats.coco.json_faults import keys_of
from quorate.formats.places import checked

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("cvat", "an XML file with <annotations>", cvat.recognise, cvat.read, cvat.write),
        Format("coco", "annotations/instances_*.json", coco.recognise, coco.read, coco.write),
        Format("yolo", "data.yaml, obj.data or classes.txt", yolo.recognise, yolo.read, yolo.write),
        Format("voc", "XML files with <annotation>", voc.recognise, voc.read, voc.write),
        Format("mot", "gt/gt.txt", mot.recognise, mot.read, mot.write),
        Format(
            "labelme",
            "XML files with <annotation> and <imagesize>",
            labelme.recognise,
            labelme.read,
            labelme.write,
        ),
        Format(
            "datumaro",
            "annotations/*.json with `items`",
            datumaro_json.recognise,
            datumaro_json.read,
        ),
        Format(
            "tfrecord", "*.tfrecord or *.record", tfrecord.recognise, tfrecord.read, tfrecord.write
        ),
        Format("folder", "pictures", folder.recognise, folder.read),
    )
}
"""Every format by name, in the order in which they are looked for."""

READS = tuple(FORMATS)
DATUMARO = "datumaro:"
WRITES = tuple(name for name, entry in FORMATS.items() if entry.write)


def read(
    location: str | os.PathLike[str],
    *,
    format: str | None = None,
    pictures: Dataset | None = None,
) -> Dataset:
    """The data set at a folder, a ZIP archive, an S3 prefix, or in one annotation file.

    It may be pictures alone, chosen by name: one picture, a glob, a `.txt` file that lists them.
    Without `format`, the first of `FORMATS` that recognises the place reads it. `pictures` are
    those that lie elsewhere: YOLO's boxes are parts of their sides, and frames of MOT and of CVAT's
    videos are counted along them. The data set's own files stay named as they are.

    Raises InputError where there is nothing or nothing known, FormatError for a file that does
    not keep its format, LabelError for labels that contradict each other.
    """
    source = folder.chosen(os.fspath(location)) or open_source(
        location, enter=not (format or "").startswith(DATUMARO)
    )
    if pictures is not None:
        names = source.tree.names() if source.single else source.names
        source = replace(source, pictures=None if any(map(is_picture, names)) else pictures)
    with source.tree:
        if not source.names:
            raise InputError(f"{source.location}: the folder is empty.")
        entry = _recognised(source) if format is None else _named(format)
        dataset = entry.read(source)
        notes = (*source.notes, *source.tree.notes, *dataset.notes)
        return checked(replace(dataset, notes=notes), origin=source.location)


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str | os.PathLike[str],
    *,
    format: str,
    **options: Any,
) -> Written:
    """Write annotations of a data set's pictures to a folder, a ZIP archive or one file.

    The pictures themselves are not copied. `options` are the format's own: see its `write`.

    Raises InputError for a format that is not written, for an option that it does not have, for
    names or labels it cannot hold, or annotations of other pictures than the data set's, LabelError
    for a category that its vocabulary lacks; nothing new is then left in a local folder.
    """
    entry = _named(format)
    if entry.write is None:
        raise InputError(f"The format '{format}' is only read; written are {', '.join(WRITES)}.")
    parameters = signature(entry.write).parameters.values() if format in FORMATS else ()
    known = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise InputError(
                f"The format '{format}' has no option '{option}'"
                + (f"; it has {', '.join(known)}." if known else ", nor any other."),
                hint=did_you_mean(option, known),
            )
    dataset.labels.places(annotations.category_id)
    if (positions_in([image.id for image in dataset.images], annotations.image_id) < 0).any():
        raise InputError("There are annotations of pictures that are not in the data set.")
    return entry.write(dataset, annotations, os.fspath(target), **options)


def _recognised(source: Source) -> Format:
    for entry in FORMATS.values():
        if entry is FORMATS["folder"]:
            unread.refuse(source)
        if entry.recognise(source):
            return entry
    looked_for = "; ".join(f"{e.name}: {e.looked_for}" for e in FORMATS.values())
    first = source.names[0]
    if source.location.endswith(first):  # the file itself
        said = keys_of(source.tree.read(first), source.location) if first.endswith("json") else ""
        raise FormatError(
            f"{source.location}: of no known format{said}.",
            hint=f"looked for {looked_for}; of detections, a list in a .json file: "
            '[{"image_id": …, "category_id": …, "bbox": [x, y, width, height], "score": …}, …]',
        )
    raise FormatError(
        f"{source.location}: of no known format ({len(source.names):,} files, the first '{first}')."
        if len(source.names) > 1
        else f"{source.location}: of no known format (one file, '{first}').",
        hint=f"looked for {looked_for}",
    )


def _named(name: str) -> Format:
    if name.startswith(DATUMARO):
        theirs = name.removeprefix(DATUMARO)
        return Format(
            name,
            "",
            recognise=lambda source: True,
            read=partial(datumaro.read, name=theirs),
            write=partial(datumaro.write, name=theirs),
        )
    if name not in FORMATS:
        raise InputError(
            f"There is no format '{name}'; there are {', '.join(FORMATS)}, and datumaro:NAME.",
            hint=did_you_mean(name, FORMATS),
        )
    return FORMATS[name]
