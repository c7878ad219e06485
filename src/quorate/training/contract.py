"""What a trainer says while it learns, and what it has to leave; both are checked as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from pydantic import TypeAdapter, ValidationError

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.errors import DetectorError, InputError, TrainingError
from quorate.formats import read, read_detections
from quorate.labels import VOCABULARIES
from quorate.spec.base import spec_error
from quorate.spec.detector import Detector, DetectorField
from quorate.steps.voter import Voter

MOST_BYTES = 1 << 30
"""Of a file of JSON that a trainer leaves."""
MOST_EVENTS = 1_000_000
"""Lines of progress.jsonl that are read."""
LONGEST_LINE = 1 << 16
LOSSES = ("loss", "losses")
PATHS = ("weights", "cfg", "names")
"""Fields of detectors that may name a file; `names` may be a vocabulary's too."""
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of progress.jsonl: after a number of steps, or after an epoch's validation.

    epoch              of those that are finished or at work, from 1
    step               steps (optimiser's, or batches: as the trainer counts) done since the begin
    steps              steps in all; fewer may be done where it stops early
    loss               mean since the last line; None in a line of validation alone; may be
                       NaN or infinite
    losses             its parts by name
    learning_rate      of the step, of the main group of parameters
    images_per_second  since the last line
    map                COCO's AP on validation, 0..1, in the line after an epoch's validation
    seconds            since the training began, those of earlier runs of it included
    batch_size         pictures a step, where it changed
    note               a sentence that a person should read
    """

    epoch: Count
    step: Count
    steps: Count
    loss: float | None = None
    losses: dict[str, float | None] = {}
    learning_rate: float | None = None
    images_per_second: float | None = None
    map: Share | None = None
    seconds: float | None = None
    batch_size: int | None = None
    note: str = ""


class Events:
    """The events of a progress.jsonl that may still grow; each `more` gives those that are new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self.unread = 0

    def more(self) -> list[Event]:
        """The events of the whole lines that came since; lines that are none are counted."""
        if not self.path.is_file():  # a pipe would be waited for
            return []
        try:
            size = self.path.stat().st_size
            if size < self._read:  # begun anew
                self._read = 0
            with open(self.path, "rb") as file:
                file.seek(self._read)
                data = file.read(min(size - self._read, MOST_BYTES))
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._read += end
        found = []
        for line in data[:end].splitlines()[:MOST_EVENTS]:
            try:
                if line.strip() and len(line) <= LONGEST_LINE:
                    found.append(_event(line))
                    continue
            except (msgspec.DecodeError, ValueError, AttributeError, RecursionError):
                pass
            self.unread += bool(line.strip())
        return found


_DECODER = msgspec.json.Decoder(Event)


def _event(line: bytes) -> Event:
    """An event; a loss may be NaN or infinite, which JSON lacks and Python's json writes."""
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError:
        said: dict[str, Any] = json.loads(line)
        kept = {key: value for key, value in said.items() if key in LOSSES or value == value}
        return msgspec.convert(kept, Event)


def events(out: Path) -> list[Event]:
    """All events of a trainer; where it was resumed, a step that was done again counts once.

    Rising by step; the last of what was said of a step.
    """
    return _once(Events(out / "progress.jsonl").more())


def _once(found: list[Event]) -> list[Event]:
    kept: list[Event] = []
    for event in found:
        if kept and _goes_back(kept[-1], event):  # to a checkpoint
            kept = [one for one in kept if one.step < event.step]
        kept.append(event)
    return kept


def _goes_back(last: Event, event: Event) -> bool:
    """Whether an event is of a step that was told already: what is said of it stands anew."""
    again = last.loss is not None and event.loss is not None
    again |= last.map is not None and event.map is not None
    return last.step > event.step or (last.step == event.step and again)


def detector_of(out: Path, *, name: str) -> Detector:
    """The detector that a trainer left, under a name of ours; paths are below `out`.

    Raises TrainingError where `detector.json` is none, or names a file outside of `out`.
    """
    path = out / "detector.json"
    entry = _json(path)
    if not isinstance(entry, dict):
        raise TrainingError(f"{path}: is no entry of `detectors:`.")
    entry = {**entry, "name": name}
    for key, value in files_named(entry).items():
        if not _below(out, value):
            raise TrainingError(
                f"{path}: {key} '{value[:200]}' is not below the folder of the trainer.",
                hint="name it relative to the folder: model.onnx",
            )
        if not (out / value).exists():
            raise TrainingError(f"{path}: {key} '{value}' is not there.")
    try:
        adapter: TypeAdapter[Detector] = TypeAdapter(DetectorField)
        return adapter.validate_python(entry, context={"folder": out})
    except ValidationError as error:
        raise TrainingError(spec_error(error, entry, origin=str(path)).message) from None


def files_named(entry: Mapping[str, Any]) -> dict[str, str]:
    """The files that fields of a detector name, by field."""
    return {
        key: value
        for key in PATHS
        if isinstance(value := entry.get(key), str) and value not in VOCABULARIES
    }


def _below(out: Path, name: str) -> bool:
    """Whether it is a path that leads to the same file wherever the folder is copied to."""
    if "://" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        return False
    return _leads_inside(out, out / name)


def _leads_inside(out: Path, place: Path) -> bool:
    try:
        return place.resolve().is_relative_to(out.resolve())
    except (OSError, ValueError, RuntimeError):  # a name too long, no name at all, links in a ring
        return False


def files_of(out: Path) -> list[Path]:
    """All files that a trainer left, in the order of their names; not what a link leads away to.

    Whoever copies its folder may read what the trainer may not.
    """
    found = (path for path in sorted(out.rglob("*")) if _leads_inside(out, path))
    return [path for path in found if path.is_file()]


def truth_of(folder: Path, part: str) -> Dataset:
    """The pictures and the truth of a part ('train', 'validation', 'test') of a data folder."""
    found = read(folder / f"{part}.json", format="coco")
    return replace(found, root=str(folder / "images"))


def predictions_of(out: Path, dataset: Dataset) -> Detections:
    """The boxes that a trainer left of the validation pictures; TrainingError for none."""
    path = out / "predictions.json"
    if not path.exists():
        raise TrainingError(f"{path}: there is no such file.")
    if path.stat().st_size > MOST_BYTES:
        raise TrainingError(f"{path}: larger than {MOST_BYTES >> 30} GiB.")
    try:
        return read_detections(path, dataset=dataset).detections
    except InputError as error:
        raise TrainingError(error.message, hint=error.hint) from None


def check(out: Path, data: Path, *, name: str) -> list[str]:
    """Check all that a trainer has to leave; notes on what is odd.

    Raises TrainingError, in one sentence, where the contract is not kept.
    """
    for file in ("detector.json", "predictions.json", "versions.json", "progress.jsonl"):
        if not (out / file).is_file():
            raise TrainingError(f"{name} ended well, but left no {file}.")
    for path in out.rglob("*"):
        if path.is_symlink() and not _leads_inside(out, path):
            raise TrainingError(
                f"{path}: is a link that leads out of the folder of the trainer.",
                hint="leave the file itself, which is copied to wherever the detector is used",
            )
    detector = detector_of(out, name=name)
    versions = _json(out / "versions.json")
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise TrainingError(f"{out / 'versions.json'}: is no mapping of packages to versions.")
    truth = truth_of(data, "validation")
    try:
        if not isinstance(detector, ContainerDetector):  # which is run, not loaded
            Voter.load(detector, truth.labels)
    except DetectorError as error:
        raise TrainingError(
            f"What {name} left cannot be loaded: {error.message}", hint=error.hint
        ) from None
    found = predictions_of(out, truth)
    log = Events(out / "progress.jsonl")
    said = _once(log.more())
    notes = []
    if log.unread:
        notes.append(f"{name}: {log.unread:,} lines of progress.jsonl are no events.")
    if not said:
        notes.append(f"{name}: progress.jsonl has no event, so there is no curve.")
    elif any(event.loss is not None and not math.isfinite(event.loss) for event in said):
        notes.append(f"{name}: its loss was no finite number at some steps.")
    if not len(found):
        notes.append(f"{name}: it finds nothing on the validation pictures.")
    return notes


def versions_of(out: Path) -> dict[str, str]:
    """Package -> version, as the trainer left it."""
    found: dict[str, str] = _json(out / "versions.json")
    return found


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TrainingError(f"{path}: larger than {MOST_BYTES >> 30} GiB.")
        return msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise TrainingError(f"{path}: there is no such file.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise TrainingError(f"{path}: {error}.") from None
