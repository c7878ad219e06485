"""Instance masks as run lengths, in columns.

value     `Masks`, the value: run lengths of many masks
runs      run lengths to and from pixels, spans and COCO's compressed text; area, box
shapes    polygons, ellipses, boxes to masks; masks to and from run lengths within a box
outlines  masks to polygons, simplified (compiled)
fusion    the masks of groups of boxes (compiled)
grids     small grids of numbers, as networks give them, to masks (compiled)

Only `value` and `runs` are imported with it; neither they nor `shapes` need a compiler.
"""

from quorate.masks.value import Masks

__all__ = ["Masks"]


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it."""
    import numpy as np

    from quorate.masks import fusion, grids, outlines

    masks = Masks.from_bitmaps(np.ones((1, 9, 9), dtype=np.bool_) & ~np.eye(9, dtype=np.bool_))
    outlines.polygons(masks, 1.0)
    fusion.merged(masks, np.array([0, 1]), np.array([0]), "majority")
    plane = np.zeros((1, 2, 2), dtype=np.float32)
    for chosen in (np.zeros(1, np.int64), np.ones((1, 1), np.float32)):
        grids.Grids(plane, chosen, 0.5).drawn(np.zeros((1, 4)), (3, 3), (0.0, 0.0, 1.0, 1.0))
