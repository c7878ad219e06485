"""Instance masks as run lengths, in columns.

value     `Masks`, the value: run lengths of many masks
runs      kernels: bitmaps, area, box, union, intersection, majority, IoU
text      kernels: COCO's compressed `counts`
outlines  masks to polygons, simplified
drawing   polygons to masks
shapes    masks to and from run lengths within a box, ellipses, boxes
fusion    the masks of groups of boxes
grids     small grids of numbers, as networks give them, to masks

Only `value` is imported with it, and that needs no compiler.
"""

from quorate.masks.value import Masks, Measured

__all__ = ["Masks", "Measured"]


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it."""
    import numpy as np

    from quorate.masks import drawing, fusion, grids, outlines, runs, shapes

    masks = Masks.from_bitmaps(np.eye(3, dtype=np.bool_)[None])
    Masks.from_counts(masks.counts(), masks.size).moved(0, 0, 4, 4).bitmap(0)
    offsets, points = outlines.polygons(masks, 1.0)
    drawing.drawn(offsets, points, masks.size)
    offsets, values, box = shapes.boxed(masks)
    shapes.unboxed(offsets, values, box.astype(float), masks.size)
    fusion.merged(masks, np.array([0, 1]), np.array([0]), "majority")
    runs.digests(*masks.columns())
    runs.overlaps(*masks.columns(), *masks.columns(), np.zeros(1, np.bool_))
    plane = np.zeros((1, 2, 2), dtype=np.float32)
    for chosen in (np.zeros(1, np.int64), np.ones((1, 1), np.float32)):
        grids.Grids(plane, chosen, 0.5).drawn(np.zeros((1, 4)), (3, 3), (0.0, 0.0, 1.0, 1.0))
