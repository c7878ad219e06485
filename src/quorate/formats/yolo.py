"""YOLO: a text file per picture, a box per line, relative to the picture's size.

Read are Ultralytics' layout (`data.yaml`, `images/…`, `labels/…`, or `train/images`,
`train/labels` as Roboflow writes it) and Darknet's (`obj.data`, `obj.names`), which CVAT exports
as "YOLO 1.1". A line is `class cx cy w h`, with a sixth number for a detector's confidence; more
numbers are a polygon. Sizes come from the pictures, so they must be there.

`data.yaml` is not trusted: it is read as plain data, and no path in it leads outside the root.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import yaml

from quorate import pictures
from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, ImageError, InputError, LabelError
from quorate.formats.base import Source, Written, is_picture, open_target
from quorate.formats.detections.matching import sizes_of
from quorate.formats.rows import Rows
from quorate.formats.shapes import by_image, one_ring, outlined, upright
from quorate.labels import Labels
from quorate.storage import join

# Of the whole file, not of a part: a spec's detectors may have `names` too.
_NAMES = re.compile(rb"""^(?:\{[^{[]*?)?["']?names["']?[ \t]*:""", re.MULTILINE)
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def recognise(source: Source) -> bool:
    """Whether there is a `data.yaml` (a YAML file with `names` at its top) or an `obj.data`."""
    return _config(source) is not None or "obj.data" in source.names


def _config(source: Source) -> str | None:
    near = [n for n in source.ending(".yaml", ".yml") if source.single or "/" not in n]
    named = [name for name in near if _NAMES.search(source.tree.read(name))]
    return next((n for n in named if n.startswith("data.")), named[0] if named else None)


def read(source: Source) -> Dataset:
    """A YOLO data set; the pictures of each split in its order, splits as subsets.

    Category ids are the class numbers plus 1. A picture that is no picture stays in the list
    without size, and its boxes are left out and counted.

    Raises FormatError, with file and line, for a line that is no box.
    """
    config = _config(source)
    names = tuple(source.tree.names()) if source.single else source.names
    root = source.tree.root if source.single else source.location
    if config is None:
        labels, splits = _darknet(source)
    else:
        labels, splits = _ultralytics(source, config, names)
    there = set(names)
    rows = Rows()
    images: list[Image] = []
    unreadable = []
    for subset, listed in splits.items():
        for path, name in listed:
            number = len(images) + 1
            width = height = 0
            try:
                with source.tree.open(path) as file:
                    width, height = pictures.size(file, name=path)
            except (ImageError, InputError) as error:
                unreadable.append(error.message)
            images.append(
                Image(
                    id=number,
                    file_name=path,
                    width=width,
                    height=height,
                    subset=subset if len(splits) > 1 else "",
                    published_as="" if name == path else name,
                )
            )
            label_file = next((n for n in _label_files(path) if n in there), None)
            if label_file is not None and width:
                place = join(root, label_file)
                text = source.tree.read(label_file)
                for values in lines(text, place, labels, (width, height)):
                    rows.add(number, **values)
    if not images:
        raise FormatError(
            f"{source.location}: YOLO's boxes are relative to their pictures, and there is none.",
            hint="export with pictures, or put them where the list of pictures says",
        )
    notes = []
    if unreadable:
        notes.append(
            f"{source.location}: {len(unreadable)} pictures cannot be read and have no boxes, the "
            f"first: {unreadable[0]}"
        )
    return Dataset(
        root=root, images=tuple(images), labels=labels, annotations=rows.build(), notes=tuple(notes)
    )


def lines(
    text: bytes, place: str, labels: Labels, size: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """The shapes of one label file, as `Rows.add` takes them."""
    width, height = size
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            position, *numbers = int(words[0]), *map(float, words[1:])
        except ValueError:
            raise FormatError(f"{place}, line {number}: not numbers ('{line[:60]}').") from None
        if not 0 <= position < len(labels):
            raise LabelError(
                f"{place}, line {number}: class {position} of {len(labels)} "
                f"({', '.join(labels.names)})."
            )
        if len(numbers) < 4:
            raise FormatError(
                f"{place}, line {number}: {len(words)} numbers, not `class cx cy w h [confidence]`."
            )
        if not np.isfinite(numbers).all() or max(map(abs, numbers)) > 4:
            raise FormatError(
                f"{place}, line {number}: not relative to the picture's size ('{line[:60]}').",
                hint="YOLO's coordinates are from 0 to 1; these look like pixels",
            )
        score = numbers[4] if len(numbers) == 5 else numbers[-1] if len(numbers) % 2 else None
        found: dict[str, Any] = {
            "category_id": labels.ids[position],
            "source": "file",
            "attributes": {} if score is None else {"score": score},
        }
        if len(numbers) <= 5:
            cx, cy, w, h = numbers[:4]
            found["xyxy"] = (
                (cx - w / 2) * width,
                (cy - h / 2) * height,
                (cx + w / 2) * width,
                (cy + h / 2) * height,
            )
        else:
            ring = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2) * (width, height)
            (x1, y1), (x2, y2) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
            found |= {"kind": Kind.POLYGON, "points": ring.reshape(-1), "xyxy": (x1, y1, x2, y2)}
        yield found


def _label_files(picture: str) -> Iterator[str]:
    """Where the labels of a picture may lie: in `labels/` for `images/`, or beside it."""
    stem = picture.rsplit(".", 1)[0]
    before, slash, after = f"/{stem}".rpartition("/images/")
    if slash:
        yield f"{before}/labels/{after}.txt"[1:]
    yield f"{stem}.txt"


_Splits = dict[str, list[tuple[str, str]]]


def _ultralytics(source: Source, config: str, names: Sequence[str]) -> tuple[Labels, _Splits]:
    place = source.place(config)
    try:
        # Every value as the text it is: a class called `no` is no `False`, and no tag is obeyed.
        data = yaml.load(source.text(config), Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        first = str(error).replace("\n", " ")
        raise FormatError(f"{place}: not YAML ({first}).") from None
    if not isinstance(data, dict):
        raise FormatError(f"{place}: not a mapping with `names`.")
    labels = _named(data.get("names"), place)
    below = sorted(name for name in names if is_picture(name))
    splits: _Splits = {}
    for key, subset in _SPLITS.items():
        entries = data.get(key)
        found: list[tuple[str, str]] = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str):
                found += _listed(source, _inside(entry), below)
        if found:
            splits.setdefault(subset, []).extend(found)
    taken = list(splits.values())
    if len(taken) > 1 and all(listed == taken[0] for listed in taken):
        splits = {"": taken[0]}  # `train: images` and `val: images` are one split
    if not splits:
        everything = [(n, n.partition("images/")[2]) for n in below if "images/" in n]
        splits = {"": everything or [(name, name) for name in below]}
    return labels, splits


def _named(names: object, place: str) -> Labels:
    """The labels of a list of names, or of a mapping {"0": name, …}."""
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        if set(names) != {*numbers}:
            raise FormatError(
                f"{place}: `names` are not numbered from 0 without a gap.",
                hint="write a line `0: person` for each class, in order",
            )
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise FormatError(
            f"{place}: `names` is neither a list nor a mapping of names.",
            hint="write names: [person, car], or a line `0: person` for each",
        )
    try:
        return Labels.from_names(names)
    except LabelError as error:
        raise LabelError(f"{place}: {error.message}") from None


def _inside(path: str) -> str:
    """A path of data.yaml, without what would lead out of the root."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def _found(path: str, there: Collection[str]) -> str | None:
    """The longest end of a path that is there: `data/…` and paths of other machines end so."""
    parts = _inside(path).split("/")
    ends = ("/".join(parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if end in there), None)


def _listed(source: Source, entry: str, below: Sequence[str]) -> list[tuple[str, str]]:
    """The pictures of a split: (path, name). `entry` is a folder or a list of pictures."""
    if not entry.endswith(".txt"):
        for folder in (entry, entry.split("/", 1)[-1]):
            found = [n for n in below if n.startswith(f"{folder}/")]
            if found:
                return [(name, name[len(folder) + 1 :]) for name in found]
        return []
    if not source.tree.exists(entry):
        return []
    there = set(below)
    listed = [_found(line.strip(), there) for line in source.text(entry).splitlines()]
    found = [path for path in listed if path]
    return [(path, path.partition("images/")[2] or path) for path in found]


def _darknet(source: Source) -> tuple[Labels, _Splits]:
    """`obj.data` and what it points at; the folder `obj_SUBSET_data/` is not part of a name."""
    text = source.text("obj.data")
    data: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            data[key.strip()] = value.strip()
    place = source.place("obj.data")
    names = _found(data.get("names", "obj.names"), source.names)
    if names is None:
        raise FormatError(f"{place}: its list of names '{data.get('names')}' is not there.")
    lines_ = source.text(names).splitlines()
    labels = _named([line.strip() for line in lines_ if line.strip()], source.place(names))
    splits: _Splits = {}
    below = [name for name in source.names if is_picture(name)]
    for key, path in data.items():
        file = None if key in ("classes", "names", "backup") else _found(path, source.names)
        if file is None:
            continue
        found = [path for path, _ in _listed(source, file, below)]
        subset = "val" if key == "valid" else key
        splits[subset] = [(path, _without_folder(path)) for path in found]
    return labels, splits


def _without_folder(path: str) -> str:
    top, _, rest = path.partition("/")
    return rest if rest and top.startswith("obj_") and top.endswith("_data") else path


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    confidence: bool = False,
    polygons: bool = False,
    **_: Any,
) -> Written:
    """Write Ultralytics' layout: `data.yaml` and `labels/[SUBSET/]NAME.txt` for each picture.

    The pictures belong under `images/[SUBSET/]NAME`; they are not copied. A picture without boxes
    gets an empty file, for YOLO learns from those too. `confidence` adds the score as a sixth
    number: tools that evaluate read it, Ultralytics' training does not. Every shape with an area
    becomes its enclosing upright box, or with `polygons`, for segmentation, its outline: one ring,
    for the format has no more, whose parts are joined by lines without width. The rest is left
    out and counted. Attributes are lost.

    Raises InputError where a picture's size is not known.
    """
    if polygons:
        boxes, notes = outlined(annotations, "YOLO", dataset)
    else:
        boxes, notes = upright(annotations, "YOLO")
    lost = sorted(set(boxes.attributes) - ({"score"} if confidence else set()))
    if lost:
        notes.append(f"YOLO: the attributes {', '.join(lost)} are left out, for it has none.")
    unknown = [image.name for image in dataset.images if not image.width]
    if unknown:
        raise InputError(
            f"YOLO's boxes are relative to the picture, and the size of {len(unknown)} pictures is "
            f"not known, the first '{unknown[0]}'."
        )
    positions = dataset.labels.positions(boxes.category_id)
    if (positions < 0).any():
        dataset.labels.name_of(int(boxes.category_id[positions < 0][0]))
    size = sizes_of(dataset.images, boxes.image_id)
    low, high = boxes.xyxy[:, :2], boxes.xyxy[:, 2:]
    numbers = np.concatenate([(low + high) / 2 / size, (high - low) / size], axis=1).tolist()
    scores = boxes.numbers("score").tolist() if confidence else None
    rows = by_image(boxes)
    subsets = list(dict.fromkeys(image.subset for image in dataset.images))
    seen: dict[str, str] = {}
    with open_target(target) as out:
        for image in dataset.images:
            name = image.name.rsplit(".", 1)[0] if is_picture(image.name) else image.name
            path = "/".join(part for part in ("labels", image.subset, f"{name}.txt") if part)
            if path in seen:
                raise InputError(
                    f"YOLO has one file for both '{seen[path]}' and '{image.name}': their names "
                    "differ in their ending alone."
                )
            seen[path] = image.name
            texts = []
            for row in rows.get(image.id, ()):
                cx, cy, w, h = numbers[row]
                end = ""
                if scores is not None:
                    score = 1.0 if np.isnan(scores[row]) else scores[row]
                    end = f" {score:.6g}"
                place = f"{cx:.6f} {cy:.6f} {w:.6f} {h:.6f}"
                if polygons:
                    ring = one_ring(boxes.points[row]).reshape(-1, 2) / (image.width, image.height)
                    place = " ".join(f"{value:.6f}" for value in ring.ravel().tolist())
                texts.append(f"{positions[row]} {place}{end}\n")
            out.put(path, "".join(texts).encode())
        out.put("data.yaml", _yaml(subsets, dataset.labels).encode())
    return Written(files=out.files, notes=notes)


def _yaml(subsets: Sequence[str], labels: Labels) -> str:
    """`data.yaml`; Ultralytics wants both `train` and `val`."""
    splits: dict[str, list[str]] = {}
    for subset in subsets:
        key = _SPLITS.get(subset.lower(), "train")
        splits.setdefault(key, []).append(f"images/{subset}" if subset else "images")
    first = next(iter(splits.values()), ["images"])
    splits.setdefault("train", first)
    splits.setdefault("val", first)
    data = {key: value[0] if len(value) == 1 else value for key, value in splits.items()}
    names = dict(enumerate(labels.names))
    return yaml.safe_dump(
        {"path": ".", **data, "names": names}, sort_keys=False, allow_unicode=True
    )
