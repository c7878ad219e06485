"""What each detector is told to predict where, and how wrong it was.

Boxes are xyxy in input pixels unless said otherwise; a picture without parts works everywhere.
"""

from __future__ import annotations

import torch
from networks import CLASSES
from torch import Tensor
from torch.nn import functional

NO_OBJECT_WEIGHT = 0.15
"""How much a query without a part counts in `detr_loss`: nearly all of them are."""


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


def inner_reach(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Return each anchor's distance to the four sides of each box, ``[g, a, 4]``; inside: > 0."""
    points = anchors[None, :, :2]
    return torch.cat([points - boxes[:, None, :2], boxes[:, None, 2:] - points], -1)


def centre_sampled(anchors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Say which anchors answer for which part (centre sampling, as in FCOS).

    An anchor is positive for the smallest part whose centre is within 1.5 cells of it and whose
    farthest side lies in the range of its level (40..48 and 80..96 pixels belong to two levels).

    Returns:
        The positive anchors ``[p]``, the part of each ``[p]``, its distances to the part's sides
        ``[p, 4]``.
    """
    stride = anchors[:, 2]
    low = torch.where(stride == 8, 0.0, torch.where(stride == 16, 40.0, 80.0))
    high = torch.where(stride == 8, 48.0, torch.where(stride == 16, 96.0, torch.inf))
    reach = inner_reach(anchors, boxes)
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    near = (centre - anchors[None, :, :2]).abs().amax(-1) < 1.5 * stride
    far = reach.amax(-1)
    valid = (reach.amin(-1) > 0) & near & (far >= low) & (far <= high)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None].expand_as(valid)
    smallest, owner = area.masked_fill(~valid, torch.inf).min(0)
    taken = smallest.isfinite().nonzero()[:, 0]
    owner = owner[taken]
    return taken, owner, reach[owner, taken]


def yolo_loss(
    found: tuple[Tensor, Tensor, Tensor], boxes: list[Tensor], labels: list[Tensor]
) -> Tensor:
    """Return the loss of `Yolo`: quality focal loss and generalised IoU.

    A positive's target score is its overlap with the part, so that the score says how well the
    box fits (Li et al. 2020, arXiv:2006.04388).
    """
    logits, predicted, anchors = found
    targets = torch.zeros_like(logits)
    box_loss, count = logits.new_zeros(()), 0
    for image, (truth, label) in enumerate(zip(boxes, labels, strict=True)):
        if not len(truth):
            continue
        taken, owner, _ = centre_sampled(anchors, truth)
        iou, generalised = overlaps(predicted[image, taken], truth[owner])
        targets[image, taken, label[owner]] = iou.detach().clamp(min=0.1)
        box_loss = box_loss + (1 - generalised).sum()
        count += len(taken)
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    focal = ((targets - logits.sigmoid()).abs() ** 2 * plain).sum()
    return (2 * focal + 2 * box_loss) / max(count, 1)


def detr_loss(
    found: list[tuple[Tensor, Tensor]],
    centres: Tensor,
    boxes: list[Tensor],
    labels: list[Tensor],
    side: int,
) -> Tensor:
    """Return the loss of `Detr`: softmax with a no-object class, L1 and generalised IoU.

    The first layer answers a part with four queries, which teaches it fast; the last layer with
    one, which is what lets the detector do without NMS.
    """
    total = found[0][0].new_zeros(())
    for (logits, predicted), copies in zip(found, (4, 1), strict=True):
        rows, truths, names = [], [], []
        for image, (truth, label) in enumerate(zip(boxes, labels, strict=True)):
            if not len(truth):
                continue
            query, part = _matched(centres, truth / side, copies)
            rows.append(query + image * logits.shape[1])
            truths.append(truth[part] / side)
            names.append(label[part])
        target = torch.full((logits.shape[0] * logits.shape[1],), CLASSES)
        if rows:
            row, truth = torch.cat(rows), torch.cat(truths)
            target[row] = torch.cat(names)
            answer = predicted.flatten(0, 1)[row]
            _, generalised = overlaps(corners(answer), truth)
            total = total + 2.0 * (1 - generalised).mean()
            total = total + 5.0 * (corners(answer) - truth).abs().sum(-1).mean()
        weights = torch.tensor([1.0] * CLASSES + [NO_OBJECT_WEIGHT])
        total = total + 2.0 * functional.cross_entropy(logits.flatten(0, 1), target, weights)
    return total


@torch.no_grad()
def _matched(centres: Tensor, truth: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Pair queries ``[q, 2]`` with parts ``[g, 4]``, the closest first, `copies` queries a part.

    A query belongs to a place, so the part of a query never changes while it learns: that is what
    Hungarian matching takes hundreds of epochs to settle.
    """
    cost = torch.cdist(centres, (truth[:, :2] + truth[:, 2:]) / 2)
    queries, parts = [], []
    remaining = torch.full((len(truth),), copies)
    for _ in range(copies * len(truth)):
        query, part = divmod(int(cost.argmin()), len(truth))
        queries.append(query)
        parts.append(part)
        cost[query] = torch.inf
        remaining[part] -= 1
        if not remaining[part]:
            cost[:, part] = torch.inf
    return torch.tensor(queries), torch.tensor(parts)


def fcos_loss(
    found: tuple[Tensor, Tensor, Tensor, Tensor], boxes: list[Tensor], labels: list[Tensor]
) -> Tensor:
    """Return the loss of `Fcos`: focal loss, generalised IoU and centre-ness."""
    logits, centreness, predicted, anchors = found
    targets = torch.zeros_like(logits)
    box_loss = centre_loss = logits.new_zeros(())
    count = 0
    for image, (truth, label) in enumerate(zip(boxes, labels, strict=True)):
        if not len(truth):
            continue
        taken, owner, sides = centre_sampled(anchors, truth)
        targets[image, taken, label[owner]] = 1
        pairs = torch.stack([sides[:, [0, 2]], sides[:, [1, 3]]], 1)
        target = (pairs.amin(-1) / pairs.amax(-1)).prod(-1).sqrt()
        _, generalised = overlaps(predicted[image, taken], truth[owner])
        box_loss = box_loss + (1 - generalised).sum()
        centre_loss = centre_loss + functional.binary_cross_entropy_with_logits(
            centreness[image, taken], target, reduction="sum"
        )
        count += len(taken)
    probability = logits.sigmoid()
    wrong = torch.where(targets > 0, 1 - probability, probability)
    alpha = torch.where(targets > 0, 0.3, 0.7)
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    focal = (alpha * wrong**2 * plain).sum()
    return (4 * focal + 1.5 * box_loss + centre_loss) / max(count, 1)
