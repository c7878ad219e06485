"""What the kinds that run in torch have in common, at work: device, precision, batches, boxes."""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.base import Boxes
from quorate.detectors.finished import check, finish, not_finite
from quorate.detectors.names import told_names
from quorate.detectors.torch.spec import TorchDetector
from quorate.errors import DetectorError, MissingExtraError
from quorate.masks import Masks

try:
    import torch
except ImportError as error:
    raise MissingExtraError("This kind of detector", "torch") from error

Size = tuple[int, int]
"""(height, width) in pixels."""
BACKGROUND = ("background", "__background__")
NOTHING = ("n/a", "no-object", "no_object")
"""Names, in lower case, of numbers that stand for no label."""
BATCH_ON_CUDA = 8
SINGLE = "`precision: float32`"

log = logging.getLogger("quorate.detectors")


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs.

    On CUDA calls take turns: one has the whole card, so more at once would only cost memory. Yet
    a call's turn ends when its work is queued, so that the card goes on to the next one's while
    the first is still reading its boxes. On a CPU as many run as there are calls, each with
    `threads` threads.
    """

    device: torch.device
    precision: torch.dtype
    batch: int
    threads: int
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def of(cls, spec: TorchDetector) -> Runtime:
        """What the spec asks for, if this machine has it; DetectorError if not."""
        wanted = spec.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(wanted)
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise DetectorError(
                f"`device: {spec.device}` is not there: torch {torch.__version__} sees "
                f"{there or 'no'} CUDA device{'' if there == 1 else 's'}.",
                hint="`device: auto` takes a GPU where there is one, else the CPU",
            )
        if device.type == "cpu" and spec.precision == "float16":
            raise DetectorError(
                "`precision: float16` needs a GPU.",
                hint="on a CPU, `float32` is exact and `bfloat16` may be faster",
            )
        on_cuda = device.type == "cuda"
        what = torch.cuda.get_device_name(device) if on_cuda else "CPU"
        log.info("%s runs on %s (%s), %s", spec.name, device, what, spec.precision)
        batch = spec.batch or (BATCH_ON_CUDA if on_cuda else 1)
        return cls(device, getattr(torch, spec.precision), batch, spec.threads)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A block in which a model may be called, from any thread."""
        with contextlib.ExitStack() as stack:
            if self.device.type == "cuda":
                stack.enter_context(self._turn)
                stack.enter_context(torch.cuda.device(self.device))
            elif (before := torch.get_num_threads()) != self.threads:
                torch.set_num_threads(self.threads)
                stack.callback(torch.set_num_threads, before)
            if self.precision is not torch.float32:
                stack.enter_context(torch.autocast(self.device.type, self.precision))
            yield

    def upload(self, pictures: Sequence[NDArray[np.uint8]]) -> list[torch.Tensor]:
        """uint8 (height, width, 3) arrays -> contiguous uint8 (3, height, width) on the device."""
        pinned = self.device.type == "cuda"
        tensors = []
        for picture in pictures:
            staged = torch.empty(picture.shape, dtype=torch.uint8, pin_memory=pinned)
            staged.numpy()[...] = picture
            there = staged.to(self.device, non_blocking=True)
            tensors.append(there.permute(2, 0, 1).contiguous())
        return tensors


class Names(NamedTuple):
    """What a model's label numbers mean.

    labels   the words, each once
    position int32 (numbers,), of each number's word in `labels`; -1 for a number without one
    """

    labels: tuple[str, ...]
    position: NDArray[np.int32]

    @classmethod
    def of(cls, names: Sequence[str], *, background: bool) -> Names:
        """From the names in the order of their numbers; `N/A` stands for one that is not used.

        `background` is whether number 0 stands for no object.
        """
        empty = [
            name.lower() in NOTHING or (number == 0 and background)
            for number, name in enumerate(names)
        ]
        labels = tuple(dict.fromkeys(n for n, none in zip(names, empty, strict=True) if not none))
        position = [-1 if none else labels.index(n) for n, none in zip(names, empty, strict=True)]
        return cls(labels, np.array(position, dtype=np.int32))


class Found(NamedTuple):
    """What a model gave for one picture, still on its device: (n, 4), (n,), (n,).

    Masks are (n, h, w), small grids still to be drawn, or None.
    """

    xyxy: torch.Tensor
    score: torch.Tensor
    label: torch.Tensor
    masks: torch.Tensor | None = None


class TorchPredictor(ABC):
    """A loaded torch model; see `quorate.detectors.Predictor` for its duties.

    Pictures run together only where neither is padded for the other's sake, so company changes
    no box, save for the last digits where a GPU computes a batch in another order.
    """

    longest: int | None = None
    """Pixels that the longest side of a picture is shrunk to; None where aspects are not kept."""

    def __init__(self, spec: TorchDetector, runtime: Runtime, names: Names) -> None:
        self.labels = names.labels
        self.batch = runtime.batch
        self.runtime = runtime
        self._position = names.position
        self._min_score = spec.min_score
        self._max_detections = spec.max_detections
        self.told = {
            "layout": f"{spec.kind} {getattr(spec, 'architecture', '')}".rstrip() + ", by the spec",
            "input": "as the library that trains it prepares it",
            "colours": "RGB, as that library scales them",
            "names": told_names(names.labels),
        }

    @abstractmethod
    def frame(self, picture: Size) -> Size:
        """(height, width) of the network's input for a picture: equal ones may run together."""

    @abstractmethod
    def forward(self, pictures: list[torch.Tensor]) -> Any:
        """Run the network on uint8 (3, height, width) pictures of one frame."""

    @abstractmethod
    def found(self, outputs: Any, sizes: list[Size]) -> list[Found]:
        """What `forward` gave as boxes in pixels of the pictures, whose (height, width) these are.

        It runs while the device may be busy with another call's `forward`.
        """

    def drawn(
        self, grids: torch.Tensor, xyxy: NDArray[np.float32], size: Size, seen: Size
    ) -> Masks:
        """The masks of boxes (n, 4) in a picture of (height, width), by their grids on the host.

        `seen` is the size of what the network was shown: the picture, maybe with black beside it.
        """
        raise NotImplementedError  # a family whose `found` gives no grids is never asked

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find the boxes of each picture: by falling score, ties by corners, then label.

        DetectorError where the model fails, or gives a number that no box or score can have.
        """
        together: dict[Size, list[int]] = {}
        for index, picture in enumerate(pictures):
            together.setdefault(self.frame((picture.shape[0], picture.shape[1])), []).append(index)
        found: dict[int, Boxes] = {}
        for indexes in together.values():
            for start in range(0, len(indexes), self.batch):
                group = indexes[start : start + self.batch]
                found.update(zip(group, self._run([pictures[i] for i in group]), strict=True))
        return [found[index] for index in range(len(pictures))]

    def _run(self, pictures: list[NDArray[np.uint8]]) -> list[Boxes]:
        """One batch, in halves where the memory of the GPU does not hold it."""
        try:
            with torch.inference_mode():
                tensors = [self._widened(t) for t in self.runtime.upload(pictures)]
                with self.runtime.running():
                    outputs = self.forward(tensors)
                sizes = [(tensor.shape[1], tensor.shape[2]) for tensor in tensors]
                found = self.found(outputs, sizes)
                rows = _rows(found)
                grids = [None if f.masks is None else f.masks.float().cpu() for f in found]
        except torch.cuda.OutOfMemoryError:
            tensors = []
            torch.cuda.empty_cache()
            if len(pictures) == 1:
                raise DetectorError(
                    "the memory of the GPU does not hold one picture",
                    hint="what else runs there? `precision: bfloat16` or a smaller `image_size` "
                    "takes less",
                ) from None
            half = len(pictures) // 2
            log.warning("out of memory with %d pictures at once: now %d", len(pictures), half)
            self.batch = min(self.batch, half)
            return self._run(pictures[:half]) + self._run(pictures[half:])
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise DetectorError(f"the model failed: {first_line(error)}") from None
        boxes = []
        for row, grid, picture, seen in zip(rows, grids, pictures, sizes, strict=True):
            size = (picture.shape[0], picture.shape[1])
            one, order = self._boxes(row, size)
            if grid is not None:
                if not torch.isfinite(grid).all():
                    raise not_finite("a mask with a number", single=SINGLE)
                masks = self.drawn(grid[torch.from_numpy(order)], row[order, :4], size, seen)
                one = one._replace(masks=masks)
            boxes.append(one)
        return boxes

    def _widened(self, picture: torch.Tensor) -> torch.Tensor:
        """A sliver with black beside it, where shrinking would leave less than a pixel of it."""
        height, width = picture.shape[1:]
        if self.longest is None or min(height, width) * self.longest > max(height, width):
            return picture
        least = max(height, width) // self.longest + 2
        missing = (0, max(least - width, 0), 0, max(least - height, 0))
        return torch.nn.functional.pad(picture, missing)

    def _boxes(self, rows: NDArray[np.float32], size: Size) -> tuple[Boxes, NDArray[np.intp]]:
        """Finished boxes of (n, 6) rows of corners, score and label number; and which they were."""
        xyxy, score = rows[:, :4], rows[:, 4]
        check(xyxy, score, single=SINGLE, too_high=None)
        label = self._position[rows[:, 5].astype(np.int32)]
        real = np.flatnonzero((score >= self._min_score) & (label >= 0))
        boxes, order = finish(xyxy[real], score[real], label[real], size, self._max_detections)
        return boxes, real[order]


def _rows(found: list[Found]) -> list[NDArray[np.float32]]:
    """(n, 6) arrays of corners, score and label, brought from the device all at once."""
    tensors = [
        torch.cat([f.xyxy.float(), f.score.float()[:, None], f.label.float()[:, None]], dim=1)
        for f in found
    ]
    rows: NDArray[np.float32] = torch.cat(tensors).cpu().numpy()
    return np.split(rows, np.cumsum([len(tensor) for tensor in tensors])[:-1])


def in_float32(value: Any) -> Any:
    """The tensors of nested lists, tuples and dictionaries, in float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: in_float32(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_float32(item) for item in value)
    return value


def first_line(error: BaseException) -> str:
    """What an exception of torch or transformers says, without the pages that follow."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
    return text if len(text) <= 300 else f"{text[:300]}…"
