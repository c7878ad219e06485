"""The module that cvat-cli is given: `--function-module quorate.cvat.function -p spec=str:FILE`."""

from __future__ import annotations

from quorate.cvat.auto_annotation import DetectionFunction, detection_function


def create(spec: str) -> DetectionFunction:
    """The function of a spec file."""
    return detection_function(spec)
