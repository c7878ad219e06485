"""What the kinds that run in torch have in common, as described in a spec.

Nothing here needs torch: that comes with `load`.
"""

from __future__ import annotations

from pydantic import Field, PositiveInt

from quorate.spec.architectures import Device, Precision
from quorate.spec.base import Location, Names
from quorate.spec.detector import Detector


class TorchDetector(Detector):
    """A model that torch runs."""

    weights: Location
    names: Names = Field(
        (),
        description="The model's labels in the order of their numbers, a file of them, or coco, "
        "coco91, voc; default: the weights'.",
    )
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:1; auto: cuda if there.")
    precision: Precision = Field(
        "float32", description="Of the network's matrices; boxes are computed in float32 always."
    )
    batch: PositiveInt | None = Field(
        None, description="Most pictures in one run of the network; default: 1, and 8 on CUDA."
    )
    masks: bool = Field(True, description="Give masks, where the model has them.")
    threads: PositiveInt = Field(1, description="Threads inside one run of the network on a CPU.")
