"""The network's input: which tensor takes the picture, in what order, and what goes beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.geometry import Placement
from quorate.detectors.tensors.preprocess import Normalisation, fill
from quorate.errors import DetectorError
from quorate.networks import Graph, Tensor

KINDS: dict[str, Any] = {
    "float": np.float32,
    "float16": np.float16,
    "double": np.float64,
    "uint8": np.uint8,
    "int32": np.int32,
    "int64": np.int64,
}
MOST_NUMBERS = 1 << 30
"""Numbers in one input: 4 GiB of them."""
BESIDE = {
    "orig_target_sizes": "width, height",
    "target_sizes": "width, height",
    "im_shape": "height, width",
    "image_shape": "height, width",
    "scale_factor": "ones",
    "pixel_mask": "mask",
}
"""Further inputs that are known, and what they are told: the network's size, so that boxes come in
its pixels, a scale of 1 for the same reason, and a mask of ones where there is picture."""


@dataclass(frozen=True)
class Feed:
    """How pictures enter a network.

    image   the tensor that takes them
    order   "nchw" or "nhwc"; a tensor of rank 3 is the same without its first axis
    beside  further inputs, of `BESIDE`
    """

    image: Tensor
    order: str
    beside: tuple[Tensor, ...] = ()
    _scratch: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @classmethod
    def of(cls, graph: Graph, *, origin: str) -> Feed:
        """Find the tensor of three channels; DetectorError where there is none, or one too many."""
        beside = tuple(t for t in graph.inputs if t.name.lower() in BESIDE)
        images = [t for t in graph.inputs if len(t.shape) in (3, 4) and t not in beside]
        others = [t for t in graph.inputs if t not in beside and t not in images[:1]]
        if not images or others:
            raise DetectorError(
                f"{origin}: expected one input of rank 4 for the picture"
                f"{f', and nothing like {others[0].name}' if images else ''}: {graph}.",
                hint=f"known beside the picture are {', '.join(BESIDE)}; export the model without "
                "the other, or run it in a plug-in (docs/reference/plug-ins.md) or a container "
                "(docs/guides/container-detectors.md)",
            )
        image = images[0]
        channel = image.shape[-3:]
        if channel[0] in (3, None) and not (channel[0] is None and channel[2] == 3):
            order = "nchw"
        elif channel[2] == 3:
            order = "nhwc"
        else:
            raise DetectorError(
                f"{origin}: the input {image} does not take pictures of three channels."
            )
        for tensor in (image, *beside):
            if tensor.kind not in KINDS:
                what = "mask" if BESIDE.get(tensor.name.lower()) == "mask" else "size"
                what = "picture" if tensor is image else what
                raise DetectorError(
                    f"{origin}: the input {tensor} is of a type that no {what} has."
                )
        return cls(image, order, beside)

    @property
    def frame(self) -> tuple[int | None, int | None]:
        """(height, width) as the graph fixes them."""
        height, width = self.image.shape[-2:] if self.order == "nchw" else self.image.shape[-3:-1]
        return height, width

    def size(self, asked: int | tuple[int, int] | None, *, origin: str) -> tuple[int, int] | None:
        """The frame, else what a spec's `image_size` asks for; None where neither says it whole.

        DetectorError where they contradict each other.
        """
        wanted = (asked, asked) if isinstance(asked, int) else asked
        height, width = self.frame
        if height is None or width is None:
            return wanted
        if wanted and wanted != (height, width):
            raise DetectorError(
                f"{origin}: `image_size: {list(wanted)}` does not fit the network, which takes "
                f"{self.image}.",
                hint="leave `image_size` out",
            )
        return height, width

    def check_resize(self, resize: str | None, *, origin: str) -> None:
        """DetectorError for a `resize` to sizes of its own, where the graph fixes the frame."""
        if resize in ("none", "shortest_edge") and None not in self.frame:
            raise DetectorError(
                f"{origin}: `resize: {resize}` needs a network that takes any size, but this one "
                f"takes {self.image}."
            )

    @property
    def batch(self) -> int | None:
        """How many pictures the graph takes at once, None where that is open."""
        return 1 if len(self.image.shape) == 3 else self.image.shape[0]

    @property
    def whole(self) -> bool:
        """Whether the network takes grey levels as whole numbers."""
        return self.image.whole

    def room(self, count: int, frame: tuple[int, int]) -> NDArray[np.float32]:
        """float32 (count, 3, height, width) to fill, in whatever order the network has it.

        The room is this thread's own and is used again by its next call: a fresh one would cost
        a page fault for every 4 KiB, as much as the filling itself.
        """
        if 3 * count * frame[0] * frame[1] > MOST_NUMBERS:
            raise DetectorError(
                f"an input of {count} x {frame[0]} x {frame[1]} pixels is beyond all measure",
                hint="set `image_size` or `batch` lower, or export the model for a smaller input",
            )
        size = (*frame, 3) if self.order == "nhwc" else (3, *frame)
        room: NDArray[np.float32] | None = getattr(self._scratch, "room", None)
        if room is None or room.shape != (count, *size):
            room = np.zeros((count, *size), dtype=np.float32)
            self._scratch.room = room
        return room.transpose(0, 3, 1, 2) if self.order == "nhwc" else room

    def filled(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        placements: Sequence[Placement],
        normalisation: Normalisation,
        *,
        antialias: bool,
    ) -> dict[str, NDArray[Any]]:
        """What the network is fed for pictures of one frame; valid until this thread's next call.

        A graph of a fixed batch has zeros in the places that are left.
        """
        room = self.room(self.batch or len(pictures), placements[0].frame)
        for planes, picture, placement in zip(room, pictures, placements, strict=False):
            fill(planes, picture, placement, normalisation, antialias=antialias)
        room[len(pictures) :] = 0
        return self.tensors(room)

    def made(
        self, planes: NDArray[np.float32] | int, frame: tuple[int, int]
    ) -> dict[str, NDArray[Any]]:
        """Likewise for one made picture, (3, height, width) or one value, in every place."""
        room = self.room(self.batch or 1, frame)
        room[:] = planes
        return self.tensors(room)

    def told(self, resize: str, size: tuple[int, int], pad: int, *, antialias: bool) -> str:
        """In words, how a picture becomes the tensor."""
        sides = "any size" if resize == "none" else f"{size[0]}x{size[1]}"
        if resize == "shortest_edge":
            sides = f"shortest edge {size[0]}, longest {size[1]}"
        smooth = ", averaged when shrunk" if antialias else ""
        around = f", padded with {pad}" if resize in ("letterbox", "corner") else ""
        return f"{self.order.upper()} {self.image.kind}, {sides}, {resize}{smooth}{around}"

    def tensors(self, room: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """What the network is fed, from a filled `room`."""
        count, _, height, width = room.shape
        values: NDArray[Any] = room.transpose(0, 2, 3, 1) if self.order == "nhwc" else room
        if self.whole:
            values = np.rint(values).clip(0, 255)
        values = values.astype(KINDS[self.image.kind], copy=False)
        feed = {self.image.name: values[0] if len(self.image.shape) == 3 else values}
        told = {"width, height": (width, height), "height, width": (height, width), "ones": (1, 1)}
        for tensor in self.beside:
            what, kind = BESIDE[tensor.name.lower()], KINDS[tensor.kind]
            if what == "mask":
                feed[tensor.name] = np.ones((count, height, width), dtype=kind)
            else:
                feed[tensor.name] = np.tile(np.array(told[what], dtype=kind), (count, 1))
        return feed
