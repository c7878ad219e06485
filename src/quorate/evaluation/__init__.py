"""How good a result is, how far detectors agree, and what a person should look at first.

In the order to read: `truth` lays out what is right, `matching` pairs boxes with it on `kernels`,
`coco` makes the metrics, `effort` counts what a person still has to do, `compare` sets several
results side by side; `agreement` needs no truth; `reliability` asks what scores are worth.
"""

from __future__ import annotations


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it."""
    from quorate.annotations import Annotations
    from quorate.dataset import Dataset, Image
    from quorate.detections import Detections
    from quorate.evaluation.agreement import agreement
    from quorate.evaluation.compare import compare
    from quorate.evaluation.effort import effort
    from quorate.labels import Labels

    box = [[0.0, 0.0, 1.0, 1.0]]
    found = Detections.build(image_id=[1], category_id=1, xyxy=box, score=0.5, detectors=("a",))
    truth = Annotations.build(image_id=[1], category_id=1, xyxy=box)
    images = (Image(id=1, file_name=""),)
    dataset = Dataset("", images, Labels.from_names(["a"]), truth)
    compare({"a": found}, dataset, samples=0)
    effort(found, dataset)
    agreement(found, dataset)
