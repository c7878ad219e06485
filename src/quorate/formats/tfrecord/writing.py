"""TFRecord, written: a file for each subset, and the label map."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import Any

import numpy as np

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.formats.base import Written, open_target
from quorate.formats.shapes import by_image, known_sizes, lost_attributes, upright
from quorate.formats.tfrecord.messages import MESSAGES
from quorate.formats.tfrecord.reading import EDGES, FLAGS, MAP
from quorate.storage import Tree, open_tree
from quorate.storage.records import framed

_FORMATS = {"jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "jfif": "jpeg"}


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    pictures: bool = False,
) -> Written:
    """Write `SUBSET.tfrecord` (`default` without subsets) and `label_map.pbtxt`.

    With `pictures`, each example holds its picture's file, as TensorFlow's training wants it;
    without, as CVAT's export without pictures, only its name. Every shape with an area becomes its
    enclosing upright box; the rest is left out and counted. Kept are crowds (`is_crowd`) and the
    attributes `difficult` and `truncated`. One picture at a time is in memory.

    Raises InputError where a picture's size is not known, or the picture is not there.
    """
    boxes, notes = upright(annotations, "TFRecord")
    notes += lost_attributes(boxes, "TFRecord", set(FLAGS))
    size = known_sizes(dataset, boxes, "TFRecord")
    positions = dataset.labels.places(boxes.category_id)
    ids = dataset.labels.ids
    if min(ids, default=1) < 1:
        ids = tuple(range(1, len(ids) + 1))
        notes.append("TFRecord: labels are numbered anew from 1, for 0 is the background there.")
    parts = boxes.xyxy / np.tile(size, 2)
    rows = by_image(boxes)
    flags = {name: boxes.numbers(name) > 0 for name in FLAGS if name in boxes.attributes}
    subsets = list(dict.fromkeys(image.subset for image in dataset.images))
    with ExitStack() as opened, open_target(target) as out:
        tree = opened.enter_context(open_tree(dataset.root)) if pictures else None
        for subset in subsets:
            with out.create(f"{subset or 'default'}.tfrecord") as file:
                for image in dataset.images:
                    if image.subset != subset:
                        continue
                    own = rows.get(image.id, [])
                    told: dict[str, Any] = _about(image, tree)
                    if own:
                        for edge, values in zip(EDGES, parts[own].T.tolist(), strict=True):
                            told[f"image/object/bbox/{edge}"] = values
                        places = positions[own].tolist()
                        names = [dataset.labels.names[p].encode() for p in places]
                        told["image/object/class/text"] = names
                        told["image/object/class/label"] = [ids[p] for p in places]
                        told["image/object/is_crowd"] = boxes.iscrowd[own].astype(int).tolist()
                        for name, column in flags.items():
                            told[f"image/object/{name}"] = column[own].astype(int).tolist()
                    file.write(framed(_example(told)))
        items = MESSAGES["LabelMap"]()
        for number, name in zip(ids, dataset.labels.names, strict=True):
            items.item.add(id=number, name=name)
        out.put(MAP, _text(items).encode())
    return Written(files=out.files, notes=notes)


def _about(image: Image, tree: Tree | None) -> dict[str, list[Any]]:
    """What an example says of its picture."""
    ending = image.name.rpartition(".")[2].lower()
    told: dict[str, list[Any]] = {
        "image/filename": [image.name.encode()],
        "image/source_id": [str(image.id).encode()],
        "image/width": [image.width],
        "image/height": [image.height],
        "image/encoded": [b""],
        "image/format": [_FORMATS.get(ending, ending).encode()],
    }
    if tree is not None:
        data = tree.read(image.file_name)
        told["image/encoded"] = [data]
        told["image/key/sha256"] = [hashlib.sha256(data).hexdigest().encode()]
    return told


def _example(told: dict[str, list[Any]]) -> bytes:
    example = MESSAGES["Example"]()
    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    for name, values in told.items():
        getattr(example.features.feature[name], kinds[type(values[0])]).value.extend(values)
    data: bytes = example.SerializeToString(deterministic=True)
    return data


def _text(message: Any) -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(message, as_utf8=True))
