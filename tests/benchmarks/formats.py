"""How fast annotation files are read and written: CVAT XML and COCO against datumaro.

    python tests/benchmarks/formats.py [--pictures 5000] [--json FILE]

The ratios are from one run on one machine, in processor time, the best of several: 20 boxes a
picture, each with votes and a score. Both read the same files, and write the same shapes to the
same formats. Datumaro wants the pictures to be there, so one small picture is linked many times.
COCO results are read against a plain loop: msgspec decodes the same file into typed objects,
which fill columns.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec
import numpy as np
from PIL import Image as Pillow
from rich.console import Console
from rich.table import Table

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import FUSED, Detections
from quorate.formats import read, write, write_results
from quorate.formats.coco.results_reading import read_results
from quorate.labels import Labels

BOXES = 20


def made(pictures: int) -> tuple[Dataset, Detections]:
    """Pictures in sub-folders with 20 fused boxes each."""
    random = np.random.default_rng(0)
    n = pictures * BOXES
    corner = random.uniform(0, 400, (n, 2))
    return (
        Dataset(
            root="",
            images=tuple(
                Image(i, f"camera {i % 50:02d}/picture {i:06d}.jpg", 640, 480)
                for i in range(1, pictures + 1)
            ),
            labels=Labels.from_names(f"label {i}" for i in range(20)),
        ),
        Detections.build(
            image_id=np.repeat(np.arange(1, pictures + 1), BOXES),
            category_id=random.integers(1, 21, n),
            xyxy=np.hstack([corner, corner + random.uniform(5, 80, (n, 2))]),
            score=random.random(n),
            detector=FUSED,
            votes=random.integers(1, 6, n),
            detectors=("a", "b", "c"),
        ),
    )


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least processor time of several runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def measure(pictures: int, repeats: int) -> list[dict[str, Any]]:
    """One row for each kind of work."""
    import datumaro as dm

    dataset, detections = made(pictures)
    # Datumaro tells the pictures of CVAT XML apart by their frames.
    frames = [msgspec.structs.replace(image, source_id=image.id) for image in dataset.images]
    numbered = replace(dataset, images=tuple(frames))
    shapes = Annotations.from_detections(detections, attributes=("votes", "score"))
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # datumaro's own
        root = Path(folder)
        Pillow.new("RGB", (640, 480)).save(root / "picture.jpg")
        for image in dataset.images:
            link = root / "images" / image.file_name
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / "picture.jpg", link)
        for format, theirs in (("cvat", "cvat"), ("coco", "coco_instances")):
            write(numbered, shapes, root, format=format)
            place = str(root / "annotations.xml") if format == "cvat" else str(root)
            if format == "cvat":
                rows.append(cvat_against_expat(root, repeats))
            imported = dm.Dataset.import_from(place, theirs)
            list(imported)

            def export(theirs: str = theirs, imported: Any = imported) -> None:
                # Another target each time: what was exported before is not written again.
                target = tempfile.mkdtemp(dir=folder)
                made = dm.Dataset.from_iterable(imported, categories=imported.categories())
                made.export(target, theirs, save_media=False)

            def load(theirs: str = theirs, place: str = place) -> None:
                list(dm.Dataset.import_from(place, theirs))

            name = format.upper()
            rows += [
                {
                    "work": f"read {name}",
                    "ours": seconds(lambda f=format: read(root, format=f), repeats),  # type: ignore[misc]
                    "theirs": seconds(load, 2),
                    "peer": "datumaro",
                },
                {
                    "work": f"write {name}",
                    "ours": seconds(
                        lambda f=format: write(dataset, shapes, root / "ours", format=f),  # type: ignore[misc]
                        repeats,
                    ),
                    "theirs": seconds(export, 2),
                    "peer": "datumaro",
                },
            ]
        results = str(root / "results.json")
        write_results(detections, results)
        data = Path(results).read_bytes()
        rows.append(
            {
                "work": "read COCO results",
                "ours": seconds(lambda: read_results(results), repeats),
                "theirs": seconds(lambda: plain_columns(results), repeats),
                "peer": "msgspec, plain (≥ 0.77)",
            }
        )
        rows.append(
            {
                "work": "write COCO results",
                "ours": seconds(lambda: write_results(detections, results), repeats),
                "theirs": seconds(lambda: json.dumps(msgspec.json.decode(data)), repeats),
                "peer": "json",
            }
        )
    return [row | {"ratio": row["theirs"] / row["ours"]} for row in rows]


class _Result(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def plain_cvat(path: Path) -> tuple[list[Any], list[Any], list[Any]]:
    """Pictures, boxes and attributes of a CVAT XML file, by a plain loop over expat."""
    images: list[Any] = []
    boxes: list[Any] = []
    attributes: list[Any] = []
    name = text = ""

    def start(tag: str, values: dict[str, str]) -> None:
        nonlocal name, text
        if tag == "image":
            images.append((values["name"], int(values["width"]), int(values["height"])))
        elif tag == "box":
            corners = [float(values[side]) for side in ("xtl", "ytl", "xbr", "ybr")]
            boxes.append((len(images), values["label"], values["source"], *corners))
        elif tag == "attribute":
            name, text = values.get("name", ""), ""

    def characters(data: str) -> None:
        nonlocal text
        text += data

    def end(tag: str) -> None:
        if tag == "attribute":
            attributes.append((len(boxes), name, text))

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    with path.open("rb") as file:
        parser.ParseFile(file)
    return images, boxes, attributes


def cvat_against_expat(root: Path, repeats: int) -> dict[str, Any]:
    """The row that holds reading CVAT XML to a plain loop over the same file, by turns."""
    place = root / "annotations.xml"
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(seconds(lambda: plain_cvat(place), 1))
        ours.append(seconds(lambda: read(place, format="cvat"), 1))
    return {"work": "read CVAT", "ours": min(ours), "theirs": min(theirs), "peer": "plain expat"}


def plain_columns(path: str) -> list[Any]:
    """The columns of a results file, as a few plain lines read them."""
    rows = msgspec.json.decode(Path(path).read_bytes(), type=list[_Result])
    return [
        np.array([row.image_id for row in rows], np.int64),
        np.array([row.category_id for row in rows], np.int32),
        np.array([row.bbox for row in rows], np.float32),
        np.array([row.score for row in rows], np.float32),
    ]


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.pictures, arguments.repeats)
    table = Table(title=f"{arguments.pictures} pictures with {BOXES} boxes, processor time")
    for column in ("", "Quorate", "peer", "", "ratio"):
        table.add_column(column, justify="left" if not column else "right")
    for row in rows:
        table.add_row(
            row["work"],
            f"{row['ours']:.3f} s",
            f"{row['theirs']:.3f} s",
            row["peer"],
            f"{row['ratio']:.1f}",
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
