"""Pictures that lie elsewhere than the labels that are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from msgspec import structs

from quorate import pictures
from quorate.dataset import Dataset, Image, own_name
from quorate.errors import InputError
from quorate.formats.detections.matching import PictureNames
from quorate.storage import Tree, open_tree


class Elsewhere:
    """Pictures that are asked for by the names that labels have for them.

    A name with its subset before it decides; else a name, whole or by its end, that means one
    picture. Use it as a context manager where sizes are asked for.
    """

    def __init__(self, there: Dataset) -> None:
        self.root = there.root
        self._images = {image.id: image for image in there.images}
        owned = [structs.replace(i, published_as=own_name(i)) for i in there.images]
        self._names = PictureNames(owned), PictureNames(there.images)
        self._open = ExitStack()
        self._tree: Tree | None = None

    def find(self, image: Image) -> Image | None:
        """The one picture that a label's picture is; None for none, or several."""
        owned, names = self._names
        ways: tuple[tuple[Callable[[str], int | None], str], ...] = (
            (owned.get, own_name(image)),
            (names.get, image.name),
            (names.get, image.file_name),
        )
        found = (get(name) for get, name in ways)
        number = next((one for one in found if one is not None), None)
        return None if number is None else self._images[number]

    def size(self, image: Image) -> tuple[int, int]:
        """The width and height of its pixels; InputError where there is no such picture."""
        found = self.find(image)
        if found is None:
            raise InputError(f"{self.root}: there is no picture '{image.name}'.")
        if found.width and found.height:
            return found.width, found.height
        if self._tree is None:
            self._tree = self._open.enter_context(open_tree(self.root))
        with self._tree.open(found.file_name) as file:
            return pictures.size(file, name=found.file_name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
