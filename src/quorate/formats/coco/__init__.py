"""COCO: annotation files, and results files of detections.

`reading` and `writing` hold the two directions of annotation files, `results_reading` and
`results_writing` those of results, `segmentations` their masks.

Format: https://cocodataset.org/#format-data and https://cocodataset.org/#format-results.
"""

from quorate.formats.coco.reading import read, recognise
from quorate.formats.coco.writing import write, write_parts

__all__ = ["read", "recognise", "write", "write_parts"]
