"""Two small networks of different families that say what a part is.

`Residual`: ResNet's blocks, two convolutions each and a way around them; gives logits.
`Inception`: GoogLeNet's blocks, four filters of different reach side by side; gives probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 32
"""Pixels of a side of both networks' input."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """He et al. 2016 (arXiv:1512.03385): what two convolutions add to what comes in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.around = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.around(x))


class Residual(nn.Module):
    """(n, 3, SIDE, SIDE) RGB, ImageNet's mean and deviation -> (n, labels) logits."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 3), _Block(16, 24, 2), _Block(24, 48, 2), _Block(48, 64, 2)
        )
        self.head = nn.Linear(64, labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class _Mixed(nn.Module):
    """Szegedy et al. 2015 (arXiv:1409.4842): filters of reach 1, 3, 5 and a maximum, joined."""

    def __init__(self, inputs: int, each: int) -> None:
        super().__init__()
        self.ways = nn.ModuleList(
            [
                conv(inputs, each, 1),
                nn.Sequential(conv(inputs, each, 1), conv(each, each, 3)),
                nn.Sequential(conv(inputs, each // 2, 1), conv(each // 2, each, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, each, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([way(x) for way in self.ways], 1)


class Inception(nn.Module):
    """(n, SIDE, SIDE, 3) RGB 0..255 -> (n, labels) probabilities, as a network of TensorFlow's.

    It sees grey only. In training it is given planes, 0..1, and gives logits.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(1, 16, 5, 2),
            _Mixed(16, 12),
            nn.MaxPool2d(2),
            _Mixed(48, 18),
            nn.MaxPool2d(2),
            _Mixed(72, 24),
        )
        self.head = nn.Linear(96, labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body((x.mean(1, keepdim=True) - 0.45) / 0.225).mean((2, 3)))

    def classify(self, pixels: Tensor) -> Tensor:
        """What the exported file does."""
        return torch.softmax(self(pixels.permute(0, 3, 1, 2) / 255), 1)
