"""Grids are drawn as they would be if the whole picture were sampled."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.masks import Masks
from quorate.masks.grids import Grids

sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))
edges = st.floats(0, 14, width=32)


def sampled(grid, picture, inner):
    """float64 (height, width): a grid at the middle of each pixel, by plain numpy."""
    rows, columns = grid.shape
    height, width = picture

    def taps(cells, low, high, pixels):
        place = low * cells + (np.arange(pixels) + 0.5) * ((high - low) / pixels * cells)
        place = np.clip(place - 0.5, 0, cells - 1)
        cell = place.astype(int)
        return cell, np.minimum(cell + 1, cells - 1), place - cell

    x, x_next, across = taps(columns, inner[0], inner[2], width)
    y, y_next, down = taps(rows, inner[1], inner[3], height)
    upper = grid[y][:, x] * (1 - across) + grid[y][:, x_next] * across
    lower = grid[y_next][:, x] * (1 - across) + grid[y_next][:, x_next] * across
    return upper * (1 - down[:, None]) + lower * down[:, None]


@settings(deadline=None)
@given(sizes, sizes, st.tuples(edges, edges, edges, edges), st.booleans(), st.randoms())
def test_a_grid_is_sampled_at_the_middle_of_each_pixel(cells, picture, box, whole, random):
    values = np.random.default_rng(random.randrange(1 << 30))
    planes = values.normal(size=(3, *cells)).astype(np.float32)
    height, width = picture
    x1, x2 = sorted(min(v, width) for v in box[:2])
    y1, y2 = sorted(min(v, height) for v in box[2:])
    xyxy, inner = np.array([[x1, y1, x2, y2]]), (0.1, 0.0, 1.0, 0.8)
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
    weights = values.normal(size=(1, 3)).astype(np.float32)
    for chosen in (weights, np.array([2])):
        grids = Grids(planes, chosen, 0.1, None if whole else 0.0)
        grid = (weights[0, :, None, None] * planes).sum(0) if chosen is weights else planes[2]
        expected = sampled(grid.astype(np.float64), picture, inner)
        masks = grids.drawn(xyxy, picture, inner)
        masks.check()
        near = np.abs(expected - 0.1) < 1e-5  # single precision may fall to either side
        wanted = (expected > 0.1) & (inside | whole)
        assert not ((masks.bitmap(0) != wanted) & ~near).any()
        assert masks.counts() == Masks.from_bitmaps(masks.bitmap(0)[None]).counts()
