"""YOLO text: a file for each picture, a box or a polygon in each line.

`lines` is what stands in such files, `reading` and `writing` hold the two directions.
"""

from quorate.formats.yolo.reading import read, recognise
from quorate.formats.yolo.writing import write

__all__ = ["read", "recognise", "write"]
