"""Labels of whole pictures, written: as a table (CSV), and as JSON in COCO's style.

COCO has no labels of whole pictures. The JSON has the layout that Datumaro calls `coco_labels`,
and reads: COCO's `images` and `categories`, and `annotations` of `id`, `image_id`, `category_id`
and `score` alone, without a box, in `annotations/labels_SUBSET.json`.

Both are written a part at a time: no more is in memory than that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from quorate.classifications import Classifications
from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.formats.base import Written, open_target
from quorate.formats.coco.writing import write_file

Part = tuple[Sequence[Image], Classifications]
"""Pictures, and what was decided on them; of a picture that could not be read there is no row."""


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of one."""


def write_csv(parts: Iterable[Part], target: str, *, members: Sequence[str], top: int) -> Written:
    """Write `labels.csv` below a folder, or one file where `target` is `….csv`.

    One line for each picture that has a label, in the data set's order:

        file_name, label, probability, votes       as decided
        index                                      the label's position in the vocabulary, from 0
        label_2, probability_2, …                  the next likeliest, `top` in all
        NAME, NAME_probability                     each member's first choice; empty without one

    Numbers have six decimals. A cell that a spreadsheet would take for a formula begins with an
    apostrophe.
    """
    with open_target(target, single=".csv") as out, out.create("labels.csv") as file:
        file.write(csv_line(_head(members, top)))
        for images, table in parts:
            file.write(b"".join(map(csv_line, _rows(images, table, members, top))))
    return Written(files=out.files, notes=[])


def _head(members: Sequence[str], top: int) -> list[str]:
    further = [f"{word}_{i}" for i in range(2, top + 1) for word in ("label", "probability")]
    own = [cell for name in members for cell in (name, f"{name}_probability")]
    return ["file_name", "label", "probability", "votes", "index", *further, *own]


def _rows(
    images: Sequence[Image], table: Classifications, members: Sequence[str], top: int
) -> Iterable[list[str]]:
    place = positions_in(table.image_id, np.array([image.id for image in images], np.int64))
    most = min(top, len(table.labels))
    for image, row in zip(images, place.tolist(), strict=True):
        if row < 0:
            continue
        first, *others = table.top(row, most)
        cells = [image.name, first.label, _number(first.probability)]
        cells += [str(int(table.votes[row])), str(first.index)]
        for one in others:
            cells += [one.label, _number(one.probability)]
        cells += [""] * (2 * (top - most))
        for name in members:
            own = table.top_of(row, name, 1) if name in table.members else ()
            cells += [own[0].label, _number(own[0].probability)] if own else ["", ""]
        yield cells


def _number(value: float) -> str:
    return f"{value:.6f}"


def csv_line(cells: Sequence[object]) -> bytes:
    """A line of CSV; text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells
    )
    return text.getvalue().encode()


def write_coco_labels(
    dataset: Dataset, parts: Callable[[], Iterable[Part]], target: str, *, lowest: float = 0.0
) -> Written:
    """Write `annotations/labels_default.json`, or one bare file where `target` is `….json`.

    `parts` begins anew at each call. A label less probable than `lowest` is left out, its picture
    is not. A picture's subset, where there are several, names the file that it is in.
    """
    subsets = list(dict.fromkeys(image.subset for images, _ in parts() for image in images))
    single = target.lower().endswith(".json")
    numbers = count(1)
    with open_target(target, single=".json") as out:
        for subset in [None] if single else subsets or [""]:
            with out.create(f"annotations/labels_{subset or 'default'}.json") as file:
                write_file(
                    file,
                    dataset,
                    (_of(subset, images) for images, _ in parts()),
                    (
                        _found(_of(subset, images), table, lowest, numbers)
                        for images, table in parts()
                    ),
                )
    return Written(files=out.files, notes=[])


def _of(subset: str | None, images: Sequence[Image]) -> list[Image]:
    """The pictures of a subset; None: all."""
    return [image for image in images if subset in (None, image.subset)]


def _found(
    images: Sequence[Image], table: Classifications, lowest: float, numbers: Iterator[int]
) -> list[dict[str, Any]]:
    """The annotations of pictures, numbered in turn."""
    of = {image.id for image in images}
    columns = (table.image_id, table.category_id, table.probability)
    return [
        {
            "id": next(numbers),
            "image_id": image_id,
            "category_id": category_id,
            "score": round(probability, 6),
        }
        for image_id, category_id, probability in zip(
            *(column.tolist() for column in columns), strict=True
        )
        if image_id in of and probability >= lowest
    ]
