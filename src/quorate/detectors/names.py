"""The names of a detector's labels, as a spec gives them: a list, a file, or a known vocabulary."""

from __future__ import annotations

import os
from typing import Any

import yaml

from quorate.detectors.files import read_file
from quorate.errors import DetectorError
from quorate.networks import listed_names

MOST_BYTES = 1 << 20

_COCO91 = """__background__,person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,
traffic light,fire hydrant,N/A,stop sign,parking meter,bench,bird,cat,dog,
horse,sheep,cow,elephant,bear,zebra,giraffe,N/A,backpack,umbrella,N/A,
N/A,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,
baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,N/A,
wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,
carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,N/A,
dining table,N/A,N/A,toilet,N/A,tv,laptop,mouse,remote,keyboard,cell phone,
microwave,oven,toaster,sink,refrigerator,N/A,book,clock,vase,scissors,
teddy bear,hair drier,toothbrush""".replace("\n", "").split(",")
_VOC = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor"""

KNOWN: dict[str, tuple[str, ...]] = {
    "coco": tuple(name for name in _COCO91[1:] if name != "N/A"),
    "coco91": tuple(_COCO91),
    "voc": tuple(_VOC.split()),
}
"""COCO's 80 labels; the same by COCO's ids, 0 to 90, with background and gaps; PASCAL VOC's."""
ELSEWHERE = {
    "objects365": "365 names: the `names` of Ultralytics' Objects365.yaml, or its own JSON",
    "openimages": "601 names, in several orders: the .yaml or .json that the model came with",
    "lvis": "1,203 names: the `names` of Ultralytics' lvis.yaml, or lvis_v1_val.json itself",
}
"""Vocabularies that are known, but too long or of too many orders to be carried here."""


def given_names(names: str | tuple[str, ...], *, detector: str) -> tuple[str, ...]:
    """The labels in the order of their numbers; () where the spec gives none.

    Args:
        names: the labels, a word of `KNOWN`, or a file: .json and .yaml with a list, numbers with
            names, `names`, or COCO's `categories` (by rising id); any other has one label a line.
        detector: its name, for errors.

    Raises:
        DetectorError: the file is none of these, or the vocabulary is not carried here.
        StorageError: the file is in S3, which does not answer.
    """
    if not isinstance(names, str):
        return names
    if names in KNOWN:
        return KNOWN[names]
    if names in ELSEWHERE:
        raise DetectorError(
            f"`names: {names}` of the detector '{detector}': these are not carried here "
            f"({ELSEWHERE[names].partition(':')[0]}).",
            hint=f"name a file of them, for example `names: {names}.yaml`:"
            f"{ELSEWHERE[names].partition(':')[2]}",
        )
    text = _text(names)
    if names.lower().endswith((".json", ".yaml", ".yml")):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise DetectorError(f"{names}: cannot be read ({error}).") from None
        return listed_names(_inner(value), names)
    lines = tuple(line.strip() for line in text.rstrip().split("\n"))
    if "" in lines:
        raise DetectorError(f"{names}:{lines.index('') + 1}: the line is empty.")
    return lines


def _inner(value: Any) -> Any:
    """What holds the names in a file of more."""
    if not isinstance(value, dict):
        return value
    if isinstance(categories := value.get("categories"), list):
        try:
            return [one["name"] for one in sorted(categories, key=lambda one: int(one["id"]))]
        except (TypeError, KeyError, ValueError):
            return None
    return next((value[key] for key in ("names", "id2label", "labels") if key in value), value)


def _text(location: str) -> str:
    data = read_file(
        location,
        most=MOST_BYTES,
        what="a list of names",
        large="of COCO's annotations, keep the `categories` alone",
        missing="`names` is a list, a file (looked for in "
        f"{os.path.dirname(location) or '.'}), or one of {', '.join(KNOWN)}",
    )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DetectorError(f"{location}: cannot be read as text ({error}).") from None
