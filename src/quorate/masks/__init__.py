"""Instance masks as run lengths, in columns.

value     `Masks`, the value: run lengths of many masks
runs      kernels: bitmaps, area, box, union, intersection, majority, IoU
text      kernels: COCO's compressed `counts`
outlines  masks to polygons, simplified, and polygons to masks
shapes    masks to and from run lengths within a box, ellipses, boxes
fusion    the masks of groups of boxes
grids     small grids of numbers, as networks give them, to masks

Only `value` is imported with it, and that needs no compiler.
"""

from quorate.masks.value import Masks, Measured

__all__ = ["Masks", "Measured"]
