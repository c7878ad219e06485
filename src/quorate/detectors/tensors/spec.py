"""What the kinds that give bare tensors have in common, as described in a spec.

Nothing here needs onnxruntime, nor the compiled kernels: those come with `load`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from quorate.detectors.tensors.geometry import Resize
from quorate.spec.base import Names
from quorate.spec.detector import Detector

LayoutName = Literal[
    "auto",
    "efficient_nms",
    "tensorflow",
    "mmyolo",
    "yolo_nas",
    "selected_indices",
    "paddle",
    "ssd",
    "rtdetr",
    "torchvision",
    "mmdeploy",
    "yolov7_end2end",
    "ultraface",
    "detr",
    "rfdetr",
    "yolov10",
    "centernet",
    "yolov8",
    "yolov5",
    "yolox",
    "nanodet",
    "fastestdet",
    "ultralytics_rtdetr",
    "yolo_obb",
]
LAYOUT_NAMES: tuple[str, ...] = get_args(LayoutName)
Grey = Annotated[int, Field(ge=0, le=255)]
Providers = Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)]
Positive3 = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class TensorDetector(Detector):
    """A network of tensors in and out; its layout says what they mean.

    What is left out is read from the model, or is its layout's own.
    """

    layout: LayoutName = Field("auto", description="What the outputs mean.")
    names: Names = Field(
        (),
        description="The model's labels in the order of their numbers, a file of them, or coco, "
        "coco91, voc; default: its metadata's.",
        examples=[["car", "person"], "classes.txt", "coco"],
    )
    labels_from: NonNegativeInt | None = Field(
        None,
        le=1000,
        description="The number that the model gives to the first of names; default: the layout's.",
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="Pixels of a side, or [height, width]; [shortest, longest] for shortest_edge.",
        examples=[640, [480, 640]],
    )
    resize: Resize | None = Field(None, description="How a picture fits the network's input.")
    antialias: bool | None = Field(
        None, description="Average when shrinking (Pillow, torchvision), or sample (OpenCV)."
    )
    scale: PositiveFloat | None = Field(
        None, description="The network sees (value * scale - mean) / std; 1/255 gives 0..1."
    )
    mean: tuple[float, float, float] | None = Field(None, description="See scale.")
    std: Positive3 | None = Field(None, description="See scale.")
    channels: Literal["rgb", "bgr"] | None = Field(None, description="Their order.")
    pad: Grey | None = Field(None, description="Grey level around a letterboxed picture.")
    activation: Literal["none", "sigmoid", "softmax"] | None = Field(
        None, description="What makes scores of the model's numbers."
    )
    box_format: Literal["xyxy", "yxyx", "cxcywh"] | None = Field(
        None, description="The order of a box's numbers, where a layout leaves it open."
    )
    box_units: Literal["pixels", "relative"] | None = Field(
        None, description="Boxes in the network's pixels, or in 0..1 of its size."
    )
    masks: bool = Field(True, description="Give masks, where the model has them.")
    nms_iou: float | None = Field(
        None, ge=0.0, le=1.0, description="Suppress boxes of one label that overlap more."
    )
    batch: PositiveInt = Field(1, description="Most pictures given to the network at once.")
