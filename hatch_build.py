"""Puts the demo into the wheel: its spec, its models, and some of its pictures."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PICTURES_OF_A_BENCH = 3
"""Of each of the six benches, the smallest: all sixty would weigh as much as the models."""


class Demo(BuildHookInterface):  # type: ignore[type-arg]
    """Takes the files of docs/examples/parts; an editable installation finds them there itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatchling which files go where in the wheel."""
        if version == "editable":
            return
        source, inside = Path(self.root) / "docs/examples/parts", "quorate/demo/parts"
        files = {file: file.relative_to(source) for file in source.glob("models/*.onnx")}
        files |= {source / "spec.yaml": Path("spec.yaml")}
        truth = Path("images/annotations/instances_val.json")
        some = _some(json.loads((source / truth).read_text("utf-8")), source / "images")
        files |= {source / "images" / one: Path("images", one) for one in _names(some)}
        self.folder = tempfile.TemporaryDirectory()
        short = Path(self.folder.name) / truth.name
        short.write_text(json.dumps(some), "utf-8")
        files |= {short: truth}
        build_data["force_include"] |= {
            str(file): f"{inside}/{name.as_posix()}" for file, name in files.items()
        }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made for the wheel alone."""
        if version != "editable":
            self.folder.cleanup()


def _names(coco: dict[str, Any]) -> list[str]:
    return [image["file_name"] for image in coco["images"]]


def _some(coco: dict[str, Any], images: Path) -> dict[str, Any]:
    """The same data set with a few pictures of each bench, in the same order."""
    benches: dict[str, list[str]] = {}
    for name in _names(coco):
        benches.setdefault(name.partition("/")[0], []).append(name)
    kept = {
        name
        for bench in benches.values()
        for name in sorted(bench, key=lambda one: (images / one).stat().st_size)[
            :PICTURES_OF_A_BENCH
        ]
    }
    pictures = [image for image in coco["images"] if image["file_name"] in kept]
    numbers = {image["id"] for image in pictures}
    boxes = [one for one in coco["annotations"] if one["image_id"] in numbers]
    return {**coco, "images": pictures, "annotations": boxes}
