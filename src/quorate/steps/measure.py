"""measure: read how large the pictures of one shard are, where the data set does not say it.

Of a few pictures `prepare` does it itself, of all at once. Of many it takes longer than all else
that prepare does, so that each shard is then measured by itself, many of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from quorate import pictures
from quorate.dataset import Image
from quorate.errors import AccessError, InputError, QuorateError, StorageError
from quorate.steps.prefetch import READERS
from quorate.steps.work import ShardImages, Skipped, Work, write_json
from quorate.storage import Tree, open_tree

AT_ONCE = 4096
"""Pictures that are asked for together: so many answers wait in memory at most."""
LOOKED_AT = 16
"""About so many pictures of stated size are looked at."""


def measure(
    work: Work, shard: int, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> ShardImages:
    """Complete a shard's `images.json`: each picture's size; without those that are no pictures.

    These are listed in it (`skipped`). A shard whose sizes are known is left alone.
    Raises StorageError or AccessError where the pictures cannot be reached.
    """
    listed = work.listed(shard)
    with open_tree(work.plan().root) as tree:
        images, skipped = measured(tree, listed.images, progress)
    if images == listed.images:
        return listed
    kept = {image.id for image in images}
    stamps = zip(listed.images, listed.stamps, strict=True) if listed.stamps else ()
    found = msgspec.structs.replace(
        listed,
        images=images,
        stamps=tuple(stamp for image, stamp in stamps if image.id in kept),
        skipped=(*listed.skipped, *skipped),
    )
    write_json(work.shard(shard) / "images.json", found)
    return found


def measured(
    tree: Tree, images: Sequence[Image], progress: Callable[[int, int], None]
) -> tuple[tuple[Image, ...], tuple[Skipped, ...]]:
    """The pictures, those without a size asked for it; and those that are no pictures, and why."""
    found: list[Image] = []
    skipped: list[Skipped] = []
    total, done = unknown(images), 0
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(images), AT_ONCE):
            some = images[start : start + AT_ONCE]
            asked = (image for image in some if not _stated(image))
            answers = pool.map(lambda image: _size(tree, image), asked)
            for image in some:
                if _stated(image):
                    found.append(image)
                    continue
                answer = next(answers)
                done += 1
                progress(done, total)
                if isinstance(answer, QuorateError):
                    skipped.append(Skipped(image.file_name, answer.message))
                else:
                    width, height = answer
                    found.append(msgspec.structs.replace(image, width=width, height=height))
    return tuple(found), tuple(skipped)


def misstated(tree: Tree, images: Sequence[Image]) -> list[str]:
    """A note where pictures, of a few looked at, are of another size than the data set says."""
    stated = [image for image in images if _stated(image)]
    looked = stated[:: len(images) // LOOKED_AT or 1]
    with ThreadPoolExecutor(READERS) as pool:
        sizes = list(pool.map(lambda image: _size(tree, image), looked))
    others = [
        f"{image.name} is {size[0]}x{size[1]}, not {image.width}x{image.height}"
        for image, size in zip(looked, sizes, strict=True)
        if isinstance(size, tuple) and size != (image.width, image.height)
    ]
    return [
        f"{len(others)} of {len(looked)} pictures looked at are of another size than the data set "
        f"says, the first: {first}; boxes are in pixels of the picture itself, turned as EXIF says."
        for first in others[:1]
    ]


def unknown(images: Sequence[Image]) -> int:
    """Of how many pictures the size is not known."""
    return sum(not _stated(image) for image in images)


def refuse_none(images: int, skipped: Sequence[Skipped], data: str | None) -> None:
    """InputError where not one picture can be read."""
    if not images:
        raise InputError(
            f"{data}: not one readable picture.",
            hint=f"the first: {skipped[0].reason}" if skipped else None,
        )


def _stated(image: Image) -> bool:
    return image.width > 0 and image.height > 0


def _size(tree: Tree, image: Image) -> tuple[int, int] | QuorateError:
    """A picture's width and height, or why it is none."""
    try:
        with tree.open(image.file_name) as file:
            return pictures.size(file, name=image.file_name)
    except (AccessError, StorageError):
        raise
    except QuorateError as error:
        return error
