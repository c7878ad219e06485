"""Classifications: the columns, what is derived of them, and their file."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from quorate.classifications import Choice, Classifications, Decision
from quorate.detections import Detections
from quorate.errors import FormatError, InputError
from quorate.fusion.classes import fuse
from quorate.labels import Labels

LABELS = Labels(("cat", "dog", "bird"), (7, 3, 9))


def own(name, ids=(4, 2), rows=((0.5, 0.25, 0.25), (0.0, 0.25, 0.75))):
    return Classifications.of(name, ids, rows, LABELS)


def same(one, other):
    return (
        one.labels == other.labels
        and one.members == other.members
        and np.array_equal(one.image_id, other.image_id)
        and np.array_equal(one.probabilities, other.probabilities, equal_nan=True)
        and np.array_equal(one.of_members, other.of_members, equal_nan=True)
    )


def test_what_is_derived():
    found = fuse(Classifications.join([own("a"), own("b", [2], [[0.5, 0.5, 0]])]))
    assert found.image_id.tolist() == [4, 2]
    assert found.took_part.tolist() == [[True, False], [True, True]]
    assert found.ranking.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert found.category_id.tolist() == [7, 3]
    assert found.probability.tolist() == [0.5, 0.375]
    assert found.choices.tolist() == [[0, -1], [2, 0]]
    assert found.votes.tolist() == [1, 0]
    assert found.top(1, 2) == (Choice("dog", 1, 0.375), Choice("bird", 2, 0.375))
    assert found.top_of(1, "a", 1) == (Choice("bird", 2, 0.75),)
    assert found.top_of(0, "b") == ()
    assert "2 pictures, 3 labels, by ('a', 'b')" in repr(found)
    assert "cat" in found._repr_html_()
    assert [number for number, _ in found] == [4, 2]


def test_a_decision_is_one_row_of_it():
    row = fuse(Classifications.join([own("a"), own("b")])).take(slice(1))
    said = Decision(row, {"c": "it is away"})
    assert (said.label, said.index, said.category_id, said.votes) == ("cat", 0, 7, 2)
    assert said.probability == 0.5
    assert said.degraded
    assert said.members == ("a", "b")
    assert said.of("b").tolist() == [0.5, 0.25, 0.25]
    assert said.top(1) == said.top_of("a", 1) == (Choice("cat", 0, 0.5),)
    with pytest.raises(InputError, match="No member 'c'"):
        said.of("c")


def test_shards_of_different_members_are_one_table():
    first, second = Classifications.join([own("a"), own("b")]), own("b", [5], [[1, 0, 0]])
    whole = Classifications.concat([first, second])
    assert whole.members == ("a", "b")
    assert whole.took_part.tolist() == [[True, True], [True, True], [False, True]]
    assert whole.of_members[2, 1].tolist() == second.probabilities[0].tolist()
    assert len(Classifications.concat([])) == 0


@pytest.mark.parametrize("pictures", [None, {4: "d/a.jpg", 2: "b.jpg"}])
def test_the_file_gives_the_table_back(tmp_path, pictures):
    path = tmp_path / "c.parquet"
    joined = fuse(Classifications.join([own("a"), own("b", [2], [[0.5, 0.5, 0]])]))
    for table in (own("a"), joined, joined.take(slice(0)), own("a", [], np.empty((0, 3)))):
        table.to_parquet(path, pictures=pictures)
        assert same(Classifications.from_parquet(path), table)
    own("a").to_parquet(path, pictures=pictures)
    columns = pq.read_table(path).column_names
    assert "of_a" not in columns  # its word is the decision
    assert ("file_name" in columns) == bool(pictures)
    assert pq.read_table(path)["label"].to_pylist() == ["cat", "bird"]


def test_other_files_are_told_apart(tmp_path):
    boxes, classes = tmp_path / "boxes.parquet", tmp_path / "classes.parquet"
    Detections.empty(["a"]).to_parquet(boxes)
    own("a").to_parquet(classes)
    with pytest.raises(FormatError, match="not a Parquet file of classifications"):
        Classifications.from_parquet(boxes)
    with pytest.raises(FormatError, match="not a Parquet file of detections"):
        Detections.from_parquet(classes)
    classes.write_bytes(classes.read_bytes()[:-9])
    with pytest.raises(FormatError, match="not a whole Parquet file"):
        Classifications.from_parquet(classes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: own("a", rows=[[2, 0, 0], [0, 0, 0]]), "outside 0..1"),
        (lambda: own("a", rows=[[np.nan, 0, 0], [0, 0, 0]]), "outside 0..1"),
        (lambda: own("a", ids=[1]), "expected float32"),
        (lambda: Classifications.join([own("a"), own("a")]), "stands in two"),
        (
            lambda: Classifications.concat(
                [own("a"), Classifications.of("a", [1], [[1]], Labels(("x",), (1,)))]
            ),
            "different labels",
        ),
    ],
)
def test_what_is_no_table_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
