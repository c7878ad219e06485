"""What a command and the Kubernetes pod that it runs in tell each other.

QUORATE_BUCKET              the bucket that a location without a scheme is a key of
KUBERNETES_SERVICE_HOST     set by Kubernetes in every pod
QUORATE_TERMINATION_LOG     the file of the last words (default: /dev/termination-log)
ARGO_PROGRESS_FILE          the file that Argo reads a step's progress from, as "N/M"
"""

from __future__ import annotations

import contextlib
import os
import time

from quorate.cli.output import note

TERMINATION_LOG = "/dev/termination-log"
LONGEST = 4096
"""Bytes of a termination message that Kubernetes keeps."""
EVERY = 1.0
"""Seconds between two writings of the progress; Argo reads it every three."""


def last_words(sentence: str) -> None:
    """Leave the one sentence that says why a command failed where the pod's status shows it."""
    log = os.environ.get("QUORATE_TERMINATION_LOG", TERMINATION_LOG)
    if "KUBERNETES_SERVICE_HOST" not in os.environ or not os.path.exists(log):
        return
    words = sentence.encode()[:LONGEST].decode(errors="ignore")
    with contextlib.suppress(OSError), open(log, "w", encoding="utf-8") as file:
        file.write(words)


class Progress:
    """Tells Argo how far a step is, where it wants to know."""

    def __init__(self) -> None:
        self._file = os.environ.get("ARGO_PROGRESS_FILE")
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` are finished."""
        if not self._file or total < 1 or (done < total and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + EVERY
        # Progress is a comfort: a step does not fail for it.
        with contextlib.suppress(OSError), open(self._file, "w", encoding="utf-8") as file:
            file.write(f"{done}/{total}\n")

    def of(self, task: str, done: int, total: int) -> None:
        """Likewise, whatever the part of the step is called."""
        self(done, total)


def in_bucket(location: str) -> str:
    """A location as given; without a scheme a key in QUORATE_BUCKET, else a path made absolute."""
    if "://" in location:
        return location
    bucket = os.environ.get("QUORATE_BUCKET")
    return f"s3://{bucket}/{location.lstrip('/')}" if bucket else os.path.abspath(location)


def tell_truth(file: str | None, truth: object) -> None:
    """Write true or false to a file, for Argo to read, where one is asked for."""
    if file:
        from quorate.storage import write_bytes

        write_bytes(file, b"true" if truth else b"false")


def kept_at(place: str | None) -> str | None:
    """Where a checkpoint is kept; None, with a note, for a place that no other machine knows."""
    if not place:
        return None
    if not (os.environ.get("QUORATE_BUCKET") or "://" in place or os.path.isabs(place)):
        note(f"note: the checkpoint is not kept: no QUORATE_BUCKET is set to keep {place} in")
        return None
    return in_bucket(place)
