"""Three small detectors of different families, each below half a million weights.

`Yolo`: anchor-free, multi-scale, several positives per part, needs NMS behind it.
`Detr`: one query per cell of a coarse grid, self-attention, one positive per part, no NMS.
`Fcos`: grey-scale, with a branch that says how well a box fits, NMS inside.

All begin with a `Trunk` that has learned before, as detectors begin with one from ImageNet.
In training `forward` gives raw values for `losses`; `decode` gives what the exported file does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 4
STRIDES = (8, 16, 32)
MEAN, DEVIATION = 0.45, 0.225
"""What the trunk's pictures are normalised with: those of ImageNet, averaged over the colours."""


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: str = "silu"
) -> nn.Sequential:
    """Return convolution, batch norm, activation ("silu" or "relu")."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(inplace=True) if act == "silu" else nn.ReLU(inplace=True),
    )


class Shared(nn.Module):
    """A convolution that all levels of the pyramid share, each normalised by its own statistics.

    In training a batch norm sees one level at a time, whose values are spread differently from
    another's. With one mean and variance for all of them the network computes something else
    afterwards than it has learned: its boxes came out a pixel too small.
    """

    def __init__(self, width: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in STRIDES)
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.act = act(inplace=True)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Map ``[n, width, h, w]`` of the level of that number to the same shape."""
        x, norm = self.conv(x), self.norms[level]
        mean, variance = norm.running_mean, norm.running_var
        if self.training:
            scale, shift = self.scale, self.shift
            return self.act(
                functional.batch_norm(x, mean, variance, scale, shift, True, norm.momentum)
            )
        # Written out, so that the exporter does not keep the convolution once for each level.
        factor = self.scale * (variance + norm.eps).rsqrt()
        return self.act(x * factor[:, None, None] + (self.shift - mean * factor)[:, None, None])


class Head(nn.Module):
    """What says one thing of each cell of each level: a shared convolution and a last one."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.shared = Shared(width, nn.SiLU)
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Map ``[n, width, h, w]`` to ``[n, outputs, h, w]``."""
        return self.last(self.shared(x, level))


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


class Trunk(nn.Module):
    """What all three detectors begin with: a residual network and a feature pyramid."""

    WIDTH = 64

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 32, 7, 4, "relu")
        self.stage3 = Residual(32, 64, 2)
        self.stage4 = Residual(64, 96, 2)
        self.stage5 = conv(96, 96, 3, 2, "relu")
        self.lateral = nn.ModuleList(nn.Conv2d(width, self.WIDTH, 1) for width in (64, 96, 96))
        self.smooth = conv(self.WIDTH, self.WIDTH, act="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``[n, 3, h, w]`` (RGB, about -2..2) to ``[n, 64, h / s, w / s]`` for 8, 16, 32."""
        low = self.stage3(self.stem(images))
        middle = self.stage4(low)
        top = self.lateral[2](self.stage5(middle))
        middle = self.lateral[1](middle) + functional.interpolate(top, scale_factor=2.0)
        low = self.lateral[0](low) + functional.interpolate(middle, scale_factor=2.0)
        return self.smooth(low), middle, top


def reached(raw: Tensor, centres: Tensor, stride: int) -> Tensor:
    """Return boxes (xyxy, pixels) of what a level says of its cells' four sides, ``[n, c, 4]``."""
    reach = functional.softplus(raw + 1) * stride
    return torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)


class Yolo(nn.Module):
    """Heads of their own for boxes and labels; several cells learn each part."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.box = Head(64, 4)
        self.category = Head(64, CLASSES)
        nn.init.constant_(self.category.last.bias, -4.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``[n, 3, h, w]`` (RGB, 0..1; h and w multiples of 32) to raw predictions.

        Returns:
            Class logits ``[n, a, 4]``, boxes ``[n, a, 4]`` (xyxy, input pixels) and the anchors
            ``[a, 3]`` (x, y, stride), the finest level first.
        """
        logits, boxes, anchors = [], [], []
        levels = self.trunk((images - MEAN) / DEVIATION)
        for number, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            centres = grid_centres(level.shape[2], level.shape[3], stride)
            boxes.append(reached(flat(self.box(level, number)).float(), centres, stride))
            logits.append(flat(self.category(level, number)).float())
            anchors.append(functional.pad(centres, (0, 1), value=stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(anchors)

    def decode(self, images: Tensor) -> Tensor:
        """Return ``[n, 8, a]``: centre x, centre y, width, height (pixels), four scores."""
        logits, boxes, _ = self(images)
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        return torch.cat([centre, size, logits.sigmoid()], -1).transpose(1, 2)


class Detr(nn.Module):
    """A transformer layer over a grid of queries, 16 pixels apart; one query learns each part.

    Queries start from the grid (as in two-stage DETR), which is why it learns in minutes.
    """

    SIDE = 512
    WIDTH = 112

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        # A query gets all that the four cells of 8 pixels under it hold, not their mean.
        self.gather = nn.Sequential(
            nn.PixelUnshuffle(2), conv(4 * Trunk.WIDTH, self.WIDTH, 1, act="relu")
        )
        self.layer = nn.TransformerEncoderLayer(
            self.WIDTH, 4, 160, dropout=0.0, batch_first=True, norm_first=True
        )
        self.category = nn.ModuleList(nn.Linear(self.WIDTH, CLASSES + 1) for _ in range(2))
        self.box = nn.ModuleList(
            nn.Sequential(nn.Linear(self.WIDTH, 64), nn.ReLU(), nn.Linear(64, 4)) for _ in range(2)
        )
        cells = self.SIDE // 16
        centres = grid_centres(cells, cells, 16) / self.SIDE
        self.register_buffer("centres", centres.view(cells, cells, 2))
        self.register_buffer("position", self._sines((torch.arange(cells) + 0.5) / cells))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        for head in self.category:
            nn.init.constant_(head.bias[CLASSES], 4.0)

    def _sines(self, places: Tensor) -> Tensor:
        """Return waves of places in 0..1 along one side: ``[n, width / 2]``."""
        waves = 2.0 ** torch.arange(self.WIDTH // 4).mul(6 / (self.WIDTH // 4)) * math.pi
        angles = places[:, None] * waves
        return torch.cat([angles.sin(), angles.cos()], -1)

    def forward(self, images: Tensor, corner: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        """Map a part of the 512 by 512 canvas to predictions before and after the transformer.

        Args:
            images: ``[n, 3, h, w]`` (RGB, 0..1), multiples of 32.
            corner: The cell (row, column) of the canvas where their top left corner lies.

        Returns:
            Logits ``[n, q, 5]`` (last: no object) and boxes ``[n, q, 4]`` (centre x, centre y,
            width, height in 0..1 of the whole canvas), before and after.
        """
        level = self.gather(self.trunk((images - MEAN) / DEVIATION)[0])
        (row, column), (tall, wide) = corner, level.shape[2:]
        centres = self.centres[row : row + tall, column : column + wide].flatten(0, 1)
        across = self.position[None, column : column + wide].expand(tall, -1, -1)
        down = self.position[row : row + tall, None].expand(-1, wide, -1)
        position = torch.cat([across, down], -1).flatten(0, 1)
        before = flat(level)
        found = []
        for tokens, category, box in zip(
            (before, self.layer(before + position)), self.category, self.box, strict=True
        ):
            raw = box(tokens).float()
            centre = centres + raw[..., :2].tanh() * (32 / self.SIDE)
            boxes = torch.cat([centre, (raw[..., 2:] - 2).sigmoid()], -1)
            found.append((category(tokens).float(), boxes))
        return found

    def decode(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last `logits` and `pred_boxes`; `pixel_values` are normalised as ImageNet."""
        images = pixel_values * self.deviation + self.mean
        return self(images, (0, 0))[-1]


class Fcos(nn.Module):
    """One tower for all in grey-scale pictures; each cell around a part's centre predicts it."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.tower = Shared(64, nn.ReLU)
        self.category = nn.Conv2d(64, CLASSES, 3, 1, 1)
        self.box = nn.Conv2d(64, 5, 3, 1, 1)
        nn.init.constant_(self.category.bias, -4.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map ``[n, 3, h, w]`` (RGB, 0..1; multiples of 32) to raw predictions.

        Returns:
            Class logits ``[n, a, 4]``, logits of how well a box fits ``[n, a]``, boxes
            ``[n, a, 4]`` (xyxy, input pixels) and anchors ``[a, 3]`` (x, y, stride), the finest
            level first.
        """
        # Colour is thrown away here: this network tells brass from steel by nothing but light.
        return self.look(images.mean(1, keepdim=True).expand_as(images))

    def look(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Do what `forward` does, without throwing away the colour."""
        logits, fit, boxes, anchors = [], [], [], []
        levels = self.trunk((images - MEAN) / DEVIATION)
        for number, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            centres = grid_centres(level.shape[2], level.shape[3], stride)
            seen = self.tower(level, number)
            raw = flat(self.box(seen)).float()
            boxes.append(reached(raw[..., :4], centres, stride))
            fit.append(raw[..., 4])
            logits.append(flat(self.category(seen)).float())
            anchors.append(functional.pad(centres, (0, 1), value=stride))
        return torch.cat(logits, 1), torch.cat(fit, 1), torch.cat(boxes, 1), torch.cat(anchors)

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes ``[n, a, 4]`` (xyxy, input pixels) and scores ``[n, 4, a]`` before NMS."""
        logits, fit, boxes, _ = self(images)
        scores = logits.sigmoid() * fit.sigmoid()[..., None]
        return boxes, scores.transpose(1, 2)
