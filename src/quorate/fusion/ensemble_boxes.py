"""The functions of ensemble-boxes, with their arguments and results, on Quorate's kernels.

For those who come from ensemble-boxes 1.0.9: change the import and keep the code. Where scores
are distinct the results are its own to the last bit (for float64 boxes). On purpose different:

| input | ensemble-boxes | here |
|---|---|---|
| lengths that differ, unknown `conf_type` | prints, then `exit()` with 0 | InputError |
| wrong number of weights | prints, then goes on without | InputError |
| NaN, infinite, a score outside 0..1 | goes through | InputError |
| pixel coordinates | all clipped to 0..1, so nothing is left | fused as they are |
| equal scores | the order of the models decides | falling score, then x1, y1, x2, y2 |
| WBF, several boxes of a model in a group | scores above 1 | 1 at most, unless `allows_overflow` |
| weight 0 | boxes of NaN | the model is left out, as if it had not been given |
| scores of 0 in WBF and NMW | boxes of NaN | the box of the group's first member |
| `soft_nms` | decayed scores are dropped | decayed scores are returned |
| `nms` of nothing | IndexError | nothing |
| `nms(weights=...)` | changes the caller's scores | leaves them |
| labels above 2^24 | rounded | exact |
| boxes without area | dropped, with one warning each | dropped, with one warning |
| inverted boxes | swapped, with one warning each | swapped, with one warning |

`compatible="ensemble-boxes"` brings back its scores in the rows on WBF's scores and on `soft_nms`.

Coordinates are taken for pixels when any is 2 or more, else for fractions of the picture, and
fractions are clipped to 0..1 as ensemble-boxes does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.errors import InputError, did_you_mean
from quorate.fusion.boxes import AVG_OVERFLOW, LEADER, NMW_MEAN, OF_BEST, WBF_MEAN
from quorate.fusion.columns import Columns, Floats
from quorate.fusion.pipeline import run
from quorate.fusion.rules import CONFIDENCE, Rule, numbers_with

Result = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]
PIXELS_FROM = 2.0


def weighted_boxes_fusion(
    boxes_list: Sequence[ArrayLike],
    scores_list: Sequence[ArrayLike],
    labels_list: Sequence[ArrayLike],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = "avg",
    allows_overflow: bool = False,
    *,
    compatible: Literal["ensemble-boxes"] | None = None,
) -> Result:
    """Weighted boxes fusion of one picture (Solovyev et al. 2021, arXiv:1910.13302).

    Args:
        boxes_list: for each model (n, 4) x1, y1, x2, y2, fractions of the picture or pixels.
        scores_list: for each model (n,) 0..1.
        labels_list: for each model (n,) whole numbers.
        weights: of the models; 1 each by default.
        iou_thr: a box joins a group when its IoU with it is strictly more.
        skip_box_thr: boxes that score less take no part.
        conf_type: avg, max, box_and_model_avg or absent_model_aware_avg.
        allows_overflow: let the score of `avg` grow with every box of a group.
        compatible: "ensemble-boxes" leaves scores above 1 as they are.

    Returns:
        boxes (k, 4), scores (k,), labels (k,), all float64, by falling score.

    Raises:
        InputError: see the module.
    """
    if conf_type not in ("avg", "max", "box_and_model_avg", "absent_model_aware_avg"):
        raise InputError(
            f"There is no conf_type '{conf_type}'.",
            hint=did_you_mean(conf_type, CONFIDENCE)
            or "avg, max, box_and_model_avg or absent_model_aware_avg",
        )
    given = _Given(boxes_list, scores_list, labels_list, weights)
    overflows = allows_overflow and conf_type == "avg"
    rule = Rule(
        from_box=WBF_MEAN,
        from_score=AVG_OVERFLOW if overflows else CONFIDENCE[conf_type],
        moving=True,
        capped=not overflows and compatible is None,
        single=False,
    )
    xyxy, score, label = given.fuse(rule, given.weights, iou_thr, skip_box_thr)
    return xyxy, score, label.astype(np.float64)


def non_maximum_weighted(
    boxes_list: Sequence[ArrayLike],
    scores_list: Sequence[ArrayLike],
    labels_list: Sequence[ArrayLike],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
) -> Result:
    """Non-maximum weighted of one picture (Zhou et al., CAD, ICCV workshops 2017).

    Arguments, results and errors are those of `weighted_boxes_fusion`. As in ensemble-boxes,
    boxes and scores have the precision of float32, here in arrays of float64.
    """
    given = _Given(boxes_list, scores_list, labels_list, weights)
    scale = given.weights / max(given.weights) if len(given.weights) else given.weights
    rule = Rule(from_box=NMW_MEAN, from_score=OF_BEST)
    xyxy, score, label = given.fuse(rule, scale, iou_thr, skip_box_thr)
    return xyxy, score, label.astype(np.float64)


def nms(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    iou_thr: float = 0.5,
    weights: Sequence[float] | None = None,
) -> Result:
    """Greedy non-maximum suppression of one picture, label by label.

    A box goes when its IoU with a better one that stays is strictly more than `iou_thr`. Scores
    are multiplied by weight / sum of weights when weights are given.

    Returns:
        boxes (k, 4), scores (k,), labels (k,) by rising label, then by falling score.

    Raises:
        InputError: see the module.
    """
    return nms_method(boxes, scores, labels, 3, iou_thr, weights=weights)


def soft_nms(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    method: int = 2,
    iou_thr: float = 0.5,
    sigma: float = 0.5,
    thresh: float = 0.001,
    weights: Sequence[float] | None = None,
    *,
    compatible: Literal["ensemble-boxes"] | None = None,
) -> Result:
    """Soft-NMS of one picture, label by label (Bodla et al. 2017, arXiv:1704.04503).

    Arguments, results and errors are those of `nms_method`; `method` is 1, linear, or 2,
    gaussian.
    """
    return nms_method(
        boxes, scores, labels, method, iou_thr, sigma, thresh, weights, compatible=compatible
    )


def nms_method(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    method: int = 3,
    iou_thr: float = 0.5,
    sigma: float = 0.5,
    thresh: float = 0.001,
    weights: Sequence[float] | None = None,
    *,
    compatible: Literal["ensemble-boxes"] | None = None,
) -> Result:
    """Soft-NMS, linear (`method` 1) or gaussian (2), or plain NMS (3) of one picture.

    Boxes whose decayed score is `thresh` or less are dropped. Returned are decayed scores, or,
    `compatible` with ensemble-boxes, those from before the decay.

    Returns:
        boxes (k, 4), scores (k,), labels (k,) by rising label, then by falling score returned.

    Raises:
        InputError: see the module, and an unknown `method`.
    """
    if method not in (1, 2, 3):
        raise InputError(f"There is no method {method!r}: 1 is linear, 2 gaussian, 3 plain NMS.")
    if method != 3 and not sigma > 0.0:
        raise InputError(f"sigma is {sigma}, but must be above 0.")
    given = _Given(boxes, scores, labels, weights)
    if weights is not None:  # in this order of steps, for the last bit
        given.score = given.score * given.weights[given.model] / given.weights.sum()
    rule = Rule(
        from_box=LEADER,
        from_score=OF_BEST,
        decays=method != 3,
        gaussian=method == 2,
        sigma=sigma,
        floor=thresh if method != 3 else -1.0,
        undecayed=compatible is not None,
        single=False,
    )
    return given.fuse(rule, np.ones_like(given.weights), iou_thr, 0.0, by_category=True)


class _Given:
    """One picture's boxes of all models as columns, checked and mended.

    xyxy (n, 4), score (n,), label (n,), model (n,); weights (m,) of the models that count.
    """

    def __init__(
        self,
        boxes_list: Sequence[ArrayLike],
        scores_list: Sequence[ArrayLike],
        labels_list: Sequence[ArrayLike],
        weights: Sequence[float] | None,
    ) -> None:
        models = len(boxes_list)
        if not models == len(scores_list) == len(labels_list):
            raise InputError(
                f"Boxes of {models} models, scores of {len(scores_list)} and labels of "
                f"{len(labels_list)}."
            )
        weight = np.ones(models) if weights is None else np.asarray(weights, dtype=np.float64)
        if weight.shape != (models,):
            raise InputError(f"{weight.size} weights for {models} models.")
        if not (np.isfinite(weight).all() and (weight >= 0.0).all()):
            raise InputError(f"A weight is negative or not finite: {weight.tolist()}.")
        if models and not weight.any():
            raise InputError("All weights are 0, so every model is left out.")
        xyxy, score, label, counts = [], [], [], []
        for model in range(models):
            these = np.asarray(boxes_list[model], dtype=np.float64)
            n = len(these)
            if n == 0:
                these = these.reshape(0, 4)
            if these.ndim != 2 or these.shape[1] != 4:
                raise InputError(
                    f"Boxes of model {model} have the shape {these.shape}, expected (n, 4)."
                )
            points = np.asarray(scores_list[model], dtype=np.float64)
            kinds = np.asarray(labels_list[model])
            if points.shape != (n,) or kinds.shape != (n,):
                what, size = ("scores", points.size) if points.size != n else ("labels", kinds.size)
                if size != n or n:
                    raise InputError(f"Model {model} has {n} boxes, but {size} {what}.")
            if n and weight[model] > 0.0:
                xyxy.append(these)
                score.append(points)
                label.append(kinds)
            if weight[model] > 0.0:
                counts.append(n)
        self.weights = weight[weight > 0.0]
        self.xyxy = np.concatenate(xyxy) if xyxy else np.empty((0, 4))
        self.score = np.concatenate(score) if score else np.empty(0)
        self.label = np.concatenate(label) if label else np.empty(0, np.int64)
        self.model = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
        self._check()

    def _check(self) -> None:
        """Refuse what is no box, mend what ensemble-boxes mends, and number the labels."""
        whole = self.label.astype(np.int64) if self.label.dtype.kind in "iuf" else None
        self._kinds: NDArray[Any] | None = None
        narrow = None if whole is None else whole.astype(np.int32)
        if narrow is None or not np.array_equal(narrow, self.label):
            self._kinds, whole = np.unique(self.label, return_inverse=True)
            narrow = whole.astype(np.int32)
        self.category = narrow
        if not len(self.score):
            return
        # Comparisons are written so that NaN fails them.
        low, high = self.xyxy.min(), self.xyxy.max()
        if not -np.inf < low <= high < np.inf:
            raise InputError("A coordinate is NaN or infinite.")
        if not (self.score.min() >= 0.0 and self.score.max() <= 1.0):
            raise InputError(
                "A score is NaN or outside 0..1.",
                hint="logits need a sigmoid, percents a division by 100",
            )
        size = self.xyxy[:, 2:] - self.xyxy[:, :2]
        least = size.min()
        if least < 0.0:
            inverted = (size < 0.0).any(axis=1).sum()
            warnings.warn(
                f"{inverted} boxes end before they begin; the corners are swapped.", stacklevel=4
            )
            corner, opposite = self.xyxy[:, :2], self.xyxy[:, 2:]
            self.xyxy = np.concatenate(
                [np.minimum(corner, opposite), np.maximum(corner, opposite)], axis=1
            )
        clipped = high < PIXELS_FROM and (low < 0.0 or high > 1.0)
        if clipped:
            outside = ((self.xyxy < 0.0) | (self.xyxy > 1.0)).any(axis=1).sum()
            warnings.warn(f"{outside} boxes reach outside 0..1 and are clipped.", stacklevel=4)
            self.xyxy = np.clip(self.xyxy, 0.0, 1.0)
        if clipped or least < 1e-150:  # the product of two such sides may be 0
            size = self.xyxy[:, 2:] - self.xyxy[:, :2]
            kept = size[:, 0] * size[:, 1] > 0.0
            if not kept.all():
                warnings.warn(f"{(~kept).sum()} boxes without area are left out.", stacklevel=4)
            self.xyxy, self.score = self.xyxy[kept], self.score[kept]
            self.model, self.category = self.model[kept], self.category[kept]

    def fuse(
        self,
        rule: Rule,
        weights: Floats,
        iou_thr: float,
        skip_box_thr: float,
        *,
        by_category: bool = False,
    ) -> Result:
        """Fuse the one picture; the labels are of the type in which they were given."""
        rows = np.arange(len(self.score))
        models, offsets = np.arange(len(weights)), np.array([0, len(rows)])
        columns = Columns(self.xyxy, self.score, self.category, self.model, models, offsets, rows)
        numbers = numbers_with(weights.reshape(1, -1), iou_thr, skip_box_thr)
        fused = run(columns, rule, numbers, by_category=by_category)
        if self._kinds is not None:
            return fused.xyxy, fused.score, self._kinds[fused.category]
        return fused.xyxy, fused.score, fused.category.astype(self.label.dtype)
