"""What the kinds that give bare tensors have in common, as described in a spec.

Nothing here needs onnxruntime, nor the compiled kernels: those come with `load`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from quorate.detectors.tensors.spec import Grey, Positive3
from quorate.spec.base import Names
from quorate.spec.classifier import Classifier

Fit = Literal["crop", "stretch", "letterbox", "corner", "none"]
Activation = Literal["auto", "none", "softmax", "sigmoid"]


class TensorClassifier(Classifier):
    """A network that takes a picture and gives a number for each label.

    What is left out is read from the model. How it wants pixels no model tells: what is left out
    of scale, mean, std and channels is ImageNet's, and a note says so where nothing of it is given.
    """

    names: Names = Field(
        (),
        description="The model's labels in the order of their numbers, or a file of them; "
        "default: its metadata's, else the numbers themselves.",
        examples=[["cat", "dog"], "classes.txt"],
    )
    output: str | None = Field(
        None, min_length=1, description="The output that has the labels' numbers, of several."
    )
    activation: Activation = Field(
        "auto",
        description="What makes probabilities of the model's numbers; auto: softmax, unless they "
        "are probabilities already.",
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="Pixels of a side, or [height, width]; default: the model's own, else 224.",
        examples=[224, [224, 224]],
    )
    resize: Fit = Field(
        "crop",
        description="How a picture fits the network's input: its middle, all of it stretched, or "
        "all of it with a margin.",
    )
    crop: float = Field(
        0.875,
        gt=0.0,
        le=1.0,
        description="With resize crop: the share of the shorter side that is shown.",
    )
    antialias: bool = Field(
        True, description="Average when shrinking (Pillow, torchvision), or sample (OpenCV)."
    )
    scale: PositiveFloat | None = Field(
        None, description="The network sees (value * scale - mean) / std; 1/255 gives 0..1."
    )
    mean: tuple[float, float, float] | None = Field(None, description="See scale.")
    std: Positive3 | None = Field(None, description="See scale.")
    channels: Literal["rgb", "bgr"] | None = Field(None, description="Their order.")
    pad: Grey = Field(114, description="Grey level of a margin.")
    batch: PositiveInt = Field(1, description="Most pictures given to the network at once.")
