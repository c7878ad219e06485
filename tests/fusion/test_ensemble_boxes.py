"""The functions of ensemble-boxes: its numbers to the last bit, its defects on purpose not."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import ensemble_boxes as peer
import numpy as np
import pytest
from ensemble_boxes.ensemble_boxes_nms import cpu_soft_nms_float

from quorate import fusion
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.fusion import fuse
from quorate.spec import Fusion, Nms, NonMaximumWeighted, SoftNms, WeightedBoxesFusion
from tests.fusion.campaign import Case, case

CONFIDENCES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
LARGEST = pytest.param(1500, marks=pytest.mark.slow)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what ensemble-boxes prints and warns of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def in_one_order(result: Any) -> tuple[np.ndarray, ...]:
    """Boxes, scores and labels as float64, sorted: fused scores may be equal."""
    boxes, scores, labels = (np.asarray(part, dtype=np.float64) for part in result)
    order = np.lexsort([*boxes.reshape(-1, 4).T, labels, scores])
    return boxes.reshape(-1, 4)[order], scores[order], labels[order]


def assert_equal_to_the_bit(ours: Any, theirs: Any, message: str) -> None:
    for mine, its in zip(in_one_order(ours), in_one_order(theirs), strict=True):
        np.testing.assert_array_equal(mine, its, err_msg=message)


def campaign(count: int) -> Iterator[tuple[str, Case]]:
    for seed in range(count):
        yield f"case {seed}", case(np.random.default_rng(seed))


@pytest.mark.parametrize("count", [80, LARGEST])
def test_weighted_boxes_fusion_to_the_last_bit(count: int) -> None:
    for name, it in campaign(count):
        for confidence in CONFIDENCES:
            for overflow in (False, True):
                options = (it.weights, it.iou, it.least, confidence, overflow)
                with quiet():
                    theirs = peer.weighted_boxes_fusion(*it.lists, *options)
                    ours = fusion.weighted_boxes_fusion(
                        *it.lists, *options, compatible="ensemble-boxes"
                    )
                    capped = fusion.weighted_boxes_fusion(*it.lists, *options)
                assert_equal_to_the_bit(ours, theirs, f"{name} {confidence} {overflow}")
                assert (np.diff(ours[1]) <= 0).all()
                if not (overflow and confidence == "avg"):
                    bounded = (ours[0], np.minimum(ours[1], 1.0), ours[2])
                    assert_equal_to_the_bit(capped, bounded, f"{name} {confidence} at most 1")


@pytest.mark.parametrize("count", [150, LARGEST])
def test_non_maximum_weighted_to_the_last_bit(count: int) -> None:
    for name, it in campaign(count):
        options = (it.weights, it.iou, it.least)
        with quiet():
            theirs = peer.non_maximum_weighted(*it.lists, *options)
            ours = fusion.non_maximum_weighted(*it.lists, *options)
        assert_equal_to_the_bit(ours, theirs, name)


@pytest.mark.parametrize("count", [150, LARGEST])
def test_nms_and_soft_nms_to_the_last_bit(count: int) -> None:
    for name, it in campaign(count):
        with quiet():
            one = np.concatenate(it.boxes)
            if not len(one) or not (np.prod(one[:, 2:] - one[:, :2], axis=1) > 0).any():
                continue  # there ensemble-boxes fails
            theirs = peer.nms(it.boxes, list(it.scores), it.labels, it.iou, it.weights)
            ours = fusion.nms(*it.lists, it.iou, it.weights)
            assert_equal_to_the_bit(ours, theirs, name)
            for method in (1, 2):
                for sigma, least in ((0.5, 0.001), (0.1, 0.05)):
                    options = (method, it.iou, sigma, least, it.weights)
                    theirs = peer.soft_nms(it.boxes, list(it.scores), it.labels, *options)
                    ours = fusion.soft_nms(*it.lists, *options, compatible="ensemble-boxes")
                    assert_equal_to_the_bit(ours, theirs, f"{name} soft {method}")


@pytest.mark.parametrize("count", [100, LARGEST])
def test_decayed_scores_are_those_that_ensemble_boxes_throws_away(count: int) -> None:
    for name, it in campaign(count):
        boxes, scores = np.concatenate(it.boxes), np.concatenate(it.scores)
        real = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) > 0
        boxes, scores = boxes[real], scores[real]
        for method in (1, 2):
            decayed = scores.copy()
            kept = cpu_soft_nms_float(boxes.copy(), decayed, it.iou, 0.5, 0.001, method)
            decayed = decayed[decayed > 0.001]
            ours = fusion.soft_nms([boxes], [scores], [np.zeros(len(scores))], method, it.iou)
            # numpy and libm may differ in the last bit of an exponential.
            np.testing.assert_allclose(ours[1], np.sort(decayed)[::-1], rtol=1e-12, err_msg=name)
            assert len(ours[0]) == len(kept)


@pytest.mark.parametrize(
    ("method", "function"),
    [
        *((WeightedBoxesFusion(confidence=kind), "weighted_boxes_fusion") for kind in CONFIDENCES),
        (NonMaximumWeighted(), "non_maximum_weighted"),
        (Nms(), "nms"),
        (SoftNms(decay="linear"), "soft_nms"),
        (SoftNms(), "soft_nms"),
    ],
    ids=repr,
)
def test_fuse_gives_the_same_in_pixels(method: Fusion, function: str) -> None:
    """A whole data set in one call, float32 pixels: the same to 1e-5."""
    size = 1024.0  # a power of two, so that both sides have the same boxes
    cases = []
    for _, it in campaign(40):
        boxes = [np.round(each * size) / size for each in it.boxes]
        real = [np.prod(each[:, 2:] - each[:, :2], axis=1) > 0 for each in boxes]
        cases.append(
            [
                [b[r] for b, r in zip(part, real, strict=True)]
                for part in (boxes, [s.astype(np.float32) for s in it.scores], it.labels)
            ]
        )
    rows = [
        (image, label, *(box * size), score, model)
        for image, picture in enumerate(cases)
        for model, (b, s, k) in enumerate(zip(*picture, strict=True))
        for box, score, label in zip(b, s, k, strict=True)
    ]
    table = np.array(rows)
    for image, picture in enumerate(cases):
        names = [f"model-{k:02}" for k in range(len(picture[0]))]
        these = table[table[:, 0] == image]
        detections = Detections.build(
            image_id=these[:, 0],
            category_id=these[:, 1],
            xyxy=these[:, 2:6],
            score=these[:, 6],
            detector=these[:, 7].astype(int),
            detectors=names,
        )
        ours = fuse(detections, method)
        options: dict[str, Any] = {"iou_thr": method.iou}
        if isinstance(method, WeightedBoxesFusion):
            options["conf_type"] = method.confidence
        if isinstance(method, SoftNms):
            options["method"] = 1 if method.decay == "linear" else 2
        result = getattr(fusion, function)(*picture, **options)
        boxes, scores, labels = in_one_order(result)
        mine = in_one_order((ours.xyxy / size, ours.score, ours.category_id))
        np.testing.assert_allclose(np.sort(mine[1]), np.sort(scores), rtol=1e-5)
        np.testing.assert_array_equal(np.sort(mine[2]), np.sort(labels))
        np.testing.assert_allclose(mine[0].sum(0), boxes.sum(0), rtol=1e-5)


BOX = [[0.1, 0.1, 0.5, 0.5]]


class TestWhereWeDifferOnPurpose:
    """Both sides of each row of the table in quorate.fusion.ensemble_boxes."""

    def test_scores_above_1(self) -> None:
        lists = ([BOX * 2, BOX], [[0.9999, 0.99], [0.1]], [[1, 1], [1]])
        options = {"weights": [2, 1], "skip_box_thr": 0.5}
        assert peer.weighted_boxes_fusion(*lists, **options)[1][0] > 1.3
        assert fusion.weighted_boxes_fusion(*lists, **options)[1][0] == 1.0
        old = fusion.weighted_boxes_fusion(*lists, **options, compatible="ensemble-boxes")
        assert old[1][0] == peer.weighted_boxes_fusion(*lists, **options)[1][0]

    def test_weight_0_leaves_a_model_out(self) -> None:
        lists = ([BOX, [[0.6, 0.6, 0.9, 0.9], [0.61, 0.6, 0.9, 0.9]]], [[0.9], [0.8, 0.7]])
        labels = [[1], [1, 1]]
        with np.errstate(all="ignore"):
            theirs = peer.weighted_boxes_fusion(*lists, labels, weights=[1, 0])
        assert np.isnan(theirs[0]).any()
        ours = fusion.weighted_boxes_fusion(*lists, labels, weights=[1, 0])
        alone = fusion.weighted_boxes_fusion([BOX], [[0.9]], [[1]])
        assert_equal_to_the_bit(ours, alone, "left out")
        with pytest.raises(InputError, match="All weights are 0"):
            fusion.weighted_boxes_fusion(*lists, labels, weights=[0, 0])

    def test_pixels_are_fused_as_they_are(self) -> None:
        pixels = [[10.0, 20.0, 110.0, 220.0]]
        lists = ([pixels, pixels], [[0.9], [0.8]], [[1], [1]])
        with quiet():
            assert len(peer.weighted_boxes_fusion(*lists)[0]) == 0
        np.testing.assert_allclose(fusion.weighted_boxes_fusion(*lists)[0], pixels, rtol=1e-6)

    def test_soft_nms_returns_decayed_scores(self) -> None:
        lists = ([BOX, [[0.1, 0.1, 0.5, 0.49]]], [[0.9], [0.8]], [[1], [1]])
        assert peer.soft_nms(*lists)[1].tolist() == [0.9, 0.8]
        assert fusion.soft_nms(*lists)[1][1] < 0.15
        old = fusion.soft_nms(*lists, compatible="ensemble-boxes")
        assert old[1].tolist() == [0.9, 0.8]

    def test_the_callers_scores_are_left_alone(self) -> None:
        scores = [[0.9], [0.8]]
        fusion.nms([BOX, BOX], scores, [[1], [1]], weights=[2, 1])
        assert scores == [[0.9], [0.8]]
        peer.nms([BOX, BOX], scores, [[1], [1]], weights=[2, 1])
        assert scores != [[0.9], [0.8]]

    def test_nms_of_nothing_is_nothing(self) -> None:
        with pytest.raises((IndexError, ValueError)):
            peer.nms([[], []], [[], []], [[], []])
        boxes, scores, labels = fusion.nms([[], []], [[], []], [[], []])
        assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))

    def test_the_order_of_models_does_not_settle_ties(self) -> None:
        one = ([[0.1, 0.1, 0.5, 0.5]], [0.5], [1])
        two = ([[0.15, 0.1, 0.55, 0.5]], [0.5], [1])
        three = ([[0.22, 0.1, 0.62, 0.5]], [0.5], [1])

        def of(function: Any, *models: Any) -> list[float]:
            return sorted(function(*zip(*models, strict=True))[0].ravel().tolist())

        assert of(peer.nms, one, two, three) != of(peer.nms, two, three, one)
        assert of(fusion.nms, one, two, three) == of(fusion.nms, two, three, one)

    def test_large_labels_stay_exact(self) -> None:
        lists = ([BOX, BOX], [[0.9], [0.8]], [[2**24 + 1]] * 2)
        assert peer.weighted_boxes_fusion(*lists)[2].tolist() == [2**24]
        assert fusion.weighted_boxes_fusion(*lists)[2].tolist() == [2**24 + 1]
        beyond = ([BOX, BOX], [[0.9], [0.8]], [[2**40]] * 2)
        assert fusion.nms(*beyond)[2].tolist() == [2**40]

    def test_scores_of_0_keep_the_first_members_box(self) -> None:
        lists = ([BOX, BOX], [[0.0], [0.0]], [[1], [1]])
        with np.errstate(all="ignore"):
            assert np.isnan(peer.weighted_boxes_fusion(*lists)[0]).all()
        np.testing.assert_array_equal(fusion.weighted_boxes_fusion(*lists)[0], BOX)
        np.testing.assert_array_equal(
            fusion.non_maximum_weighted(*lists)[0], np.float32(BOX).astype(float)
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"scores_list": [[0.9, 0.8]]}, "Model 0 has 1 boxes, but 2 scores"),
            ({"labels_list": [[]]}, "Model 0 has 1 boxes, but 0 labels"),
            ({"labels_list": [[1], [1]]}, "Boxes of 1 models, scores of 1 and labels of 2"),
            ({"scores_list": [[float("nan")]]}, "score is NaN or outside"),
            ({"scores_list": [[1.5]]}, "score is NaN or outside"),
            ({"boxes_list": [[[0.1, 0.1, float("inf"), 0.5]]]}, "coordinate is NaN or infinite"),
            ({"boxes_list": [[[0.1, 0.1, 0.5]]]}, r"shape \(1, 3\)"),
            ({"conf_type": "average"}, "no conf_type 'average'"),
            ({"weights": [1, 2]}, "2 weights for 1 models"),
            ({"weights": [-1]}, "negative or not finite"),
        ],
    )
    def test_wrong_input_is_an_error(self, change: dict[str, Any], message: str) -> None:
        good: dict[str, Any] = {"boxes_list": [BOX], "scores_list": [[0.9]], "labels_list": [[1]]}
        with pytest.raises(InputError, match=message):
            fusion.weighted_boxes_fusion(**{**good, **change})

    def test_mended_boxes_are_warned_of(self) -> None:
        with pytest.warns(UserWarning, match="1 boxes end before they begin"):
            ours = fusion.nms([[[0.5, 0.1, 0.1, 0.5]]], [[0.9]], [[1]])
        np.testing.assert_array_equal(ours[0], BOX)
        with pytest.warns(UserWarning, match="1 boxes reach outside"):
            ours = fusion.nms([[[0.5, 0.1, 1.1, 0.5]]], [[0.9]], [[1]])
        np.testing.assert_array_equal(ours[0], [[0.5, 0.1, 1.0, 0.5]])
        with pytest.warns(UserWarning, match="1 boxes without area are left out"):
            assert len(fusion.nms([[[0.5, 0.1, 0.5, 0.5]]], [[0.9]], [[1]])[0]) == 0


def test_all_boxes_below_the_threshold_is_nothing() -> None:
    for confidence in CONFIDENCES:
        ours = fusion.weighted_boxes_fusion(
            [BOX], [[0.3]], [[1]], skip_box_thr=0.5, conf_type=confidence
        )
        assert [len(part) for part in ours] == [0, 0, 0]
