"""Tell the author of a container detector which rules of the step contract it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags
from PIL import Image as Picture

from quorate.dataset import Image
from quorate.detectors.container import ContainerDetector
from quorate.errors import InputError, QuorateError
from quorate.labels import Labels
from quorate.steps.container import Runner, weights_here
from quorate.steps.container_output import RULES, Left
from quorate.steps.work import Category, ShardImages, read_json, write_json

ENDS = "it ends with status 0"
LAST = "manifest.json is written last"
BROKEN = "a picture that cannot be read costs only itself"


@dataclass(frozen=True)
class Finding:
    """One rule; `kept` is None where another rule's breach leaves nothing to judge it by."""

    rule: str
    kept: bool | None
    found: str = ""


def examine(left: Left) -> list[Finding]:
    """Every rule of the contract that an output folder tells of."""
    findings: list[Finding] = []
    said = set()
    for rule, look in RULES:
        try:
            look(left)
        except QuorateError as error:
            again = error.message in said
            said.add(error.message)
            found = "" if again else f"{error.message} {error.hint or ''}".strip()
            findings.append(Finding(rule, None if again else False, found))
        else:
            findings.append(Finding(rule, True))
    findings.append(_last(left))
    return findings


def examine_folder(folder: Path, listed: Path | None = None) -> list[Finding]:
    """The rules of an output folder, beside whose images.json it stands or that is given.

    Raises InputError where there is no images.json to hold it to.
    """
    places = [one / "images.json" for one in (folder, *folder.parents[:2])]
    path = listed or next((place for place in places if place.exists()), None)
    if path is None or not path.exists():
        raise InputError(
            f"{folder}: there is no images.json in it or above it.",
            hint="name the one that the container was given: --images images.json",
        )
    detector = ContainerDetector(name="container", command=("true",))
    return examine(Left(folder, read_json(path, ShardImages), detector))


def try_out(runner: Runner, labels: Labels, folder: Path) -> list[Finding]:
    """Run a container on a small shard that is made up below a folder; every rule."""
    images, broken = made_up(folder / "images")
    categories = Category.each(labels)
    found = _run(runner, folder, "sound", ShardImages(images, categories))
    if not found[0].kept:
        return [*found, Finding(BROKEN, None)]
    again = _run(runner, folder, "broken", ShardImages((*images, broken), categories))
    worst = next((finding for finding in again if finding.kept is False), None)
    return [*found, Finding(BROKEN, worst is None, worst.found if worst else "")]


def made_up(folder: Path) -> tuple[tuple[Image, ...], Image]:
    """Write a few small pictures of the odd kinds that data sets hold, and one that is cut short.

    One is grey; one lies in a sub-folder, has a name that is not ASCII and is shown on its side.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    plain = Picture.fromarray(pixels)
    turned = Picture.Exif()
    turned[ExifTags.Base.Orientation] = 6
    (folder / "north").mkdir(parents=True)
    plain.save(folder / "plain.png")
    plain.convert("L").save(folder / "grey.png")
    plain.save(folder / "north/über 2.jpg", exif=turned)
    whole = BytesIO()
    plain.save(whole, "JPEG")
    (folder / "short.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    sound = (
        Image(1, "grey.png", 64, 48),
        Image(2, "north/über 2.jpg", 48, 64),
        Image(5, "plain.png", 64, 48),
    )
    return sound, Image(7, "short.jpg", 64, 48)


def _run(runner: Runner, folder: Path, name: str, contents: ShardImages) -> list[Finding]:
    listed, output = folder / name / "images.json", folder / name / "output"
    write_json(listed, contents)
    output.mkdir()
    try:
        with weights_here(runner.detector) as weights:
            runner.call(listed, folder / "images", output, folder / name / "log.txt", weights)
        ended = Finding(ENDS, True)
    except QuorateError as error:
        ended = Finding(ENDS, False, error.message)
    return [ended, *examine(Left(output, contents, runner.detector))]


def _last(left: Left) -> Finding:
    manifest = left.folder / "manifest.json"
    try:
        before = left.file.stat().st_mtime_ns <= manifest.stat().st_mtime_ns
    except (QuorateError, OSError):
        return Finding(LAST, None)
    return Finding(LAST, before, "" if before else f"{left.file.name} is younger.")
