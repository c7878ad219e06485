"""Hypothesis strategies for detections: few pictures, few places, so that boxes meet and tie."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from quorate.detections import Detections

NAMES = ("ash", "birch", "cedar", "elm")

# Sizes are such that no area underflows. A coarse raster makes equal boxes, touching boxes and
# boxes without area likely; two decimals make equal scores likely, as in exchanged files.
rasters = st.integers(0, 12).map(lambda k: k * 5.0)
places = st.one_of(rasters, st.floats(0.0, 60.0, width=16).map(lambda x: round(x * 64) / 64))
# A score is 0, or not so tiny that it pulls a mean of coordinates from 0 to a subnormal number:
# that has fewer digits than others, so in another unit the mean would be rounded otherwise.
scores = st.one_of(st.integers(0, 100).map(lambda k: k / 100), st.floats(2.0**-64, 1.0, width=32))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 within 0..60, never inverted, now and then without area."""
    x1, x2 = sorted((draw(places), draw(places)))
    y1, y2 = sorted((draw(places), draw(places)))
    return x1, y1, x2, y2


@st.composite
def detections(
    draw: st.DrawFn,
    *,
    names: tuple[str, ...] = NAMES,
    pictures: int = 2,
    categories: int = 2,
    most: int = 24,
) -> Detections:
    """Boxes of up to `len(names)` detectors; each may have found nothing."""
    n = draw(st.integers(0, most))
    columns = [
        draw(st.lists(strategy, min_size=n, max_size=n))
        for strategy in (
            st.integers(1, pictures),
            st.integers(1, categories),
            # Boxes near earlier ones: a few anchors, each moved by a little.
            boxes(),
            scores,
            st.integers(0, len(names) - 1),
        )
    ]
    near = draw(st.lists(st.integers(-1, max(n - 1, 0)), min_size=n, max_size=n))
    xyxy = np.array(columns[2], dtype=np.float32).reshape(-1, 4)
    for i, anchor in enumerate(near):
        if 0 <= anchor < i:
            xyxy[i] = xyxy[anchor] + np.array(draw(st.sampled_from(_MOVES)), dtype=np.float32)
    return Detections.build(
        image_id=columns[0],
        category_id=columns[1],
        xyxy=xyxy,
        score=columns[3],
        detector=columns[4],
        detectors=names,
    )


_MOVES = ((0, 0, 0, 0), (1, 0, 1, 0), (0, 0, 1, 2), (0, -1, 0, 1))
