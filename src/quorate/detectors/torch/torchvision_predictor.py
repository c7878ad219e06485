"""torchvision's detectors at work: a picture in, its boxes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.names import given_names
from quorate.detectors.torch.predictor import (
    BACKGROUND,
    Found,
    Names,
    Runtime,
    Size,
    TorchPredictor,
    in_float32,
)
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.detectors.torch.weights import misfit, read_state
from quorate.errors import DetectorError, MissingExtraError
from quorate.masks import Masks
from quorate.networks import names_of

try:
    import torch
    from torch import nn
    from torchvision.models import detection, mobilenet_v3_large
    from torchvision.models.detection import roi_heads, ssdlite
    from torchvision.models.detection.transform import resize_boxes
    from torchvision.ops import FrozenBatchNorm2d
except ImportError as error:
    raise MissingExtraError("`kind: torchvision`", "torch") from error

COCO_NUMBERS = 91
"""Labels of torchvision's own weights, the background and the gaps in COCO's ids among them."""

_DENSE = ("head.classification_head.cls_logits.weight", "head.regression_head.bbox_reg.weight")
HEADS: dict[str, tuple[str, str]] = {
    "fasterrcnn": ("roi_heads.box_predictor.cls_score.weight", ""),
    "maskrcnn": ("roi_heads.box_predictor.cls_score.weight", ""),
    "retinanet": _DENSE,
    "fcos": _DENSE,
    "ssd300": (
        "head.classification_head.module_list.0.weight",
        "head.regression_head.module_list.0.weight",
    ),
    "ssdlite320": (
        "head.classification_head.module_list.0.1.weight",
        "head.regression_head.module_list.0.1.weight",
    ),
}
"""Keys that tell the number of labels: of the scores, and of the boxes of as many anchors."""
SIGMOID = ("retinanet", "fcos")
"""Each label has a score of its own, so number 0 may be a label as well as the background."""
EPS_OF_FROZEN = {
    "fasterrcnn_resnet50_fpn": 0.0,
    "maskrcnn_resnet50_fpn": 0.0,
    "retinanet_resnet50_fpn": 0.0,
}
"""What torchvision sets in models that begin from its COCO weights of version 1; else 1e-5."""


class TorchvisionPredictor(TorchPredictor):
    """A loaded detector of torchvision; see `quorate.detectors.Predictor` for its duties."""

    def __init__(
        self, spec: TorchvisionDetector, runtime: Runtime, names: Names, model: nn.Module
    ) -> None:
        super().__init__(spec, runtime, names)
        self.model = model.to(runtime.device)
        if model.transform.fixed_size is None:
            self.longest = int(model.transform.max_size)

    @classmethod
    def load(cls, spec: TorchvisionDetector) -> TorchvisionPredictor:
        """Read the weights, build the architecture that they fit, settle what the labels are."""
        runtime = Runtime.of(spec)
        state = read_state(spec.weights)
        family = spec.architecture.partition("_")[0]
        numbers = _numbers(state.tensors, family, spec)
        names = _names(spec, state.metadata, numbers, family)
        with torch.random.fork_rng(devices=[]):  # a model begins with random weights
            model = _fitting(spec, state.tensors, numbers)
        model.load_state_dict(state.tensors, strict=False)
        settle(model.eval(), spec)
        return cls(spec, runtime, names, model)

    def frame(self, picture: Size) -> Size:
        """See `TorchPredictor`."""
        if self.longest is None:
            return 0, 0  # SSD's one size
        return picture

    def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """See `TorchPredictor`."""
        found: list[dict[str, torch.Tensor]] = self.model([p.float().div_(255) for p in pictures])
        return found

    def found(self, outputs: list[dict[str, torch.Tensor]], sizes: list[Size]) -> list[Found]:
        """See `TorchPredictor`."""
        return [
            Found(
                one["boxes"],
                one["scores"],
                one["labels"],
                one["masks"][:, 0] if "masks" in one else None,
            )
            for one in outputs
        ]

    def drawn(
        self, grids: torch.Tensor, xyxy: NDArray[np.float32], size: Size, seen: Size
    ) -> Masks:
        """See `TorchPredictor`; the pixels are those of torchvision's `paste_masks_in_image`.

        That draws each mask into a picture of its own; here only its box is unrolled.
        """
        height, width = size
        wide, scale = roi_heads.expand_masks(grids[:, None], padding=1)
        places = roi_heads.expand_boxes(torch.from_numpy(xyxy.copy()), scale).to(torch.int64)
        drawn: list[Masks | int] = [0]
        for grid, (x1, y1, x2, y2) in zip(wide, places.tolist(), strict=True):
            sides = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
            pixels = nn.functional.interpolate(
                grid[None], size=sides, mode="bilinear", align_corners=False
            )[0, 0]
            left, top = max(x1, 0), max(y1, 0)
            inside = pixels[
                top - y1 : min(y2 + 1, height) - y1, left - x1 : min(x2 + 1, width) - x1
            ]
            masks = Masks.from_bitmaps((inside > 0.5).numpy()[None])
            drawn.append(masks.moved(left, top, height, width))
        return Masks.concat(drawn)


def _numbers(tensors: Mapping[str, torch.Tensor], family: str, spec: TorchvisionDetector) -> int:
    """How many label numbers the weights are for, the background's included."""
    score, box = HEADS[family]
    if any(key and (key not in tensors or not tensors[key].ndim) for key in (score, box)):
        like = [
            name
            for name, keys in HEADS.items()
            if all(key in tensors for key in keys if key)
            and (name == "maskrcnn") == any("mask_predictor" in key for key in tensors)
        ]
        raise DetectorError(
            f"{spec.weights}: not the weights of '{spec.architecture}': they lack {score}.",
            hint=f"they look like those of a {' or a '.join(like)}" if like else None,
        )
    anchors = tensors[box].shape[0] // 4 if box else 1
    return int(tensors[score].shape[0] // max(anchors, 1))


def _names(
    spec: TorchvisionDetector, metadata: Mapping[str, str], numbers: int, family: str
) -> Names:
    """The spec's names, else the file's, else COCO's where there are as many."""
    names = given_names(spec.names) or names_of(metadata, origin=spec.weights) or ()
    if not names and numbers == COCO_NUMBERS:
        names = tuple(detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    if not names:
        raise DetectorError(
            f"{spec.weights}: does not say what its {numbers - 1} labels are called.",
            hint=f"list them in their order under `names:` of the detector '{spec.name}', "
            "for example `names: [car, person]`",
        )
    if len(names) == numbers - 1 and names[0].lower() not in BACKGROUND:
        names = (BACKGROUND[0], *names)
    if len(names) != numbers or (family not in SIGMOID and names[0].lower() not in BACKGROUND):
        given = len(names) - (names[0].lower() in BACKGROUND)
        raise DetectorError(
            f"{spec.weights}: has room for {numbers - 1} labels beside the background, "
            f"but there are {given} names.",
            hint="correct `names` of the detector",
        )
    return Names.of(names, background=names[0].lower() in BACKGROUND)


def _fitting(
    spec: TorchvisionDetector, tensors: Mapping[str, torch.Tensor], numbers: int
) -> nn.Module:
    """The architecture, in the variant that these weights fit."""
    builders: list[Callable[..., nn.Module]] = [getattr(detection, spec.architecture)]
    if spec.architecture.startswith("ssdlite320"):
        builders.append(_ssdlite_with_full_tail)
    misfits = []
    for build in builders:
        model = build(
            weights=None,
            weights_backbone=None,
            num_classes=numbers,
            **options(spec),
        )
        if not any(key.endswith("num_batches_tracked") for key in tensors):
            eps = spec.batch_norm_eps
            if eps is None:
                eps = EPS_OF_FROZEN.get(spec.architecture, 1e-5)
            freeze(getattr(model, "backbone", model), eps)
        misfits.append(misfit(model, tensors))
        if misfits[-1] is None:
            return model
    raise DetectorError(
        f"{spec.weights}: the weights do not fit '{spec.architecture}': {misfits[0]}.",
        hint="keys of the heads: other anchors or other heads than torchvision's; keys of the "
        "backbone: another architecture",
    )


def options(spec: TorchvisionDetector) -> dict[str, Any]:
    """What a builder is told of the size of pictures."""
    if spec.image_size is None:
        return {}
    if spec.architecture.startswith("ssd"):
        raise DetectorError(
            f"'{spec.architecture}' sees every picture at one size; it takes no `image_size`.",
            hint="leave `image_size` out",
        )
    asked = spec.image_size
    shortest, longest = asked if isinstance(asked, tuple) else (asked, round(asked * 1333 / 800))
    return {"min_size": shortest, "max_size": max(longest, shortest)}


def settle(model: nn.Module, spec: TorchvisionDetector) -> None:
    """What is kept, what is suppressed, in what precision, and which scale each level has."""
    last = getattr(model, "roi_heads", model)
    last.score_thresh = spec.min_score
    last.detections_per_img = spec.max_detections
    if spec.nms_iou is not None:
        last.nms_thresh = spec.nms_iou
    # Boxes are computed from the heads' numbers, and a half has no room for 1000.5.
    heads = [model.rpn.head, last.box_predictor] if last is not model else [model.head]
    for head in heads:
        head.register_forward_hook(lambda module, inputs, outputs: in_float32(outputs))
    if last is not model:
        # The pooler measures its levels' scales on the first picture that it sees. Were that a
        # sliver, it would take wrong ones for all that follow.
        side = 256
        with torch.inference_mode():
            levels = model.backbone(torch.zeros(1, 3, side, side))
            whole = torch.tensor([[0.0, 0.0, side, side]])
            last.box_roi_pool(levels, [whole], [(side, side)])
            if getattr(last, "mask_roi_pool", None) is not None:
                if spec.masks:
                    last.mask_roi_pool(levels, [whole], [(side, side)])
                    model.transform.postprocess = _unpasted
                else:  # without their heads no time goes into them
                    last.mask_roi_pool = last.mask_head = last.mask_predictor = None


def _unpasted(
    result: list[dict[str, torch.Tensor]],
    shapes: list[Size],
    originals: list[Size],
) -> list[dict[str, torch.Tensor]]:
    """`GeneralizedRCNNTransform.postprocess`, but for masks: they are drawn once some are left."""
    for one, shape, original in zip(result, shapes, originals, strict=True):
        one["boxes"] = resize_boxes(one["boxes"], list(shape), list(original))
    return result


def freeze(module: nn.Module, eps: float) -> None:
    """Put a frozen batch norm in the place of each: it is what such weights were trained with."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            freeze(child, eps)


def _ssdlite_with_full_tail(**options: Any) -> nn.Module:
    """SSDLite as torchvision builds it on ImageNet's weights: its last blocks keep their width."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = ssdlite._mobilenet_extractor(mobilenet_v3_large(norm_layer=norm), 6, norm)
    anchors = detection.anchor_utils.DefaultBoxGenerator(
        [[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95
    )
    channels = detection._utils.retrieve_out_channels(backbone, (320, 320))
    numbers = options["num_classes"]
    head = ssdlite.SSDLiteHead(channels, anchors.num_anchors_per_location(), numbers, norm)
    return detection.ssd.SSD(
        backbone,
        anchors,
        (320, 320),
        numbers,
        head=head,
        nms_thresh=0.55,
        topk_candidates=300,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
