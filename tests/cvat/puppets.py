"""A detector of the tests' own, as a plug-in: it finds red and green, and fails as a file says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import numpy as np

from quorate.detectors import Boxes
from quorate.errors import ServerError
from quorate.masks import Masks
from tests.plugins import install_kind
from tests.spots import Spots, SpotsPredictor


class Puppet(Spots):
    """Spots, with masks where asked for; `switch` is a file that says what goes wrong now."""

    kind: Literal["puppet"] = "puppet"  # type: ignore[assignment]
    switch: str = ""
    masks: bool = False

    def load(self) -> PuppetPredictor:
        return PuppetPredictor(self)


class PuppetPredictor(SpotsPredictor):
    """Its labels are those of Spots."""

    def predict(self, pictures):
        switch = Path(self.spots.switch)
        what = switch.read_text() if self.spots.switch and switch.exists() else ""
        if what == "fail":
            raise RuntimeError("out of order")
        if what == "away":
            raise ServerError("http://model: no answer")
        if what == "hang":
            while switch.exists():
                time.sleep(0.01)
        found = [self._one(picture) for picture in pictures]
        if what == "nan":
            return [one._replace(xyxy=one.xyxy * np.float32(np.nan)) for one in found]
        if what == "infinite":
            return [one._replace(score=one.score * np.float32(np.inf)) for one in found]
        if not self.spots.masks:
            return found
        return [
            one._replace(masks=masks(one, picture))
            for one, picture in zip(found, pictures, strict=True)
        ]


def masks(boxes: Boxes, picture) -> Masks | None:
    """The very pixels of each colour: of two parts where the picture has a stripe through it."""
    if not len(boxes.label):
        return None
    bitmaps = [(picture[..., i] > 150) & (picture.sum(axis=2) < 300) for i in boxes.label]
    return Masks.from_bitmaps(np.stack(bitmaps))


def install(folder: Path) -> None:
    """Make the kind known to Python processes whose path has the folder."""
    install_kind(folder, "puppet", "tests.cvat.puppets:Puppet")
