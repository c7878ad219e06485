"""darknet detectors as described in a spec; nothing here needs numpy or onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from quorate.detectors.tensors.spec import Providers
from quorate.spec.base import Location, Names
from quorate.spec.detector import Detector

if TYPE_CHECKING:
    from quorate.detectors.tensors.predictor import TensorPredictor

Side = Annotated[int, Field(ge=1, le=8192)]


class DarknetDetector(Detector):
    """A model of darknet: its .cfg, its .weights and its .names."""

    kind: Literal["darknet"] = "darknet"
    cfg: Location = Field(description="The .cfg file: a path, or an S3 URI.")
    weights: Location = Field(description="The .weights file: a path, or an S3 URI.")
    names: Names = Field(
        description="The .names file, one label a line; the labels themselves, in their order; or "
        "coco, coco91, voc.",
        examples=["yolo.names", ["car", "person"], "coco"],
    )
    image_size: Side | tuple[Side, Side] | None = Field(
        None,
        description="Pixels of a side, or [height, width]; default: the cfg's.",
        examples=[416, [320, 416]],
    )
    resize: Literal["stretch", "letterbox"] | None = Field(
        None, description="Default: letterbox where the cfg says `letter_box=1`, else stretch."
    )
    nms_iou: float = Field(
        0.45, ge=0.0, le=1.0, description="Suppress boxes of one label that overlap more."
    )
    batch: PositiveInt = Field(1, description="Most pictures given to the network at once.")
    threads: PositiveInt = Field(1, description="Threads inside one run of the network.")
    providers: Providers = Field(
        ("CPUExecutionProvider",),
        description="onnxruntime's execution providers, in order; auto: the fastest there is.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The .weights, the .names file and the .cfg."""
        return (*super().files, self.cfg)

    def load(self) -> TensorPredictor:
        """Read the files, turn them into ONNX or find that in the cache, and open it.

        Raises:
            DetectorError: a file is missing, is not what it should be, or does not fit the
                others; or the cfg has a layer that is not known here.
            StorageError: a file is in S3, which does not answer.
        """
        from quorate.detectors.darknet.conversion import load

        return load(self)
