"""The conformance test finds each breach of the contract, and none where there is none."""

import threading

import numpy as np
import pytest

from quorate.detectors import Boxes
from quorate.detectors.conformance import assert_conforms, check_predictor, made_pictures


def boxes(*rows):
    given = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Boxes(given[:, :4].copy(), given[:, 4].copy(), given[:, 5].astype(np.int32))


class Good:
    """The whole picture, and its upper left pixel."""

    labels = ("thing", "corner")

    def predict(self, pictures):
        return [self.one(picture) for picture in pictures]

    def one(self, picture):
        height, width = picture.shape[:2]
        return boxes([0, 0, width, height, 0.9, 0], [0, 0, 1, 1, 0.5, 1])


def test_nothing_is_found_where_all_is_well():
    assert check_predictor(Good()) == []
    assert check_predictor(Good(), tolerance=1e-3) == []
    assert_conforms(Good(), [np.zeros((2, 3, 3), dtype=np.uint8)])


def breaking(**methods):
    return type("Bad", (Good,), methods)()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"labels": ["thing"]}, "`labels` is no tuple"),
        ({"labels": ()}, "`labels` is empty"),
        ({"labels": ("a", "a")}, "has a word twice"),
        ({"batch": 0}, "`batch` is 0"),
        ({"one": lambda s, p: [1]}, "answers with list"),
        ({"one": lambda s, p: boxes([0, 0, 1, 1, 0.5, 2])}, "no position in `labels`"),
        ({"one": lambda s, p: boxes([0, 0, 1, 1, 0.5, -1])}, "no position in `labels`"),
        ({"one": lambda s, p: boxes([0, 0, 1, 1, 1.5, 0])}, "outside 0..1"),
        ({"one": lambda s, p: boxes([0, 0, 1, 1, np.nan, 0])}, "NaN"),
        ({"one": lambda s, p: boxes([0, 0, 999, 1, 0.5, 0])}, "leaves its picture"),
        ({"one": lambda s, p: boxes([1, 0, 1, 1, 0.5, 0])}, "empty or inverted"),
        (
            {"one": lambda s, p: boxes([0, 0, 1, 1, 0.5, 0], [0, 0, 1, 1, 0.6, 0])},
            "not by falling score",
        ),
        ({"one": lambda s, p: Boxes(*Good().one(p)[:2], np.zeros(2))}, "`label` is not int32"),
        ({"predict": lambda s, p: []}, "1 pictures in, 0 answers out"),
        ({"predict": lambda s, p: [s.one(x) for x in p[:: 1 - 2 * (len(p) > 1)]]}, "all at once"),
        ({"predict": lambda s, p: s.one(p[0]) and [s.one(x) for x in p]}, "no picture at all"),
        ({"one": lambda s, p: p.fill(0)}, "read-only"),
    ],
)
def test_each_breach_is_told(bad, says):
    assert any(says in finding for finding in check_predictor(breaking(**bad)))
    with pytest.raises(AssertionError, match="breaks its contract"):
        assert_conforms(breaking(**bad))


def test_a_change_of_the_pictures_is_told_even_where_it_is_forced():
    def one(self, picture):
        picture.flags.writeable = True
        found = Good.one(self, picture)
        picture[0, 0, 0] ^= 1
        return found

    [finding] = check_predictor(breaking(one=one))
    assert finding == "it changes the pictures it is given"


def test_boxes_that_depend_on_the_thread_are_told():
    main = threading.main_thread()

    def one(self, picture):
        return Good.one(self, picture) if threading.current_thread() is main else boxes()

    assert check_predictor(breaking(one=one)) == ["several threads: other boxes than one by one"]


def test_the_pictures_are_given_back_as_they_were():
    pictures = made_pictures()
    check_predictor(Good(), pictures)
    assert all(picture.flags.writeable for picture in pictures)
