"""An ensemble as a detection function of CVAT's own SDK: `cvat-cli task auto-annotate`, and agents.

The interface is `cvat_sdk.auto_annotation.DetectionFunction`, as its 2.80 states it; older ones,
back to 2.15, are a part of that.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from quorate.annotations import MaskShape
from quorate.cvat.functions import Function
from quorate.ensemble import DetectionEnsemble
from quorate.errors import MissingExtraError
from quorate.pictures import upright

LOG = logging.getLogger("quorate.cvat")


class DetectionFunction:
    """An ensemble whose boxes are those of `quorate run`; any number of threads may call it.

    spec  the labels, each with the text attributes that `publish.attributes` lists
    """

    def __init__(self, ensemble: DetectionEnsemble) -> None:
        try:
            from cvat_sdk import auto_annotation, models
        except ImportError as error:
            if error.name != "cvat_sdk":
                raise
            raise MissingExtraError("A detection function for CVAT", "cvat") from None

        self._models: Any = models
        self._function = Function(ensemble)
        self._ids = {name: i for i, name in enumerate(self._function.labels, start=1)}
        self._attributes = {name: i for i, name in enumerate(self._function.attributes, start=1)}
        self.spec = auto_annotation.DetectionFunctionSpec(
            labels=[
                auto_annotation.label_spec(
                    name,
                    number,
                    type=self._function.label_type,
                    attributes=[
                        models.AttributeRequest(
                            id=self._attributes[attribute],
                            name=attribute,
                            input_type="text",
                            mutable=False,
                            values=[default],
                        )
                        for attribute, default in self._function.attributes.items()
                    ],
                )
                for name, number in self._ids.items()
            ]
        )

    def detect(self, context: Any, image: Image.Image) -> Sequence[Any]:
        """The shapes of a frame, as CVAT's SDK takes them.

        `context.conf_threshold` takes the place of the spec's `publish.min_score`. Where
        `context.conv_mask_to_poly` is true, masks are polygons. A frame that cannot be read has no
        shapes, and the log says so.

        Raises QuorumError where fewer detectors than the quorum answer, as a run does: CVAT's SDK
        uploads nothing then.
        """
        name = context.frame_name
        try:
            picture = upright(image)
        except Exception as error:  # a decoder of untrusted bytes raises nearly anything
            LOG.warning("%s: no boxes: it cannot be decoded (%s)", name, error)
            return []
        found = self._function.look(picture)
        for detector, reason in found.failed.items():
            LOG.warning("%s: without %s: %s", name, detector, reason)
        masks: MaskShape | None = None
        asked = self._function.ensemble.publish.masks
        if getattr(context, "conv_mask_to_poly", False) and asked == "mask":
            masks = "polygon"
        base = zlib.crc32(name.encode()) >> 1
        # SDKs of before 2.25 know no threshold.
        threshold = getattr(context, "conf_threshold", None)
        shapes = self._function.shapes(found.boxes, threshold, base=base, masks=masks)
        return [
            self._models.LabeledShapeRequest(
                frame=0,
                label_id=self._ids[shape.label],
                type=shape.type,
                points=shape.points,
                attributes=[
                    self._models.AttributeValRequest(spec_id=self._attributes[key], value=value)
                    for key, value in shape.attributes.items()
                ],
                **({} if shape.group is None else {"group": shape.group}),
            )
            for shape in shapes
        ]


def detection_function(spec: str | Path | DetectionEnsemble) -> DetectionFunction:
    """A function for `cvat_sdk.auto_annotation.annotate_task`, of a spec file or an ensemble.

    The detectors are loaded now. Raises MissingExtraError without cvat-sdk, and what
    `DetectionEnsemble.from_yaml` and `load` raise.
    """
    if not isinstance(spec, DetectionEnsemble):
        spec = DetectionEnsemble.from_yaml(spec)
    return DetectionFunction(spec)
