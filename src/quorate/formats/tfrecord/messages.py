"""TensorFlow's `Example` and the Object Detection API's label map, as classes of protobuf.

Sources: tensorflow/core/example/{example,feature}.proto; object_detection/protos/
string_int_label_map.proto. What is not named is passed over.
"""

from __future__ import annotations

from quorate.protobuf import classes

MESSAGES = classes(
    "quorate.tfrecord",
    {
        "BytesList": {"value": (1, "*bytes")},
        "FloatList": {"value": (1, "*float")},
        "Int64List": {"value": (1, "*int64")},
        "Feature": {
            "bytes_list": (1, "?BytesList"),
            "float_list": (2, "?FloatList"),
            "int64_list": (3, "?Int64List"),
        },
        "Features": {"feature": (1, "%Feature")},
        "Example": {"features": (1, "Features")},
        "Label": {"name": (1, "string"), "id": (2, "int32"), "display_name": (3, "string")},
        "LabelMap": {"item": (1, "*Label")},
    },
)
