"""Three small detectors of different families, each below a quarter of a million weights.

`Yolo`: anchor-free, multi-scale, several positives per part, needs NMS behind it.
`Detr`: one query per cell of a coarse grid, self-attention, one positive per part, no NMS.
`Fcos`: grey-scale residual network with a feature pyramid and a centre-ness branch, NMS inside.

In training `forward` gives raw values for `losses`; `decode` gives what the exported file does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 4
STRIDES = (8, 16, 32)


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: str = "silu"
) -> nn.Sequential:
    """Return convolution, batch norm, activation ("silu" or "relu")."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(inplace=True) if act == "silu" else nn.ReLU(inplace=True),
    )


class CrossStage(nn.Module):
    """A cross-stage partial block: half of the channels pass a small residual chain."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.split = conv(inputs, outputs, 1)
        self.chain = nn.ModuleList(
            nn.Sequential(conv(half, half), conv(half, half)) for _ in range(depth)
        )
        self.merge = conv(half * (2 + depth), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, inputs, h, w]`` to ``[n, outputs, h, w]``."""
        parts = list(self.split(x).chunk(2, 1))
        for link in self.chain:
            parts.append(parts[-1] + link(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class Residual(nn.Module):
    """Two convolutions with a shortcut; the first may halve the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride, "relu")
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, inputs, h, w]`` to ``[n, outputs, h / stride, w / stride]``."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


def grid_centres(tall: int, wide: int, stride: int) -> Tensor:
    """Return the cell centres of a grid, row by row: ``[tall * wide, 2]``, x and y in pixels."""
    y, x = torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij")
    return (torch.stack([x, y], -1).reshape(-1, 2).float() + 0.5) * stride


def flat(level: Tensor) -> Tensor:
    """Return ``[n, c, h, w]`` as ``[n, h * w, c]``, row by row."""
    return level.flatten(2).transpose(1, 2)


class Yolo(nn.Module):
    """Cross-stage partial network with a top-down neck and shared heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 32, 7, 4)
        self.stage3 = nn.Sequential(conv(32, 48, 3, 2), CrossStage(48, 48))
        self.stage4 = nn.Sequential(conv(48, 64, 3, 2), CrossStage(64, 64))
        self.stage5 = nn.Sequential(conv(64, 80, 3, 2), conv(80, 48, 1))
        self.neck4 = CrossStage(64 + 48, 48)
        self.neck3 = CrossStage(48 + 48, 48)
        self.box = nn.Sequential(conv(48, 48), nn.Conv2d(48, 4, 1))
        self.category = nn.Sequential(conv(48, 48), nn.Conv2d(48, CLASSES, 1))
        nn.init.constant_(self.category[-1].bias, -4.0)
        nn.init.constant_(self.box[-1].bias, 1.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``[n, 3, h, w]`` (RGB, 0..1; h and w multiples of 32) to raw predictions.

        Returns:
            Class logits ``[n, a, 4]``, boxes ``[n, a, 4]`` (xyxy, input pixels) and the anchors
            ``[a, 3]`` (x, y, stride), the finest level first.
        """
        low = self.stage3(self.stem(images))
        middle = self.stage4(low)
        top = self.stage5(middle)
        middle = self.neck4(torch.cat([middle, functional.interpolate(top, scale_factor=2.0)], 1))
        low = self.neck3(torch.cat([low, functional.interpolate(middle, scale_factor=2.0)], 1))
        logits, boxes, anchors = [], [], []
        for level, stride in zip((low, middle, top), STRIDES, strict=True):
            centres = grid_centres(level.shape[2], level.shape[3], stride)
            reach = functional.softplus(flat(self.box(level))) * stride
            boxes.append(torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1))
            logits.append(flat(self.category(level)))
            anchors.append(functional.pad(centres, (0, 1), value=stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(anchors)

    def decode(self, images: Tensor) -> Tensor:
        """Return ``[n, 8, a]``: centre x, centre y, width, height (pixels), four scores."""
        logits, boxes, _ = self(images)
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        return torch.cat([centre, size, logits.sigmoid()], -1).transpose(1, 2)


class Detr(nn.Module):
    """Residual backbone and a two-layer transformer over a grid of queries, 16 pixels apart.

    Queries start from the grid (as in two-stage DETR), which is why it learns in minutes.
    """

    SIDE = 320
    WIDTH = 80

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            conv(3, 32, 7, 4, "relu"),
            Residual(32, 48, 2),
            Residual(48, 56, 2),
            conv(56, self.WIDTH, 1, act="relu"),
        )
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.WIDTH, 4, 128, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.category = nn.ModuleList(nn.Linear(self.WIDTH, CLASSES + 1) for _ in range(2))
        self.box = nn.ModuleList(
            nn.Sequential(nn.Linear(self.WIDTH, 64), nn.ReLU(), nn.Linear(64, 4)) for _ in range(2)
        )
        cells = self.SIDE // 16
        centres = grid_centres(cells, cells, 16) / self.SIDE
        self.register_buffer("centres", centres.view(cells, cells, 2))
        self.register_buffer("position", self._sines(centres).view(cells, cells, -1))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        for head in self.category:
            nn.init.constant_(head.bias[CLASSES], 3.0)

    def _sines(self, centres: Tensor) -> Tensor:
        waves = 2.0 ** torch.arange(self.WIDTH // 4).mul(6 / (self.WIDTH // 4)) * math.pi
        angles = (centres[..., None] * waves).flatten(1)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def forward(self, images: Tensor, corner: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        """Map a part of the 320 by 320 canvas to predictions after each transformer layer.

        Args:
            images: ``[n, 3, h, w]`` (RGB, 0..1), multiples of 16.
            corner: The cell (row, column) of the canvas where their top left corner lies.
        """
        return self.queries((images - self.mean) / self.deviation, corner)

    def queries(
        self, pixel_values: Tensor, corner: tuple[int, int] = (0, 0)
    ) -> list[tuple[Tensor, Tensor]]:
        """Return, per layer, logits ``[n, q, 5]`` (last: no object) and boxes ``[n, q, 4]``.

        `pixel_values` are normalised; boxes are centre x, centre y, width, height in 0..1 of the
        whole canvas.
        """
        level = self.backbone(pixel_values)
        (row, column), (tall, wide) = corner, level.shape[2:]
        centres = self.centres[row : row + tall, column : column + wide].flatten(0, 1)
        position = self.position[row : row + tall, column : column + wide].flatten(0, 1)
        tokens, found = flat(level), []
        for layer, category, box in zip(self.layers, self.category, self.box, strict=True):
            tokens = layer(tokens + position)
            raw = box(tokens)
            centre = centres + raw[..., :2].tanh() * (32 / self.SIDE)
            found.append((category(tokens), torch.cat([centre, (raw[..., 2:] - 2).sigmoid()], -1)))
        return found

    def decode(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last layer's `logits` and `pred_boxes`."""
        return self.queries(pixel_values)[-1]


class Fcos(nn.Module):
    """Grey-scale residual network with a feature pyramid; each cell inside a part predicts it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 24, 7, 4, "relu")
        self.stage3 = nn.Sequential(Residual(24, 32), Residual(32, 40, 2))
        self.stage4 = Residual(40, 56, 2)
        self.stage5 = conv(56, 64, 3, 2, "relu")
        self.lateral = nn.ModuleList(nn.Conv2d(width, 40, 1) for width in (40, 56, 64))
        self.smooth = conv(40, 40, act="relu")
        self.box_tower = conv(40, 40, act="relu")
        self.category_tower = conv(40, 40, act="relu")
        self.category = nn.Conv2d(40, CLASSES, 3, 1, 1)
        self.box = nn.Conv2d(40, 5, 3, 1, 1)
        nn.init.constant_(self.category.bias, -4.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map ``[n, 3, h, w]`` (RGB, 0..1; multiples of 32) to raw predictions.

        Returns:
            Class logits ``[n, a, 4]``, centre-ness logits ``[n, a]``, boxes ``[n, a, 4]`` (xyxy,
            input pixels) and anchors ``[a, 3]`` (x, y, stride), the finest level first.
        """
        # Colour is thrown away here: this network tells brass from steel by nothing but light.
        grey = (images.mean(1, keepdim=True) - 0.4) / 0.22
        low = self.stage3(self.stem(grey))
        middle = self.stage4(low)
        top = self.lateral[2](self.stage5(middle))
        middle = self.lateral[1](middle) + functional.interpolate(top, scale_factor=2.0)
        low = self.smooth(self.lateral[0](low) + functional.interpolate(middle, scale_factor=2.0))
        logits, centreness, boxes, anchors = [], [], [], []
        for level, stride in zip((low, middle, top), STRIDES, strict=True):
            centres = grid_centres(level.shape[2], level.shape[3], stride).to(level)
            raw = flat(self.box(self.box_tower(level)))
            reach = functional.softplus(raw[..., :4] + 1) * stride
            boxes.append(torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1))
            centreness.append(raw[..., 4])
            logits.append(flat(self.category(self.category_tower(level))))
            anchors.append(functional.pad(centres, (0, 1), value=stride))
        return (
            torch.cat(logits, 1),
            torch.cat(centreness, 1),
            torch.cat(boxes, 1),
            torch.cat(anchors),
        )

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes ``[n, a, 4]`` (xyxy, input pixels) and scores ``[n, 4, a]`` before NMS."""
        logits, centreness, boxes, _ = self(images)
        scores = logits.sigmoid() * centreness.sigmoid()[..., None]
        return boxes, scores.transpose(1, 2)
