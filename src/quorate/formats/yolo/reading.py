"""YOLO data sets, read.

Ultralytics' layout (`data.yaml`, `images/…`, `labels/…`, or `train/images`, `train/labels` as
Roboflow writes it), Darknet's (`obj.data`, `obj.names`), which CVAT exports as "YOLO 1.1",
FiftyOne's of it (`obj.names`, `images.txt`, `data/`), and that of LabelImg and Label Studio
(`classes.txt`). `lines` tells what stands in a label file.
Sizes come from the pictures, so they must be there.

`data.yaml` is not trusted: it is read as plain data, and no path in it leads outside the root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import yaml
from msgspec import structs

from quorate import pictures
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, ImageError, InputError, LabelError
from quorate.formats.base import Source, ends_of, is_picture
from quorate.formats.elsewhere import Elsewhere
from quorate.formats.yolo.lines import Lines
from quorate.labels import Labels
from quorate.storage import join

# Of the whole file, not of a part: a spec's detectors may have `names` too.
_NAMES = re.compile(rb"""^(?:\{[^{[]*?)?["']?names["']?[ \t]*:""", re.MULTILINE)
_DARKNETS = re.compile("^obj_[^/]*_data/(?=.)")
KINDS = (
    "; CVAT writes boxes into Ultralytics' 'Detection' alone, polygons and masks into "
    "'Segmentation', skeletons into 'Pose', and no file for a picture that has none of these"
)
"""Source: docs.cvat.ai/docs/manual/advanced/formats/format-yolo-ultralytics."""
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def recognise(source: Source) -> bool:
    """Whether a YAML file has `names` at its top, or there is another list of the names."""
    darknet = not {"obj.data", "obj.names"}.isdisjoint(source.names)
    return darknet or _config(source) is not None or _classes(source) is not None


def _classes(source: Source) -> str | None:
    """LabelImg's and Label Studio's `classes.txt`, where there are files of labels."""
    lists = [name for name in source.names if f"/{name}".endswith("/classes.txt")]
    if not lists or len({source.tree.read(name) for name in lists}) > 1:
        return None
    there = set(source.names)
    labelled = (n for name in source.names if is_picture(name) for n in _label_files(name))
    return lists[0] if any(name in there for name in labelled) else None


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
    notes: list[str] = []
    keypoints = None
    if config is None and not {"obj.data", "obj.names"}.isdisjoint(names):
        labels, splits = _darknet(source, notes)
    elif config is None:
        words = _classes(source) or "classes.txt"
        labels = _named(source.lines(words), source.place(words))
        splits = {"": _everything(sorted(filter(is_picture, names)))}
    else:
        told = _told(source, config)
        keypoints = kpt_shape(told, source.place(config))
        labels, splits = _ultralytics(source, told, source.place(config), names, notes)
    there = set(names)
    lines = Lines(labels, keypoints)
    images: list[Image] = []
    unreadable = []
    used = set()
    with ExitStack() as stack:
        size = _size(source, stack)
        for subset, listed in splits.items():
            for path, name in listed:
                number = len(images) + 1
                image = Image(
                    id=number,
                    file_name=path,
                    subset=subset if len(splits) > 1 else "",
                    published_as="" if name == path else name,
                )
                try:
                    width, height = size(image)
                except (ImageError, InputError) as error:
                    width = height = 0
                    unreadable.append(error.message)
                images.append(structs.replace(image, width=width, height=height))
                label_file = next((n for n in _label_files(path) if n in there), None)
                if label_file is None:
                    continue
                used.add(label_file)
                if width:
                    data = source.tree.read(label_file)
                    lines.add(number, data, join(root, label_file), (width, height))
    if not images:
        raise FormatError(
            f"{source.location}: YOLO's boxes are relative to their pictures, and there is none.",
            hint="export with pictures, or put them where the list of pictures says",
        )
    shapes = lines.built()
    notes += [f"{source.location}: {note}" for note in lines.notes]
    if unreadable:
        notes.append(
            f"{source.location}: {len(unreadable)} pictures cannot be read and have no boxes, the "
            f"first: {unreadable[0]}"
        )
    if not used:
        first = next(_label_files(images[0].file_name))
        notes.append(
            f"{source.location}: none of the {len(images)} pictures has a file of labels, for the "
            f"first '{first}' was looked for{'' if config is None else KINDS}."
        )
    alone = [n for n in names if f"/{n}".rpartition("/labels/")[1] and n.endswith(".txt")]
    alone = [n for n in alone if not n.endswith("/classes.txt")]  # labelImg's list of names
    if alone := [name for name in alone if name not in used]:
        notes.append(
            f"{source.location}: {len(alone)} files of labels have no picture and are left out, "
            f"the first '{alone[0]}'."
        )
    return Dataset(
        root=root, images=tuple(images), labels=labels, annotations=shapes, notes=tuple(notes)
    )


def _size(source: Source, stack: ExitStack) -> Callable[[Image], tuple[int, int]]:
    """What tells the width and height of a picture, here or elsewhere."""
    if source.pictures is not None:
        return stack.enter_context(Elsewhere(source.pictures)).size

    def here(image: Image) -> tuple[int, int]:
        with source.tree.open(image.file_name) as file:
            return pictures.size(file, name=image.file_name)

    return here


class _Loader(yaml.BaseLoader):
    """Every value as the text it is: a class called `no` is no `False`, and no tag is obeyed."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping; YAMLError for a key that stands twice, of which one would be lost."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice")
        return super().construct_mapping(node, deep)


def _told(source: Source, config: str) -> dict[str, Any]:
    """What a `data.yaml` says."""
    place = source.place(config)
    try:
        told = yaml.load(source.text(config), Loader=_Loader)  # noqa: S506  a BaseLoader
    except (yaml.YAMLError, RecursionError) as error:
        first = str(error).replace("\n", " ")
        raise FormatError(f"{place}: not YAML ({first}).") from None
    if not isinstance(told, dict):
        raise FormatError(f"{place}: not a mapping with `names`.")
    return told


def keypoints_beside(source: Source) -> tuple[int, int] | None:
    """What a YAML file beside label files says of keypoints."""
    for name in source.ending(".yaml", ".yml"):
        return kpt_shape(_told(source, name), source.place(name))
    return None


def kpt_shape(told: dict[str, Any], place: str) -> tuple[int, int] | None:
    """How many keypoints a line has, and how many numbers each; None where it is not said."""
    given = told.get("kpt_shape")
    if given is None:
        return None
    try:
        count, each = map(int, given)
    except (TypeError, ValueError):
        count, each = -1, -1
    if (count, each) != (0, 0) and (count < 1 or each not in (2, 3)):
        raise FormatError(
            f"{place}: a kpt_shape of {str(given)[:40]}.",
            hint="write kpt_shape: [17, 3], the number of keypoints and 2 or 3 for x, y, visible",
        )
    return count, each


def _label_files(picture: str) -> Iterator[str]:
    """Where the labels of a picture may lie: in `labels/` for `images/`, or beside it."""
    stem = picture.rsplit(".", 1)[0]
    before, slash, after = f"/{stem}".rpartition("/images/")
    if slash:
        yield f"{before}/labels/{after}.txt"[1:]
    yield f"{stem}.txt"


_Splits = dict[str, list[tuple[str, str]]]


def _ultralytics(
    source: Source, data: dict[str, Any], place: str, names: Sequence[str], notes: list[str]
) -> tuple[Labels, _Splits]:
    labels = _named(data.get("names"), place)
    if str(data.get("nc", len(labels))) != str(len(labels)):
        notes.append(f"{place}: `nc` is {data['nc']}, but it names {len(labels)} classes.")
    below = sorted(name for name in names if is_picture(name))
    splits: _Splits = {}
    # CVAT has subsets of any name, each with a list.
    own = [key for key, value in data.items() if f"{value}".endswith(".txt") and key not in SPLITS]
    for key, subset in (*SPLITS.items(), *((key, key) for key in own)):
        entries = data.get(key)
        found: list[tuple[str, str]] = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and entry.strip():
                listed = _listed(source, _inside(entry), below, notes)
                if not listed:
                    notes.append(f"{place}: no picture is where `{key}: {entry}` leads.")
                found += listed
        if found:
            splits.setdefault(subset, []).extend(found)
    taken = list(splits.values())
    if len(taken) > 1 and all(listed == taken[0] for listed in taken):
        splits = {"": taken[0]}  # `train: images` and `val: images` are one split
    if not splits:
        splits = {"": _everything(below)}
    return labels, splits


def _everything(below: Sequence[str]) -> list[tuple[str, str]]:
    """All pictures, or those below `images/` where there are any: (path, name)."""
    named = [(name, name.partition("images/")[2]) for name in below if "images/" in name]
    return named or [(name, name) for name in below]


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
            hint="write names: [person, car], or a line `0: person` for each; in a list of names "
            "alone, a name a line",
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
    return next((end for end in ends_of(_inside(path)) if end in there), None)


def _elsewhere(line: str, there: Collection[str]) -> str:
    """The path of a picture that is not here: the end of its line that has a file of labels."""
    path = _inside(line)
    ends = (end for end in ends_of(path) if any(name in there for name in _label_files(end)))
    return next(ends, path.removeprefix("data/"))


def _labelled(folder: str, source: Source) -> list[str]:
    """The pictures of a folder that are not here, by their files of labels: without endings."""
    labels = f"/{folder}".replace("/images/", "/labels/")[1:]
    files = (name for name in source.tree.names() if name.startswith(labels))
    return [f"{folder}{n[len(labels) : -4]}" for n in files if n.endswith(".txt")]


def _listed(
    source: Source, entry: str, below: Sequence[str], notes: list[str]
) -> list[tuple[str, str]]:
    """The pictures of a split: (path, name). `entry` is a folder or a list of pictures."""
    if not entry.endswith(".txt"):
        for folder in ends_of(entry):
            found = [n for n in below if n.startswith(f"{folder}/")]
            if source.pictures is not None:
                found = _labelled(f"{folder}/", source)
            if found:
                return [(name, name[len(folder) + 1 :]) for name in found]
        return []
    if not source.tree.exists(entry):
        return []
    there = set(below)
    lines = source.lines(entry)
    listed: list[str | None] = [_found(line, there) for line in lines]
    if source.pictures is not None:
        files = set(source.tree.names())
        listed = [_elsewhere(line, files) for line in lines]
    found = [path for path in listed if path]
    if len(found) < len(lines):
        notes.append(
            f"{source.place(entry)}: {len(lines) - len(found)} of {len(lines)} pictures are not "
            f"there, the first '{lines[listed.index(None)]}'."
        )
    named = [(path, path.partition("images/")[2] or path) for path in found]
    # CVAT's `train.txt` lists `data/images/train/NAME`.
    folder = entry.rpartition("/")[2].removesuffix(".txt") + "/"
    if all(name.startswith(folder) for _, name in named):
        named = [(path, name[len(folder) :]) for path, name in named]
    return named


def _darknet(source: Source, notes: list[str]) -> tuple[Labels, _Splits]:
    """`obj.data` and what it points at; the folder `obj_SUBSET_data/` is not part of a name.

    Without `obj.data`, as FiftyOne writes it, `images.txt` lists the pictures.
    """
    data = {"images": "images.txt"}
    main = "obj.data" if "obj.data" in source.names else "obj.names"
    if main == "obj.data":
        parts = [line.partition("=") for line in source.lines(main)]
        data = {key.strip(): value.strip() for key, equals, value in parts if equals}
    names = _found(data.get("names", "obj.names"), source.names)
    if names is None:
        raise FormatError(
            f"{source.place(main)}: its list of names '{data.get('names')}' is not there."
        )
    labels = _named(source.lines(names), source.place(names))
    splits: _Splits = {}
    below = [name for name in source.names if is_picture(name)]
    for key, path in data.items():
        file = None if key in ("classes", "names", "backup") else _found(path, source.names)
        if file is None:
            continue
        found = [path for path, _ in _listed(source, file, below, notes)]
        splits["val" if key == "valid" else key] = [
            (path, _DARKNETS.sub("", path)) for path in found
        ]
    return labels, splits
