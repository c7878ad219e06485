"""GoogLeNet and ResNet-50 of torchvision as ONNX files: made-up weights, real architectures.

    .venv-torch/bin/python -m tests.classifiers.exports FOLDER

Inputs are 224 x 224 pixels, outputs logits of 1,000 labels. The files, 129 MB, are for tests and
benchmarks, and are never kept.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

NETWORKS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": True, "aux_logits": False},
    "resnet50": {},
}
"""By torchvision's names, what making one takes."""
SIDE = 224


def exported(name: str, folder: Path) -> tuple[Path, Any]:
    """The file of a network, and the network itself, in torch."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    network = getattr(models, name)(weights=None, **NETWORKS[name]).eval()
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter warns of itself
        torch.onnx.export(network, (torch.zeros(1, 3, SIDE, SIDE),), path, dynamo=False)
    return path, network


if __name__ == "__main__":
    [folder] = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        print(exported(name, folder)[0])
