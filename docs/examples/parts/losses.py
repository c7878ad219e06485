"""What each detector is told to predict where, and how wrong it was.

Boxes are xyxy in input pixels unless said otherwise; a picture without parts works everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from networks import CLASSES
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Truth:
    """The parts of a batch: boxes ``[n, g, 4]``, labels ``[n, g]``, which rows are real ``[n, g]``.

    Pictures with fewer than g parts are filled up with rows that are not real.
    """

    boxes: Tensor
    labels: Tensor
    real: Tensor


@dataclass(frozen=True)
class Answers:
    """Which part each anchor answers for.

    Attributes:
        taken: Whether it answers for a part, ``[n, a]``.
        boxes: Box of its part, ``[n, a, 4]``; of no meaning where it has none.
        scores: The score it should give each label, ``[n, a, 4]``: how well its box may fit for
            the label of its part, 0 for the others.
    """

    taken: Tensor
    boxes: Tensor
    scores: Tensor


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and generalised IoU of boxes that broadcast against each other, ``[..., 4]``."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (first, second)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-6)
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (high - low).prod(-1).clamp(min=1e-6)
    iou = shared / union
    return iou, iou - (hull - union) / hull


def corners(boxes: Tensor) -> Tensor:
    """Return centre x, centre y, width, height as xyxy."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def _answers(truth: Truth, taken: Tensor, owner: Tensor, quality: Tensor) -> Answers:
    """Look up each anchor's part; `owner` and `quality` are ``[n, a]``."""
    boxes = truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4))
    labels = functional.one_hot(truth.labels.gather(1, owner), CLASSES)
    return Answers(taken, boxes, labels * (quality * taken)[..., None])


@torch.no_grad()
def aligned(
    probability: Tensor, predicted: Tensor, anchors: Tensor, truth: Truth, most: int
) -> Answers:
    """Give each part to the anchors that already see it best, at most `most` of them.

    Best is the score for its label times the overlap to the fourth power, among the anchors in the
    part or near its centre; an anchor wanted by two parts takes the one it overlaps more
    (task-aligned assignment, Feng et al. 2021, arXiv:2108.07755).

    Args:
        probability: Scores ``[n, a, 4]``.
        predicted: Boxes ``[n, a, 4]``.
        anchors: x, y and stride, ``[a, 3]``.
        truth: The parts.
        most: How many anchors may answer for a part.
    """
    middle = (truth.boxes[..., :2] + truth.boxes[..., 2:])[:, :, None] / 2
    half = (truth.boxes[..., 2:] - truth.boxes[..., :2])[:, :, None] / 2
    reach = torch.maximum(half, 0.75 * anchors[:, 2, None])
    near = ((middle - anchors[:, :2]).abs() < reach).all(-1) & truth.real[..., None]
    overlap, _ = overlaps(predicted[:, None], truth.boxes[:, :, None])
    said = probability.transpose(1, 2).gather(
        1, truth.labels[..., None].expand(-1, -1, len(anchors))
    )
    # The small sum keeps parts that no box overlaps yet from having no anchor at all.
    value = said.sqrt() * (overlap**4 + 1e-9) * near
    least = value.topk(most, dim=-1).values[..., -1:]
    wanted = (value >= least) & (value > 0)
    owner = (overlap + 1).mul(wanted).argmax(1)
    taken = wanted.any(1)
    mine = functional.one_hot(owner, truth.boxes.shape[1]).transpose(1, 2) * wanted
    best = (overlap * wanted).amax(-1, keepdim=True)
    quality = value / (value * mine).amax(-1, keepdim=True).clamp(min=1e-12) * best
    return _answers(truth, taken, owner, (quality * mine).amax(1).clamp(0.05, 1))


@torch.no_grad()
def centre_sampled(predicted: Tensor, anchors: Tensor, truth: Truth) -> Answers:
    """Give each part to the anchors around its centre, as FCOS does.

    An anchor answers for the smallest part whose centre is within 1.5 cells of it and whose
    farthest side lies in the range of its level (40..48 and 80..96 pixels belong to two levels).
    """
    stride = anchors[:, 2]
    low = torch.where(stride == 8, 0.0, torch.where(stride == 16, 40.0, 80.0))
    high = torch.where(stride == 8, 48.0, torch.where(stride == 16, 96.0, torch.inf))
    boxes, points = truth.boxes[:, :, None], anchors[:, :2]
    reach = torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], -1)
    near = ((boxes[..., :2] + boxes[..., 2:]) / 2 - points).abs().amax(-1) < 1.5 * stride
    far = reach.amax(-1)
    valid = (reach.amin(-1) > 0) & near & (far >= low) & (far <= high) & truth.real[..., None]
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1).expand_as(valid)
    smallest, owner = area.masked_fill(~valid, torch.inf).min(1)
    answers = _answers(truth, smallest.isfinite(), owner, torch.ones_like(smallest))
    overlap, _ = overlaps(predicted, answers.boxes)
    return Answers(answers.taken, answers.boxes, answers.scores * overlap[..., None])


def quality_loss(probability: Tensor, predicted: Tensor, answers: Answers) -> Tensor:
    """Return the loss of scores that should say how well a box fits, and of the boxes.

    Varifocal loss (Zhang et al. 2021, arXiv:2008.13367) and generalised IoU, each anchor weighing
    what its score should be.
    """
    wanted = answers.scores
    weight = torch.where(wanted > 0, wanted, 0.75 * probability.detach() ** 2)
    error = functional.binary_cross_entropy(
        probability.clamp(1e-6, 1 - 1e-6), wanted, weight, reduction="sum"
    )
    _, generalised = overlaps(predicted, answers.boxes)
    total = wanted.sum().clamp(min=1)
    return (error + 2.5 * ((1 - generalised) * wanted.sum(-1)).sum()) / total


def yolo_loss(found: tuple[Tensor, Tensor, Tensor], truth: Truth) -> Tensor:
    """Return the loss of `Yolo`: several anchors answer for a part, the best ones."""
    logits, predicted, anchors = found
    probability = logits.sigmoid()
    answers = aligned(probability.detach(), predicted.detach(), anchors, truth, 9)
    return quality_loss(probability, predicted, answers)


def detr_loss(found: list[tuple[Tensor, Tensor]], anchors: Tensor, truth: Truth) -> Tensor:
    """Return the loss of `Detr`, the sum over its layers.

    The first layer answers a part with up to four queries, which teaches it fast; the last layer
    with one, which is what lets the detector do without NMS.  Boxes of `found` are corners in
    pixels.
    """
    total = found[0][0].new_zeros(())
    for (logits, predicted), most in zip(found, (4, 1), strict=True):
        probability = logits.softmax(-1)[..., :CLASSES]
        answers = aligned(probability.detach(), predicted.detach(), anchors, truth, most)
        total = total + quality_loss(probability, predicted, answers)
    return total


def fcos_loss(found: tuple[Tensor, Tensor, Tensor, Tensor], truth: Truth) -> Tensor:
    """Return the loss of `Fcos`: focal loss, generalised IoU and how well each box fits."""
    logits, fit, predicted, anchors = found
    answers = centre_sampled(predicted.detach(), anchors, truth)
    overlap = answers.scores.amax(-1)
    targets = (answers.scores > 0).float()
    probability = logits.sigmoid()
    wrong = torch.where(targets > 0, 1 - probability, probability)
    alpha = torch.where(targets > 0, 0.3, 0.7)
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    focal = (alpha * wrong**2 * plain).sum()
    _, generalised = overlaps(predicted, answers.boxes)
    box_loss = ((1 - generalised) * answers.taken).sum()
    fit_loss = functional.binary_cross_entropy_with_logits(
        fit, overlap, answers.taken.float(), reduction="sum"
    )
    count = answers.taken.sum().clamp(min=1)
    return (4 * focal + 1.5 * box_loss + 0.5 * fit_loss) / count
