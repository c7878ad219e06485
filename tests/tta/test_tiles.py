"""Tiles: what seams cut comes back as one box."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detectors import Boxes
from quorate.spec.tta import Tiles
from quorate.tta import Tiled
from quorate.tta.tiles import cut_up, in_calls, merged


class Rectangles:
    """Finds the box of every colour, exactly; `seen` is the sizes of the pictures shown."""

    labels = ("red", "green", "blue")

    def __init__(self, noise: float = 0) -> None:
        self.noise = noise
        self.seen: list[tuple[int, int]] = []
        self.random = np.random.default_rng(0)

    def predict(self, pictures):
        return [self.one(picture) for picture in pictures]

    def one(self, picture):
        self.seen.append(picture.shape[:2])
        found = []
        for label in range(3):
            ys, xs = np.nonzero(picture[..., label] == 255)
            if len(xs):
                box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
                box += self.random.uniform(-self.noise, self.noise, 4)
                found.append((box, 0.5 + 0.1 * label, label))
        return Boxes(
            np.array([f[0] for f in found], np.float32).reshape(-1, 4),
            np.array([f[1] for f in found], np.float32),
            np.array([f[2] for f in found], np.int32),
        )


def tiled(size, overlap=0.2, whole=False, noise=0.0) -> Tiled:
    return Tiled(Rectangles(noise), Tiles(size=size, overlap=overlap, whole=whole), 300)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 150), st.integers(1, 150), st.booleans())
def test_a_rectangle_across_seams_is_one_box_with_its_own_edges(data, height, width, whole):
    sides = data.draw(st.tuples(st.integers(8, 60), st.integers(8, 60)))
    overlap = data.draw(st.sampled_from([0.125, 0.2, 0.5, 0.75]))
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    expected = {}
    for label in range(data.draw(st.integers(1, 3))):
        x1 = data.draw(st.integers(0, width - 1))
        y1 = data.draw(st.integers(0, height - 1))
        x2 = data.draw(st.integers(x1 + 1, width))
        y2 = data.draw(st.integers(y1 + 1, height))
        picture[y1:y2, x1:x2, label] = 255
        expected[label] = [x1, y1, x2, y2]
    found = tiled(sides, overlap, whole).predict([picture])[0]
    assert dict(zip(found.label.tolist(), found.xyxy.tolist(), strict=True)) == expected
    assert len(found.label) == len(expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 90), st.integers(0, 3))
def test_tiles_cover_the_picture_and_overlap_as_asked(height, width, side, quarters):
    windows = cut_up((height, width), Tiles(size=side, overlap=quarters / 4, whole=False))
    covered = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in windows:
        covered[y1:y2, x1:x2] = True
        assert (x2 - x1, y2 - y1) == (min(side, width), min(side, height))
    assert covered.all()
    columns = sorted({(x1, x2) for x1, _, x2, _ in windows})
    for (_, end), (start, _) in pairwise(columns):
        assert end - start >= min(int(np.ceil(side * quarters / 4)), side - 1)


def test_a_picture_no_larger_than_a_tile_is_shown_as_it_is():
    predictor = tiled(64, whole=True)
    predictor.predict([np.zeros((64, 50, 3), dtype=np.uint8)])
    assert predictor.predictor.seen == [(64, 50)]


def test_the_whole_picture_is_shown_too():
    predictor = tiled(64, whole=True)
    predictor.predict([np.zeros((64, 100, 3), dtype=np.uint8)])
    assert predictor.predictor.seen == [(64, 64), (64, 64), (64, 100)]


def test_pieces_join_though_the_edges_are_not_exact():
    picture = np.zeros((640, 1500, 3), dtype=np.uint8)
    picture[200:400, 100:1400, 0] = 255
    found = tiled(640, noise=4).predict([picture])[0]
    assert len(found.xyxy) == 1
    assert np.abs(found.xyxy - [[100, 200, 1400, 400]]).max() <= 4.5


class Fixed:
    """Answers each picture of a call in turn with the next list of boxes."""

    labels = ("car",)

    def __init__(self, *answers):
        self.answers = [np.array(answer, np.float32).reshape(-1, 5) for answer in answers]

    def predict(self, pictures):
        answers, self.answers = self.answers[: len(pictures)], self.answers[len(pictures) :]
        return [Boxes(a[:, :4], a[:, 4], np.zeros(len(a), np.int32)) for a in answers]


def two_tiles(left, right):
    """100 x 180 in two tiles of 100, which share 80..100."""
    predictor = Tiled(Fixed(left, right), Tiles(size=100, overlap=0.2, whole=False), 300)
    return predictor.predict([np.zeros((100, 180, 3), np.uint8)])[0]


def test_two_objects_that_one_tile_tells_apart_stay_apart():
    left = [(70, 10, 92, 40, 0.9), (74, 12, 95, 42, 0.8)]
    found = two_tiles(left, [(0, 12, 15, 42, 0.7)])
    assert len(found.xyxy) == 2


def test_an_object_seen_whole_is_not_stretched_by_its_pieces():
    found = two_tiles([(60, 10, 90, 40, 0.6)], [(0, 8, 11, 41, 0.9)])
    assert found.xyxy.tolist() == [[60, 10, 90, 40]]
    assert found.score.tolist() == pytest.approx([0.9])


def test_a_sliver_of_an_object_seen_whole_next_door_is_dropped():
    found = two_tiles([(20, 10, 98, 90, 0.9)], [(0, 40, 6, 60, 0.2)])
    assert len(found.xyxy) == 1


def test_neighbours_on_either_side_of_a_seam_stay_two():
    found = two_tiles([(40, 10, 85, 60, 0.9)], [(8, 10, 60, 60, 0.8)])
    assert found.xyxy.tolist() == [[40, 10, 85, 60], [88, 10, 140, 60]]


def test_many_large_pictures_are_not_shown_in_one_call(monkeypatch):
    monkeypatch.setattr("quorate.tta.tiles.PIXELS_AT_ONCE", 100)
    calls = []

    class Counting(Rectangles):
        def predict(self, pictures):
            calls.append(len(pictures))
            return super().predict(pictures)

    pictures = (np.zeros((6, 8, 3), np.uint8) for _ in range(5))
    assert len(list(in_calls(Counting(), pictures))) == 5
    assert calls == [2, 2, 1]


def test_thousands_of_pieces_on_seams_do_not_fill_the_memory():
    rng = np.random.default_rng(0)
    windows = cut_up((2000, 2000), Tiles(size=100, whole=False))
    tile = np.repeat(np.arange(len(windows)), 12)
    corner = np.array(windows, dtype=np.float64)[tile, :2]
    inner = rng.uniform(0, 80, (len(tile), 2))
    inner[:, 0] = 0  # each is cut by a seam
    xyxy = np.concatenate(
        [corner + inner, corner + inner + rng.uniform(4, 12, inner.shape)], axis=1
    )
    label = rng.integers(0, 40, len(tile)).astype(np.int32)
    score = rng.random(len(tile)).astype(np.float32)
    tracemalloc.start()
    merged(xyxy, score, label, tile, windows, (2000, 2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(xyxy) > 7000
    assert peak < 150e6
