"""TFRecord: the examples of TensorFlow's Object Detection API, without TensorFlow.

`messages` are their protobuf, `reading` and `writing` use it; `quorate.storage.records` has the
records, and gives the pictures inside them as files.
"""

from quorate.formats.tfrecord.reading import read, recognise
from quorate.formats.tfrecord.writing import write

__all__ = ["read", "recognise", "write"]
