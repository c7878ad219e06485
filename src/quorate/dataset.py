"""Pictures and their labels, as prepared for detectors and as published.

The pictures of a data set are light records in a fixed order; what is annotated on them is
columnar (`quorate.annotations`). Neither holds pixels: those stay where they are, and
`quorate.pictures` reads them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.display import brief
from quorate.labels import Labels

if TYPE_CHECKING:
    from quorate.annotations import Annotations


class Image(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One picture, as in COCO's `images`.

    id            COCO image id, unique in the data set
    file_name     path inside the data set's root, with its sub-folders, '/' between them
    width         pixels, as shown (EXIF orientation applied); 0 while unknown
    height        likewise
    subset        CVAT's subset of a project's picture; '' for none
    source_id     what the source called it where that is not `id`: CVAT's frame number as a
                  number, anything else as text
    published_as  its name in annotation files where that is not `file_name`, as in a CVAT
                  project, whose picture `images/Train/a.jpg` is named `a.jpg`
    """

    id: int
    file_name: str
    width: int = 0
    height: int = 0
    subset: str = ""
    source_id: int | str | None = None
    published_as: str = ""

    @property
    def name(self) -> str:
        """The picture's name in annotation files, with its sub-folders."""
        return self.published_as or self.file_name


def own_name(image: Image) -> str:
    """What a picture is called below its subset; inside a file of records it has no file's name."""
    return f"{image.subset}/{image.name}" if image.subset else image.name


class AttributeSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attribute that a label declares, in CVAT's words.

    input_type  'text', 'number', 'select', 'radio' or 'checkbox'
    values      what may be chosen, or for a number: least, most, step
    mutable     may change from frame to frame of a track
    """

    name: str
    input_type: str = "text"
    default: str = ""
    values: tuple[str, ...] = ()
    mutable: bool = False


class LabelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a source says of a label beside its name.

    color       as '#rrggbb'; '' for none
    type        the only shape that CVAT allows for it: 'any', 'rectangle', 'polygon', 'mask', …
    attributes  in the source's order
    """

    color: str = ""
    type: str = "any"
    attributes: tuple[AttributeSpec, ...] = ()
    supercategory: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set: where its pictures are, which they are, and what may be seen on them.

    root         folder, ZIP archive or S3 prefix that `Image.file_name` is relative to
    images       in the order that every output keeps
    labels       the vocabulary; empty for a plain folder of pictures
    annotations  ground truth or earlier work, None where the source has none
    name         of the CVAT task or project
    label_info   more on labels, by name, where the source says more
    info         COCO's `info` and `licenses`, CVAT's `task` or `project`, as they stand
    notes        what was left out or found odd in reading, a sentence each
    """

    root: str
    images: tuple[Image, ...]
    labels: Labels
    annotations: Annotations | None = None
    name: str = ""
    label_info: Mapping[str, LabelInfo] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    __repr__ = brief
