"""Data sets in formats that are not read here, told by their files, so that each is named.

Their pictures alone would lose the labels without a word, and masks count as pictures there.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from quorate.errors import FormatError
from quorate.formats.base import Source, is_picture
from quorate.storage import join


class Layout(NamedTuple):
    """What a format is told by.

    name      as CVAT's dialog calls it
    sign      of the path of one of its files
    content   of the beginning of that file
    datumaro  the name of datumaro's reader of it, where that reads what CVAT exports
    pictures  of a path: up to its end, the folder of the pictures
    """

    name: str
    sign: str
    content: str = ""
    datumaro: str = ""
    pictures: str = ""


LAYOUTS = (
    Layout("Cityscapes", r"/gtFine/", pictures=r"/imgsFine/leftImg8bit/"),
    Layout("KITTI", r"/(label_2|semantic_rgb)/", datumaro="kitti", pictures=r"/image_2/"),
    Layout("CamVid", r"/[^/]+annot/.+\.png$", datumaro="camvid"),
    Layout("MOTS PNG", r"/instances/labels\.txt$", pictures=r"/images/"),
    Layout("ICDAR", r"/gt(_[^/]+)?\.txt$", pictures=r"/images/"),
    Layout("LFW", r"/annotations/(pairs|people|landmarks)\.txt$", pictures=r"/images/"),
    Layout("Market-1501", r"/bounding_box_[^/]+/"),
    Layout("Market-1501", r"/images_[^/]+\.txt$", r"^bounding_box_[^/]+/"),  # no pictures
    Layout(
        "Open Images",
        r"/annotations/.*(-annotations-bbox\.csv|_hierarchy\.json)$",
        datumaro="open_images",
        pictures=r"/images/",
    ),
    Layout(
        "Segmentation mask",
        r"/SegmentationClass/",
        datumaro="voc_segmentation",
        pictures=r"/JPEGImages/",
    ),
    Layout("ImageNet", r"/synsets\.txt$"),
    Layout("VGGFace2", r"/bb_landmark/[^/]+\.csv$", datumaro="vgg_face2"),
    Layout("WIDER FACE", r"/wider_face_split/", datumaro="wider_face"),
    Layout(
        "Ultralytics YOLO Classification",
        r"/labels\.json$",
        r'^\s*\{\s*"[^"]*"\s*:\s*\{\s*"labels"\s*:',
    ),
)
"""In the order in which they are looked for."""
LOOKED_INTO = 8
"""Files of one layout whose beginnings are looked at."""


def refuse(source: Source) -> None:
    """Raise FormatError where a source is in one of `LAYOUTS`."""
    for layout in LAYOUTS:
        if name := _file_of(layout, source):
            raise FormatError(
                f"{source.location}: is in the format '{layout.name}', which is not read "
                f"(it has '{name}').",
                hint=_ways(layout, source),
            )


def _file_of(layout: Layout, source: Source) -> str | None:
    """The first file that shows that a source has a layout."""
    # The source may be the one folder of an archive, whose name then stands in its location.
    above = source.location.rstrip("/").rsplit("/", 1)[-1]
    named = (name for name in source.names if re.search(layout.sign, f"/{above}/{name}"))
    for name in islice(named, LOOKED_INTO):
        if not layout.content or re.search(layout.content, source.begins(name)):
            return name
    return None


def _ways(layout: Layout, source: Source) -> str:
    """What helps."""
    ways = "in CVAT, export it as 'CVAT for images 1.1' or 'COCO 1.0'"
    if layout.datumaro:
        ways += f", or read it as 'datumaro:{layout.datumaro}' (pip install 'quorate[datumaro]')"
    for name in filter(is_picture, source.names):
        if layout.pictures and (match := re.search(layout.pictures, f"/{name}")):
            folder = join(source.location, name[: match.end() - 2])
            return f"{ways}; its pictures without labels are in {folder}"
    return ways
