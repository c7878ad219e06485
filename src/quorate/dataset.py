"""Pictures and their labels, as prepared for detectors and as published.

The pictures of a data set are light records in a fixed order; what is annotated on them is
columnar (`quorate.annotations`). Neither holds pixels: those stay where they are, and
`quorate.pictures` reads them one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from quorate.labels import Labels

if TYPE_CHECKING:
    from quorate.annotations import Annotations


class Image(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One picture, as in COCO's `images`.

    id         COCO image id, unique in the data set
    file_name  path inside the data set's root, with its sub-folders, '/' between them
    width      pixels, as shown (EXIF orientation applied); 0 while unknown
    height     likewise
    subset     CVAT's subset of a project's picture; '' for none
    source_id  what the source called it where that is not `id`: CVAT's frame number, a string id
    """

    id: int
    file_name: str
    width: int = 0
    height: int = 0
    subset: str = ""
    source_id: int | str | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set: where its pictures are, which they are, and what may be seen on them.

    root         folder, ZIP archive or S3 prefix that `Image.file_name` is relative to
    images       in the order that every output keeps
    labels       the vocabulary; empty for a plain folder of pictures
    annotations  ground truth or earlier work, None where the source has none
    """

    root: str
    images: tuple[Image, ...]
    labels: Labels
    annotations: Annotations | None = None
    name: str = ""
