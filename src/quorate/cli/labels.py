"""quorate evaluate of labels: files of classifications beside true labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cli.output import note, print_table, written_as_json
from quorate.errors import InputError, QuorateError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from quorate.classifications import Classifications
    from quorate.evaluation.classes import ClassMetrics

DECIDED = "decided"


def evaluate(arguments: argparse.Namespace, files: Sequence[str]) -> None:
    """Print how often what was decided is right, and what each member says.

    The files are parts of one result, such as the shards of a run; pictures are matched by name.
    InputError where a picture stands in two of them, or none has a true label.
    """
    from quorate.evaluation.classes import evaluate_classes, truth_from_csv, truth_of
    from quorate.storage import read_bytes

    table, names = _read(files)
    labels = table.labels
    if arguments.truth.lower().endswith(".csv"):
        place = arguments.truth
        true, source = truth_from_csv(read_bytes(place), place, labels), place
    else:
        from quorate.formats import read

        dataset = read(arguments.truth)
        by_id, source = truth_of(dataset, dataset.images, labels)
        called = {image.id: image.file_name for image in dataset.images}
        true = {called[i]: position for i, position in by_id.items()}
    truth = {
        i: true[name]
        for i, name in zip(table.image_id.tolist(), names, strict=True)
        if name in true
    }
    if not truth:
        raise InputError(
            f"{arguments.truth}: tells the true label of none of these pictures.",
            hint="the truth is tags (CVAT), folders that are called as labels, or a CSV file of "
            "file_name,label",
        )
    note(f"note: {len(truth):,} of {len(table):,} pictures have a true label, by {source}")
    found = {DECIDED: evaluate_classes(table, truth)}
    if len(table.members) > 1:
        found |= {one: evaluate_classes(table, truth, member=one) for one in table.members}
    values = [{"result": name} | metrics.to_dict() for name, metrics in found.items()]
    if not written_as_json(values, arguments.out, as_json=arguments.json):
        _print(found, per_label=arguments.per_category)


def are_classifications(path: str) -> bool:
    """Whether a Parquet file is one of classifications; False for any other file, and none."""
    from io import BytesIO

    import pyarrow as pa
    import pyarrow.parquet as pq

    from quorate.classifications import METADATA
    from quorate.storage import read_bytes

    try:
        return METADATA in (pq.read_schema(BytesIO(read_bytes(path))).metadata or {})
    except (pa.ArrowException, OSError, QuorateError):
        return False


def _read(files: Sequence[str]) -> tuple[Classifications, list[str]]:
    """One table of all files, and the pictures' names in its order, numbered anew."""
    from collections import Counter
    from dataclasses import replace
    from io import BytesIO

    import numpy as np

    from quorate.classifications import Classifications
    from quorate.columns import read_table
    from quorate.detections import words_of_table
    from quorate.storage import read_bytes

    parts, names = [], list[str]()
    for file in files:
        arrow = read_table(BytesIO(read_bytes(file)))
        part = Classifications.from_arrow(arrow, origin=file)
        words = words_of_table(arrow, "file_name") if len(part) else ([], np.empty(0, np.int64))
        if words is None:
            raise InputError(f"{file}: does not name its pictures.")
        parts.append(part)
        names += [words[0][i] for i in words[1].tolist()]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(
                f"'{name}' stands in two of the files.", hint="give the parts of one result alone"
            )
    whole = Classifications.concat(parts)
    return replace(whole, image_id=np.arange(len(whole))), names


def _print(found: dict[str, ClassMetrics], *, per_label: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"result": name, "pictures": one.pictures, "accuracy": one.accuracy, "top 5": one.top(5)}
        for name, one in found.items()
    ]
    print_table(rows)
    if not per_label:
        return
    decided = found[DECIDED]
    table = [
        {"label": label, **figures}
        for label, figures in decided.to_dict()["labels"].items()
        if figures["pictures"] or figures["precision"] is not None
    ]
    print_table(table, title=DECIDED)
