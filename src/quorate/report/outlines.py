"""Masks on the wall of pictures: their outlines as SVG paths."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from quorate.masks import Masks

TOLERANCE = 0.7
"""Pixels of the picture as shown; the eye does not see less."""


def paths(masks: Masks, scale: float) -> list[str]:
    """`d` of a path for each mask, in pixels of a picture shown at a scale; '' for none."""
    from quorate.masks.outlines import polygons

    offsets, values = polygons(masks, TOLERANCE / scale)
    found = []
    for begin, end in pairwise(offsets.tolist()):
        points = np.round(values[begin:end].reshape(-1, 2) * scale, 1)
        parted = np.flatnonzero(np.isnan(points[:, 0]))
        rings = [ring[~np.isnan(ring[:, 0])] for ring in np.split(points, parted)]
        found.append(
            "".join(
                "M" + "L".join(f"{x:g},{y:g}" for x, y in ring.tolist()) + "Z"
                for ring in rings
                if len(ring)
            )
        )
    return found
