"""What a DETR's weights are before it has learnt anything, where there is no checkpoint.

transformers (5.23) draws nearly all of them from a normal distribution so narrow that what a layer
says is a fiftieth of what it was told, the scales of RT-DETR's batch norms around zero, and queries
that are nearly equal. From a checkpoint that does not matter; from scratch little is learnt. Here
they are drawn as in the papers' own code.
"""

from __future__ import annotations

import math
import re

from quorate.errors import MissingExtraError

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

PRIOR = 0.01
"""How likely an object is at first, so that the many queries without one do not drown the few with
one: Lin et al. 2017, arXiv:1708.02002, section 4.1."""
SMALL = -2.0
"""Before the sigmoid: deformable DETR's boxes begin with an eighth of the picture's sides."""
_SIGMOID = {
    "conditional_detr": r"^class_labels_classifier$",
    "deformable_detr": r"(^|\.)class_embed\.\d+$",
}
"""Heads of labels that the library gives no prior."""
_BOXES = re.compile(r"(bbox_predictor|bbox_embed(\.\d+)?|(enc|pre)_bbox_head)\.layers\.\d+$")


def begin(model: nn.Module, architecture: str, backbone: re.Pattern[str], seed: int) -> None:
    """Draw the weights of a model of transformers anew, but those of its backbone.

    Weights: Glorot and Bengio 2010, uniform, as DETR's (Carion et al. 2020, A.4); norms: 1 and 0;
    queries: normal. What the library sets to zero, as offsets of deformable attention, stays so.
    """
    sigmoid = _SIGMOID.get(architecture)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, part in model.named_modules():
            if backbone.search(f"{name}."):
                continue
            if isinstance(part, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
                part.reset_parameters()
            elif isinstance(part, nn.Embedding) and "query_position" in name:
                nn.init.normal_(part.weight)
            elif isinstance(part, nn.Linear | nn.Conv2d) and part.weight.any():
                nn.init.xavier_uniform_(part.weight)
                if sigmoid and re.search(sigmoid, name):
                    nn.init.constant_(part.bias, math.log(PRIOR / (1 - PRIOR)))
        if architecture != "detr":
            _begin_boxes(model, architecture)


def _begin_boxes(model: nn.Module, architecture: str) -> None:
    """Boxes begin where their query points, all of one size: the last layer says nothing yet."""
    layers = {name: part for name, part in model.named_modules() if _BOXES.search(name)}
    for name, part in layers.items():
        head, _, number = name.rpartition(".")
        if f"{head}.{int(number) + 1}" not in layers:
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
            if architecture == "deformable_detr" and re.search(r"bbox_embed\.0\.", name):
                nn.init.constant_(part.bias[2:], SMALL)
