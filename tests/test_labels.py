import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import LabelError
from quorate.labels import UNMAPPED, Labels, map_labels

STREET = Labels(names=("car", "person", "bicycle"), ids=(3, 1, 2))


def test_names_and_ids_are_unique():
    with pytest.raises(LabelError, match="'car' stands twice"):
        Labels.from_names(["car", "car"])
    with pytest.raises(LabelError, match="category id 1 stands twice"):
        Labels(names=("a", "b"), ids=(1, 1))
    with pytest.raises(LabelError, match="empty"):
        Labels.from_names(["car", " "])


def test_category_ids_start_at_one_as_cvat_needs():
    assert Labels.from_names(["a", "b"]).ids == (1, 2)


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(LabelError, match="did you mean 'person'") as caught:
        STREET.id_of("persn")
    assert "not in the vocabulary" in caught.value.message


@given(st.permutations(list(range(-2, 8))))
def test_positions_find_each_id_and_only_those(ids):
    labels = Labels(names=tuple(str(i) for i in ids[:5]), ids=tuple(ids[:5]))
    asked = np.array(ids)
    expected = [*range(5), *([UNMAPPED] * (len(ids) - 5))]
    assert labels.positions(asked).tolist() == expected


def test_positions_in_an_empty_vocabulary():
    assert Labels((), ()).positions(np.array([1, 2])).tolist() == [UNMAPPED, UNMAPPED]


def test_mapping_renames_then_matches_without_regard_to_case():
    mapping = map_labels(["Car", "vehicle", "dog"], STREET, {"vehicle": "car"}, detector="d")
    assert mapping.category_id.tolist() == [3, 3, UNMAPPED]
    assert mapping.unmapped == ("dog",)
    assert mapping.never_predicted == ("person", "bicycle")
    report = " ".join(mapping.report("d"))
    assert "'dog' are left out" in report
    assert "nothing of 'person', 'bicycle'" in report


def test_a_label_of_just_that_word_goes_before_one_of_another_case():
    labels = Labels(names=("Car", "car", "CAR"), ids=(1, 2, 3))
    assert labels.ids_like(["car", "Car", "CAR", " car"]) == [2, 1, 3, 3]


def test_a_full_mapping_has_nothing_to_report():
    assert map_labels(STREET.names, STREET, {}, detector="d").report("d") == []


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"vehicl": "car"}, "has no label 'vehicl' to rename"),
        ({"vehicle": "cars"}, "mapped to 'cars', which is not a label"),
    ],
)
def test_renaming_what_is_not_there_is_refused(renamed, message):
    with pytest.raises(LabelError, match=message) as caught:
        map_labels(["vehicle"], STREET, renamed, detector="d")
    assert "did you mean" in (caught.value.hint or "")


def test_a_detector_of_which_nothing_maps_is_refused():
    with pytest.raises(LabelError, match="No label of detector 'd'") as caught:
        map_labels(["cat"], STREET, {}, detector="d")
    assert "labels: {cat: car}" in (caught.value.hint or "")
