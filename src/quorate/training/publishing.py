"""The best detector of a training into the model store: a folder, or a prefix of S3.

STORE/RUN/         its detector.json, weights, card, predictions and versions
STORE/latest.json  which run's detector came last; written last
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from quorate.errors import QuorateError
from quorate.storage import join, open_file, remove_tree, write_bytes, writing
from quorate.training.contract import files_of

LATEST = "latest.json"
"""In the model store: which run's detector came last."""
DETECTOR = "detector.json"


def check_store(store: str) -> None:
    """Write to the store, and remove it again: what cannot be written is told before any work.

    Raises InputError, StorageError or AccessError where it cannot be written to.
    """
    tried = join(store.rstrip("/"), f".tried-{secrets.token_hex(4)}")
    write_bytes(join(tried, LATEST), b"")
    with contextlib.suppress(QuorateError):  # who may write may not always remove
        remove_tree(tried)


def publish(folder: Path, store: str, run_name: str, latest: Mapping[str, Any]) -> str:
    """Copy what a trainer left, save its checkpoints, to the store; where it is.

    Raises StorageError or AccessError where the store cannot be reached.
    """
    target = join(store.rstrip("/"), run_name)
    # The description is last: a detector without it is not there yet.
    for one in sorted(_files(folder), key=lambda path: path.name == DETECTOR):
        name = str(one.relative_to(folder))
        with open_file(one) as source, writing(join(target, name)) as file:
            shutil.copyfileobj(source, file, 1 << 20)
    write_bytes(join(store.rstrip("/"), LATEST), msgspec.json.encode(latest))
    return f"{target}/"


def digest(folder: Path) -> str:
    """Sixteen hexadecimal digits that tell what a trainer left from anything else."""
    whole = hashlib.sha256()
    for one in _files(folder):
        with open(one, "rb") as file:
            whole.update(str(one.relative_to(folder)).encode())
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def _files(folder: Path) -> list[Path]:
    return [one for one in files_of(folder) if "checkpoint" not in one.relative_to(folder).parts]
