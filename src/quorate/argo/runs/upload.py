"""Files on this machine, uploaded to where pods can read them.

    s3://BUCKET/quorate/weights/SHA256/NAME          a detector's file or folder
    s3://BUCKET/quorate/data/NAME-DIGEST/…           a folder of pictures, or an archive

The digest is that of the contents. So a file that is there already is known by its place and is
not sent again, and no file changes while a run reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from glob import has_magic
from pathlib import Path
from typing import TypeVar

from quorate.errors import InputError, SpecError
from quorate.progress import Progress, silent
from quorate.spec import Ensemble, EnsembleSpec, WorkflowSettings
from quorate.spec.member import Member
from quorate.spec.training import Training
from quorate.storage import exists, is_s3, join, open_tree, s3, sha256, write_bytes

PREFIX = "quorate"
E = TypeVar("E", bound=Ensemble)
SENDERS = 8
"""How many files are sent at once; boto3 sends the parts of large ones at once too."""
MEGABYTE = 1_000_000


def uploaded(ensemble: E, data: str | None, bucket: str, *, progress: Progress = silent) -> E:
    """The ensemble with its weights and data in S3, uploaded where they were missing.

    `data` replaces the spec's own. `progress` is called with megabytes, for each detector and for
    "data". Raises InputError for what does not exist or cannot be uploaded.
    """

    def sent(detector: Member, field: str, location: str) -> str:
        return _weights(location, bucket, detector.name, f"{detector.name}: {field}: ", progress)

    moved = _moved(ensemble, bucket, sent)
    where = data or ensemble.data
    if where is not None:
        where = _data(where, bucket, progress)
    return moved.model_copy(update={"data": where})


def uploaded_training(
    training: Training, data: str | None, bucket: str, *, progress: Progress = silent
) -> Training:
    """A training with its data, checkpoints and the ensemble it is compared with in S3.

    As `uploaded`; the ensemble's own detectors are uploaded with it.
    """
    trainers = []
    for one in training.trainers:
        if one.checkpoint and "://" not in one.checkpoint:
            place = _weights(one.checkpoint, bucket, one.name, f"{one.name}: ", progress)
            one = one.model_copy(update={"checkpoint": place})
        trainers.append(one)
    said: dict[str, object] = {"trainers": tuple(trainers)}
    for field, where in (("data", data or training.data), ("images", training.images)):
        if where is not None:
            said[field] = _data(where, bucket, progress)
    ensemble = training.compare.ensemble
    if ensemble is not None and "://" not in ensemble:
        moved = uploaded(EnsembleSpec.from_yaml(ensemble), None, bucket, progress=progress)
        text = moved.model_copy(update={"data": None}).to_yaml().encode()
        place = f"s3://{bucket}/{PREFIX}/specs/{hashlib.sha256(text).hexdigest()}/ensemble.yaml"
        if not exists(place):
            write_bytes(place, text)
        said["compare"] = training.compare.model_copy(update={"ensemble": place})
    return training.model_copy(update=said | {"workflow": _in_bucket(training, bucket)})


def plan_uploaded(
    plan: Ensemble | Training, data: str | None, *, progress: Progress = silent
) -> Ensemble | Training:
    """What is submitted, with all that lies here in the cluster's bucket."""
    if isinstance(plan, Training):
        return uploaded_training(plan, data, bucket_of(plan), progress=progress)
    return uploaded(plan, data, bucket_of(plan), progress=progress)


def as_uploaded(ensemble: E) -> E:
    """The ensemble much as `uploaded` would return it, to see what would run; nothing is sent."""
    bucket = ensemble.workflow.bucket or "bucket"

    def meant(detector: Member, field: str, location: str) -> str:
        return f"s3://{bucket}/{PREFIX}/weights/{Path(location).name}"

    return _moved(ensemble, bucket, meant)


def _moved(ensemble: E, bucket: str, place: Callable[[Member, str, str], str]) -> E:
    """The ensemble with another place for each file of a detector that is on this machine."""
    members = []
    for one in ensemble.members:
        fields = {field: getattr(one, field) for field in type(one).model_fields}
        here = {
            field: place(one, field, location)
            for field, location in fields.items()
            # What is at https:// or gs:// is not here: the renderer says so.
            if isinstance(location, str) and location in one.files and "://" not in location
        }
        members.append(one.model_copy(update=here))
    said = {ensemble.members_field: tuple(members), "workflow": _in_bucket(ensemble, bucket)}
    return ensemble.model_copy(update=said)


def _in_bucket(plan: Ensemble | Training, bucket: str) -> WorkflowSettings:
    return plan.workflow.model_copy(update={"bucket": plan.workflow.bucket or bucket})


def bucket_of(plan: Ensemble | Training) -> str:
    """The bucket to put things in; SpecError where neither the spec nor the environment says."""
    bucket = plan.workflow.bucket or os.environ.get("QUORATE_BUCKET")
    if not bucket:
        raise SpecError(
            "To upload, the cluster's bucket must be known.",
            hint="add `workflow: {bucket: NAME}` to the spec, or export QUORATE_BUCKET",
        )
    return bucket


def _weights(location: str, bucket: str, task: str, whose: str, report: Progress) -> str:
    path = Path(location)
    files = _files(path, whose=whose)
    target = f"s3://{bucket}/{PREFIX}/weights/{_digest(files)}/{path.name}"
    return _send(path, files, target, task, report)


def _data(location: str, bucket: str, report: Progress) -> str:
    if is_s3(location):
        return location
    path = Path(location)
    if has_magic(location) and not path.exists():
        raise InputError(
            f"data: {path} is a glob, which is not uploaded.",
            hint="give the folder that holds the pictures, or a ZIP archive",
        )
    path = path.resolve()
    files = _files(path, whose="data: ")
    if path.is_file() and path.suffix.lower() != ".zip":
        raise InputError(
            f"data: {path} is one file, and its pictures lie elsewhere.",
            hint="give the folder that holds both, or a ZIP archive",
        )
    target = f"s3://{bucket}/{PREFIX}/data/{path.stem}-{_digest(files)[:16]}"
    return _send(path, files, f"{target}/{path.name}" if path.is_file() else target, "data", report)


def _files(path: Path, *, whose: str) -> dict[str, Path]:
    """The files of a folder, by their names below it; or one file, by the empty name."""
    if path.is_file():
        return {"": path}
    if not path.is_dir():
        raise InputError(f"{whose}{path}: there is no such file or folder.")
    with open_tree(path) as tree:
        found = {name: path / name for name in tree.names()}
    if not found:
        raise InputError(f"{whose}{path}: the folder is empty.")
    return found


def _digest(files: dict[str, Path]) -> str:
    """The SHA-256 of one file; for a folder, that of its files' names and digests."""
    if list(files) == [""]:
        return sha256(files[""])
    whole = hashlib.sha256()
    with ThreadPoolExecutor(SENDERS) as pool:
        for name, digest in zip(files, pool.map(sha256, files.values()), strict=True):
            whole.update(f"{digest}  {name}\n".encode())
    return whole.hexdigest()


def _send(path: Path, files: dict[str, Path], target: str, task: str, report: Progress) -> str:
    """Send what is not at the target yet; a file of the same size there is the same file.

    Returns the target, with "/" at its end for a folder.
    """
    target += "/" if path.is_dir() else ""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    there = _sizes(target)
    missing = [name for name in files if there.get(name) != sizes[name]]
    total = sum(sizes.values())
    sent = total - sum(sizes[name] for name in missing)

    def tell() -> None:
        report(f"{task} MB", -(-sent // MEGABYTE), -(-total // MEGABYTE))

    def send(name: str) -> int:
        location = join(target, name) if name else target
        bucket, key = s3.split(location)
        with s3.s3_errors(location):
            s3.client().upload_file(str(files[name]), bucket, key)
        return sizes[name]

    tell()
    with ThreadPoolExecutor(SENDERS) as pool:
        futures = [pool.submit(send, name) for name in missing]
        try:
            for future in futures:
                sent += future.result()
                tell()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what has not begun is not sent
            raise
    return target


def _sizes(target: str) -> dict[str, int]:
    """The bytes of what lies at a location (by the empty name) and below it."""
    bucket, key = s3.split(target)
    with s3.s3_errors(target):
        pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        found = [one for one in pages.search("Contents[].[Key, Size]") if one]
    return {name[len(key) :]: size for name, size in found}
