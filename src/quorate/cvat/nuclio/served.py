"""One ensemble as a function of CVAT's: what it says of itself, whether it works, its answers."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from quorate.cvat.functions import Function, Shape
from quorate.errors import ImageError, QuorateError
from quorate.masks.shapes import decode
from quorate.report.markup import listed
from quorate.steps.look import PROBE, Answer

LOG = logging.getLogger("quorate.cvat")
STILL_GOOD = 2.0
"""Seconds for which what was found out about an ensemble's readiness is believed."""
REMEMBERED = 64 << 20
"""Bytes of boxes that are kept, for pictures that are asked about again."""
SHOWN, TIMED = 100, 1000
"""Failures and durations that are kept for the page."""


class Broken(Exception):  # noqa: N818 - a state, told to CVAT as 503
    """The ensemble cannot work at all now; the reason is in the message."""


class Failure(NamedTuple):
    """Something that a labeller would not learn from CVAT.

    when     seconds since 1970
    picture  the start of its SHA-256 and its length, for CVAT tells neither task nor frame
    """

    when: float
    picture: str
    what: str
    reason: str


@dataclass
class Record:
    """What happened to one function since the server began; all of it for the page."""

    calls: int = 0
    shapes: int = 0
    repeated: int = 0
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=SHOWN))
    failed: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=TIMED))


class Memory:
    """What was decided on the pictures that came last, by their digest; bounded in bytes."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self.limit, self.size = limit, 0
        self._kept: OrderedDict[bytes, tuple[Answer, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> Answer | None:
        """What is kept of a picture."""
        with self._lock:
            if digest not in self._kept:
                return None
            self._kept.move_to_end(digest)
            return self._kept[digest][0]

    def put(self, digest: bytes, found: Answer) -> None:
        """Keep it, and forget what was not asked about for longest."""
        size = _size(found)
        with self._lock:
            if digest in self._kept or size > self.limit:
                return
            self._kept[digest] = found, size
            self.size += size
            while self.size > self.limit:
                _, (_, freed) = self._kept.popitem(last=False)
                self.size -= freed


class Served:
    """A function that is served; any number of threads may ask it.

    name      what CVAT calls it: the ensemble's name
    record    what happened to it
    said      why it is not ready, as last found out; "" where it is
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.name: str = function.ensemble.name
        self.record = Record()
        self._memory = Memory()
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        self._good_until = 0.0
        self.said = ""

    def about(self, port: int) -> dict[str, Any]:
        """The function as a Nuclio dashboard tells it."""
        ensemble = self.function.ensemble
        names = [detector.name for detector in ensemble.detectors]
        attributes = [
            {"name": name, "input_type": "text", "values": [default]}
            for name, default in self.function.attributes.items()
        ]
        labels = [
            {"id": i, "name": label, "type": self.function.label_type, "attributes": attributes}
            for i, label in enumerate(self.function.labels)
        ]
        return {
            "metadata": {
                "name": self.name,
                "namespace": "nuclio",
                "labels": {"nuclio.io/project-name": "cvat"},
                "annotations": {
                    "name": self.name,
                    "type": "detector",
                    "framework": "quorate",
                    "spec": msgspec.json.encode(labels).decode(),
                },
            },
            "spec": {
                "description": f"{ensemble.fusion.method} of {listed(names)}, at least "
                f"{ensemble.needed} of {len(names)}; without a threshold, scores from "
                f"{ensemble.publish.min_score:g} on"
            },
            "status": {"state": "ready", "httpPort": port},
        }

    def first_look(self) -> None:
        """Look at a grey picture; raises QuorumError where too few detectors answer."""
        self.function.look(PROBE)
        self._good_until = time.monotonic() + STILL_GOOD

    def check(self, *, anew: bool = False) -> None:
        """Raise Broken where a run would fail now: too few detectors answer.

        They are shown a grey picture, unless they answered in the last seconds.
        """
        with self._probing:
            if not anew and time.monotonic() < self._good_until:
                return
            try:
                self.first_look()
            except Exception as error:
                self._good_until, reason = 0.0, _reason(error)
                if reason != self.said:
                    LOG.error("%s: not ready: %s", self.name, reason)
                self.said = reason
                raise Broken(reason) from None
            self.said = ""

    def answer(self, picture: bytes, threshold: float | None) -> bytes:
        """The shapes of a picture, as CVAT reads them from a function: a list in JSON.

        A picture that cannot be read, and one on which too few detectors answer, has none: an
        error would cost a labeller the frames before it as well. Both are told in the log and on
        the page. Raises Broken where too few answer to any picture.
        """
        began = time.perf_counter()
        digest = hashlib.sha256(picture).digest()
        named = f"picture {digest.hex()[:12]} ({len(picture):,} bytes)"
        kept = self._memory.get(digest)
        base = int.from_bytes(digest[:4]) >> 1
        try:
            found = kept or self._looked(picture, digest, named)
            shapes = self._shapes(found, named, threshold, base)
        except ImageError as error:
            self.failed(named, "no boxes", _reason(error))
            shapes = []
        except Exception as error:  # a fault of ours costs the frame, as a detector's does
            if not isinstance(error, QuorateError):
                LOG.exception("%s: a fault of Quorate's own", self.name)
            try:
                self.check(anew=True)
            except Broken:
                self.failed(named, "refused", _reason(error))
                raise
            self.failed(named, "no boxes", _reason(error))
            shapes = []
        body = msgspec.json.encode([_told(shape) for shape in shapes])
        seconds = time.perf_counter() - began
        with self._lock:
            self.record.calls += 1
            self.record.repeated += kept is not None
            self.record.shapes += len(shapes)
            self.record.seconds.append(seconds)
        LOG.info("%s: %s: %d shapes, %.0f ms", self.name, named, len(shapes), 1000 * seconds)
        return body

    def failed(self, picture: str, what: str, reason: str) -> None:
        """Put down what a labeller would not learn from CVAT."""
        LOG.warning("%s: %s: %s: %s", self.name, picture, what, reason)
        with self._lock:
            self._good_until = 0.0
            self.record.failed += 1
            self.record.failures.append(Failure(time.time(), picture, what, reason))

    def _looked(self, picture: bytes, digest: bytes, named: str) -> Answer:
        """What is decided on a picture now; it is kept where every detector answered."""
        found = self.function.look(picture)
        for name, reason in found.failed.items():
            self.failed(named, f"without {name}", _plain(reason))
        if not found.failed:
            self._memory.put(digest, found)
            self._good_until, self.said = time.monotonic() + STILL_GOOD, ""
        return found

    def _shapes(self, found: Answer, named: str, threshold: float | None, base: int) -> list[Shape]:
        bad = int(np.count_nonzero(~np.isfinite(found.boxes.xyxy).all(axis=1)))
        if bad:
            self.failed(named, f"without {bad} boxes", "they are not finite")
        return [*self.function.shapes(found.boxes, threshold, base=base, outlines=True)]


def _told(shape: Shape) -> dict[str, Any]:
    """A shape as a function's answer has it.

    A mask is told pixel by pixel, within its box; where a labeller asks for polygons, CVAT takes
    `points`.
    """
    told: dict[str, Any] = {
        "label": shape.label,
        "type": shape.type,
        "points": shape.points,
        "confidence": f"{shape.score:.4f}",
        "attributes": [{"name": name, "value": value} for name, value in shape.attributes.items()],
    }
    if shape.group is not None:
        told["group_id"] = shape.group
    if shape.type == "mask":
        *runs, left, top, right, bottom = map(int, shape.points)
        pixels = decode(np.array(runs), right - left + 1, bottom - top + 1)
        told["mask"] = [*pixels.reshape(-1).astype(int).tolist(), left, top, right, bottom]
        told["points"] = shape.outline
    return told


def _reason(error: Exception) -> str:
    return _plain(error.message) if isinstance(error, QuorateError) else repr(error)


def _plain(reason: str) -> str:
    """Without the name that a picture has where it has none."""
    return reason.replace("picture 0: ", "")


def _size(found: Answer) -> int:
    """About how many bytes of memory are held."""
    boxes = found.boxes
    held = [boxes.members, boxes.masks, boxes]
    columns = [value for one in held if one is not None for value in vars(one).values()]
    return 4096 + sum(int(getattr(column, "nbytes", 0)) for column in columns)
