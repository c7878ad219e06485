"""Every error Quorate raises on purpose.

    QuorateError                code      exit
    ├── SpecError               spec         2  the ensemble's description is wrong
    ├── InputError              input        2  a file or value given by the user is wrong
    │   ├── FormatError         format       2  an annotation file does not keep its format
    │   └── LabelError          labels       2  labels that do not map onto the data set's
    ├── ImageError              image        2  a picture that cannot be read; costs only itself
    ├── DetectorError           detector     2  weights or outputs that no detector can use
    ├── StorageError            storage     75  storage did not answer: worth another try
    │   └── ServerError         server      75  a model server did not answer: likewise
    ├── BusyError               busy        75  another process is at work there: worth another try
    ├── QuorumError             quorum       3  too few detectors finished
    ├── ClusterError            cluster     75  the cluster did not answer: worth another try
    ├── AccessError             access       2  cluster or store do not know you, or you may not
    ├── WorkflowError           workflow     1  a run on the cluster failed
    ├── TrainingError           training     1  a trainer failed, or broke the trainer contract
    ├── NotificationError       notification 1  somebody could not be told; never changes a run
    └── MissingExtraError       extra        2  an optional dependency is not installed

Exit 75 is EX_TEMPFAIL of BSD's sysexits.h: the same call may succeed later. Every other code
means that a retry with the same input fails the same way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeVar


class QuorateError(Exception):
    """One sentence for a person, a hint that says what to do, a stable code, an exit status."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


E = TypeVar("E", bound=QuorateError)


def as_value(error: E) -> E:
    """An error that is handed on rather than raised, without the frames that it was raised in.

    They would hold the pictures that it is about, and itself: memory that is kept until Python next
    looks for circles.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


class SpecError(QuorateError):
    """The ensemble's description is wrong; raised before any work starts."""

    code = "spec"
    exit_code = 2


class InputError(QuorateError):
    """A file, a folder or a value that the user gave cannot be used."""

    code = "input"
    exit_code = 2


class FormatError(InputError):
    """An annotation file does not keep the format it claims."""

    code = "format"


class LabelError(InputError):
    """A label that is in no vocabulary, or a mapping onto a label that does not exist."""

    code = "labels"


class ImageError(QuorateError):
    """A picture that cannot be decoded. It costs itself, never the run."""

    code = "image"
    exit_code = 2


class DetectorError(QuorateError):
    """Weights that are not a model, or a model whose outputs are of no known layout."""

    code = "detector"
    exit_code = 2


class StorageError(QuorateError):
    """Storage did not answer as it should; the same call may succeed later."""

    code = "storage"
    exit_code = 75


class ServerError(StorageError):
    """A model server did not answer, or was busy; the same call may succeed later."""

    code = "server"


class BusyError(QuorateError):
    """Another process is at work in the same folder; the call may succeed once it has ended."""

    code = "busy"
    exit_code = 75


class QuorumError(QuorateError):
    """Fewer detectors finished than the ensemble's quorum asks for; `failed` says why, by name."""

    code = "quorum"
    exit_code = 3

    def __init__(
        self, message: str, *, hint: str | None = None, failed: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.failed = dict(failed or {})


class ClusterError(QuorateError):
    """A cluster could not be reached or did not answer; the same call may succeed later."""

    code = "cluster"
    exit_code = 75


class AccessError(QuorateError):
    """A cluster or a store refused: it does not know who asks, or who asks may not do that."""

    code = "access"
    exit_code = 2


class WorkflowError(QuorateError):
    """A run on a cluster ended other than well."""

    code = "workflow"
    exit_code = 1


class TrainingError(QuorateError):
    """A trainer ended other than well, or left something else than the trainer contract says."""

    code = "training"
    exit_code = 1


class NotificationError(QuorateError):
    """A message about a run did not arrive; the run itself is as it is."""

    code = "notification"


class MissingExtraError(QuorateError):
    """A part of Quorate was asked for whose optional dependency is not installed."""

    code = "extra"
    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs a package that is not installed.",
            hint=f"pip install 'quorate[{extra}]'"
            + ("; of the images, cuda has it" if extra == "torch" else ""),
        )


def file_error(error: OSError, place: str | None = None) -> QuorateError | None:
    """What the system refused of a file, as a sentence; None where the error is not of that kind.

    `place` is named instead of the error's own file. A full disk is a `StorageError`: it may be
    worth another try. What is not allowed, or is a file where a folder should be, is an
    `InputError`.
    """
    import errno

    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    name = place or error.filename or ("the disk or the output" if full else None)
    if name is None:
        return None
    said = f"{name}: {(error.strerror or str(error)).lower()}."
    if full:
        return StorageError(said, hint="make room; what is finished is kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(said, hint="change who may read and write there, or choose another place")
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return InputError(said, hint="a file is where a folder is meant, or the other way")
    return InputError(said) if error.errno == errno.ENAMETOOLONG else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word` as a question, or None when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None


def nearest_file(location: str) -> str | None:
    """What is there instead of a local file or folder that is not: the name most like it."""
    import os

    folder, name = os.path.split(location.rstrip("/"))
    while folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
    try:
        beside = sorted(one for one in os.listdir(folder or ".") if not one.startswith("."))
    except OSError:
        return None
    if name in beside:  # an archive, in which it is not
        return None
    if near := difflib.get_close_matches(name, beside, n=1, cutoff=0.75):
        return f"did you mean '{near[0]}'?"
    shown = ", ".join(beside[:5]) + ", …" * (len(beside) > 5)
    return f"{f'in {folder}' if folder else 'here'} there is {shown or 'nothing'}"
