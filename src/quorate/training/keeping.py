"""What a trainer goes on from, kept where the pod that comes after a killed one finds it.

    PLACE/current.json    the number of the copy that is whole, and its files
    PLACE/000012/…        the copy: checkpoint/ and progress.jsonl of the trainer's folder

A copy counts when nothing of `checkpoint/` changed while it was made; another is made otherwise.
The one before it is removed only then.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.errors import InputError, QuorateError
from quorate.storage import (
    exists,
    join,
    open_tree,
    read_bytes,
    remove_tree,
    safe_name,
    write_bytes,
    writing,
)

CHECKPOINT, PROGRESS = "checkpoint", "progress.jsonl"
EVERY = 5.0
"""Seconds between two looks at the folder."""
LAST = 15.0
"""Seconds that a trainer has to write a last checkpoint, when both are told to end."""
State = tuple[tuple[str, int, int], ...]


class Copy(msgspec.Struct, frozen=True):
    """A copy that is whole."""

    number: int
    files: tuple[str, ...]


def state(out: Path) -> State:
    """The files below `checkpoint/`, with their times and lengths; hidden ones are at work."""
    found = []
    for path in sorted((out / CHECKPOINT).rglob("*")):
        name = path.relative_to(out)
        try:
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                said = path.stat()
                found.append((str(name), said.st_mtime_ns, said.st_size))
        except FileNotFoundError:
            continue
    return tuple(found)


def keep(out: Path, place: str, seen: State) -> State:
    """Copy the checkpoint to a place, if it is another than was seen; the one that is there now."""
    now = state(out)
    if not now or now == seen:
        return seen
    last = current(place)
    number = last.number + 1 if last else 1
    folder = join(place, f"{number:06d}")
    # The lines of progress after the checkpoint's are dropped by who goes on; none may lack.
    names = [name for name, _, _ in now] + [PROGRESS]
    done = []
    try:
        for name in names:
            with open(out / name, "rb") as source, writing(join(folder, name)) as file:
                shutil.copyfileobj(source, file, 1 << 20)
            done.append(name)
    except FileNotFoundError:  # it was replaced meanwhile, or there is no progress yet
        pass
    if state(out) != now:
        remove_tree(folder)
        return seen
    write_bytes(join(place, "current.json"), msgspec.json.encode(Copy(number, tuple(done))))
    if last:
        remove_tree(join(place, f"{last.number:06d}"))
    return now


def current(place: str) -> Copy | None:
    """The copy at a place; None where there is none."""
    path = join(place, "current.json")
    if not exists(path):
        return None
    try:
        return msgspec.json.decode(read_bytes(path), type=Copy)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}.") from None


def restore(place: str, out: Path) -> bool:
    """Put the copy at a place into a trainer's folder; whether there was one.

    What is already there, of a container that was begun again in the same pod, is newer and stays.
    """
    copy = current(place)
    if copy is None or state(out):
        return False
    begun = out / ".restored"
    shutil.rmtree(begun, ignore_errors=True)
    with open_tree(join(place, f"{copy.number:06d}") + "/") as tree:
        for name in copy.files:
            with tree.open(name) as source, writing(begun / safe_name(name, origin=place)) as file:
                shutil.copyfileobj(source, file, 1 << 20)
    # Whole or not there: who is killed meanwhile begins this again, and nothing begins anew.
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    for name in (PROGRESS, CHECKPOINT):
        if (begun / name).exists():
            os.replace(begun / name, out / name)
    shutil.rmtree(begun)
    return True


def open_to_all(out: Path) -> None:
    """Let whoever a container runs as write to a folder and those below it."""
    out.mkdir(parents=True, exist_ok=True)
    for folder, _, files in os.walk(out):
        os.chmod(folder, 0o777)  # noqa: S103  an emptyDir of the pod's own
        for name in files:
            os.chmod(Path(folder) / name, 0o666)  # noqa: S103  likewise


def keep_until(
    out: Path, place: str, stopped: Callable[[], bool], warn: Callable[[str], None]
) -> None:
    """Keep every checkpoint until told to stop, then once more.

    Storage that does not answer is told and tried again: it costs a trainer nothing.
    """
    seen: State = ()
    until = None
    while until is None or time.monotonic() < until:
        if until is None and stopped():
            until = time.monotonic() + LAST
        try:
            seen = keep(out, place, seen)
        except QuorateError as error:
            warn(f"the checkpoint is not kept: {error.message}")
        if until is not None and (out / "detector.json").exists():
            return  # it is done, and needs none any more
        waited = time.monotonic() + (EVERY if until is None else 1.0)
        while time.monotonic() < waited and (until is not None or not stopped()):
            time.sleep(0.1)
