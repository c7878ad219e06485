import numpy as np
import pytest

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.detections import FUSED, Detections, Members
from quorate.errors import InputError


def fused():
    return Detections.build(
        image_id=[1, 1, 2],
        category_id=[1, 2, 1],
        xyxy=[[0, 0, 2, 3], [1, 1, 4, 4], [5, 5, 6, 6]],
        score=[0.5, 0.25, 1],
        detector=[FUSED, FUSED, 1],
        votes=[2, 1, 1],
        agreement=[0.75, 1, 1],
        detectors=("ash", "birch", "cedar"),
        members=Members(
            offsets=np.array([0, 3, 4, 4]),
            detector=np.array([2, 0, 2, 1], dtype=np.int16),
            score=np.ones(4, dtype=np.float32),
        ),
    )


def test_detections_tell_what_is_asked_of_them():
    found = Annotations.from_detections(fused())
    assert found.kind.tolist() == [Kind.BOX] * 3
    assert [found.sources[i] for i in found.source] == ["auto"] * 3
    assert found.area.tolist() == [6, 9, 1]
    assert found.attributes["votes"].tolist() == [2, 1, 1]
    assert found.attributes["agreement"].tolist() == [0.75, 1, 1]
    assert found.attributes["detectors"].tolist() == ["ash, cedar", "birch", "birch"]
    plain = Annotations.from_detections(fused(), attributes=("score",), source="semi-auto")
    assert list(plain.attributes) == ["score"]
    assert plain.sources == ("semi-auto",)
    with pytest.raises(InputError, match="no attribute 'vote'"):
        Annotations.from_detections(fused(), attributes=("vote",))


def test_nothing_detected_is_nothing_to_publish():
    found = Annotations.from_detections(Detections.empty(("a",)))
    assert len(found) == 0
    assert set(found.attributes) == {"votes", "score", "agreement", "detectors"}


def test_more_detectors_than_bits_in_a_number():
    names = tuple(f"d{i}" for i in range(70))
    boxes = Detections.build(
        image_id=[1, 1], category_id=1, xyxy=np.zeros((2, 4)), score=1, detector=[3, 69],
        detectors=names,
    )  # fmt: skip
    assert Annotations.from_detections(boxes).attributes["detectors"].tolist() == ["d3", "d69"]


def test_there_and_back():
    back = Annotations.from_detections(fused()).to_detections(detector="me")
    for name in ("image_id", "category_id", "xyxy", "score"):
        assert np.array_equal(getattr(back, name), getattr(fused(), name))
    assert back.detectors == ("me",)


def shapes():
    return Annotations.build(
        image_id=[1, 1, 2, 2],
        category_id=[1, 2, 1, 2],
        kind=[Kind.BOX, Kind.POLYGON, Kind.TAG, Kind.ELLIPSE],
        xyxy=[[0, 0, 2, 4], [0, 0, 3, 3], [0, 0, 0, 0], [0, 0, 4, 2]],
        rotation=[90, 0, 0, 90],
        points=Ragged.of([[], [0, 0, 3, 0, 3, 3], [], []]),
        attributes={"score": np.array(["0.5", None, None, "high"], dtype=object)},
    )


def test_only_what_has_an_area_is_a_detection():
    found = shapes().to_detections()
    assert found.category_id.tolist() == [1, 2, 2]
    assert np.allclose(found.xyxy, [[-1, 1, 3, 3], [0, 0, 3, 3], [1, -1, 3, 3]])
    assert found.score.tolist() == [0.5, 1, 1]


def test_a_turned_ellipse_is_enclosed_more_closely_than_a_turned_box():
    two = Annotations.build(
        image_id=[1, 1], category_id=1, kind=[Kind.BOX, Kind.ELLIPSE], xyxy=[[0, 0, 2, 2]] * 2,
        rotation=45,
    )  # fmt: skip
    box, ellipse = two.enclosing()
    assert np.allclose(box, [1 - 2**0.5, 1 - 2**0.5, 1 + 2**0.5, 1 + 2**0.5])
    assert np.allclose(ellipse, [0, 0, 2, 2])


def test_rows_are_taken_with_their_points_and_attributes():
    found = shapes().take(np.array([1, 0, 1]))
    assert found.kind.tolist() == [Kind.POLYGON, Kind.BOX, Kind.POLYGON]
    assert found.points[2].tolist() == [0, 0, 3, 0, 3, 3]
    assert found.points[1].tolist() == []
    assert found.attributes["score"].tolist() == [None, "0.5", None]
    assert len(shapes().take(slice(0, 0))) == 0


def test_parts_are_joined_by_name():
    joined = Annotations.concat([shapes(), Annotations.from_detections(fused())])
    assert len(joined) == 7
    assert joined.sources == ("manual", "auto")
    assert joined.source.tolist() == [0] * 4 + [1] * 3
    assert joined.points[1].tolist() == [0, 0, 3, 0, 3, 3]
    assert joined.attributes["votes"].tolist() == [None] * 4 + [2, 1, 1]
    assert joined.attributes["score"].tolist()[:2] == ["0.5", None]
    assert np.isnan(joined.numbers("agreement")[:4]).all()
    assert len(Annotations.concat([])) == 0


def test_columns_of_wrong_length_are_refused():
    with pytest.raises(InputError, match="2 boxes for 1 image ids"):
        Annotations.build(image_id=[1], category_id=[1], xyxy=np.zeros((2, 4)))
    with pytest.raises(InputError, match="'kind'"):
        Annotations.build(image_id=[1], category_id=[1], xyxy=np.zeros((1, 4)), kind=[0, 0])
    with pytest.raises(InputError, match="'note'"):
        Annotations.build(
            image_id=[1], category_id=[1], xyxy=np.zeros((1, 4)), attributes={"note": np.zeros(2)}
        )
