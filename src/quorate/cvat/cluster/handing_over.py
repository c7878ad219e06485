"""A task's pictures, put where the pods of a cluster read them.

s3://BUCKET/PREFIX/TASK/STAMP/…          the files of a data set
s3://BUCKET/PREFIX/TASK/STAMP/task.zip   an archive, where CVAT itself wrote it
"""

from __future__ import annotations

import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from quorate.cvat.client import Client
from quorate.cvat.cluster.exporting import check_format, check_storage, export, export_to
from quorate.cvat.pictures import SOURCE, download
from quorate.cvat.task import Task
from quorate.errors import InputError, StorageError
from quorate.progress import Progress, silent
from quorate.storage import exists, is_s3, join, open_tree, s3

AT_ONCE = 8
"""Files that are put into the bucket together."""
MEGABYTE = 1_000_000


class Handed(NamedTuple):
    """Where a task's pictures are, and what is to be known of them, a sentence each.

    location  such as s3://bucket/cvat/12/20261129-093000-1f2e, without "/" at its end
    """

    location: str
    notes: tuple[str, ...] = ()


def hand_over(
    client: Client,
    task: Task,
    to: str,
    *,
    dump_format: str | None = None,
    cloud_storage: int | None = None,
    progress: Progress = silent,
) -> Handed:
    """Put the pictures of a task into a bucket, in a folder of their own.

    With `dump_format` CVAT exports the task, its annotations too. Without it, and for a job or for
    some frames, which CVAT cannot export so, the pictures are copied one by one; the data set then
    has the task's labels and no annotations.

    Args:
        client: the server.
        task: the task, or the part of it that is meant.
        to: such as s3://bucket/cvat.
        dump_format: CVAT's name of a format, such as 'COCO 1.0'.
        cloud_storage: the number that CVAT knows the bucket by, for CVAT to write there itself.
        progress: told percent, megabytes, or pictures.

    Raises:
        InputError: the server does not export so, or knows the bucket by another number.
        AccessError, ServerError, StorageError: CVAT or the store refuses, or does not answer.
    """
    if not is_s3(to):
        raise InputError(f"{to}: pods read pictures in S3.", hint="such as s3://BUCKET/cvat")
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    place = join(to, f"{task.id}/{stamp}")
    if dump_format is not None and task.whole:
        check_format(client, dump_format)
        if cloud_storage is not None:
            return _by_cvat(client, task, place, dump_format, cloud_storage, progress)
    notes: tuple[str, ...] = ()
    exported = partial(progress, "export")
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        if dump_format is not None and task.whole:
            source = Path(folder) / "task.zip"
            with source.open("w+b") as file:
                export(
                    client,
                    task.id,
                    dump_format,
                    file,
                    exported=exported,
                    fetched=lambda done, total: progress(
                        "fetch MB", done // MEGABYTE, total // MEGABYTE
                    ),
                )
        else:
            source = Path(folder)
            download(client, task, source, progress=partial(progress, "download"))
            if dump_format is not None or cloud_storage is not None:
                notes = (
                    f"task {task.id}: the pictures are handed over without what is drawn on them: "
                    "CVAT exports whole tasks, whose pictures have different names.",
                )
        _put(source, place, progress)
    return Handed(place, notes)


def _by_cvat(
    client: Client,
    task: Task,
    place: str,
    dump_format: str,
    cloud_storage: int,
    progress: Progress,
) -> Handed:
    target = join(place, "task.zip")
    bucket, key = s3.split(target)
    check_storage(client, cloud_storage, bucket)
    exported = partial(progress, "export")
    export_to(client, task.id, dump_format, cloud_storage, key, exported=exported)
    if not exists(target):
        raise StorageError(
            f"{target}: CVAT has exported the task, and it is not there.",
            hint=f"is the store of CVAT's cloud storage {cloud_storage} that of AWS_ENDPOINT_URL?",
        )
    return Handed(target)


def _put(source: Path, place: str, progress: Progress) -> None:
    """Put the files of a folder or an archive below a place in S3."""
    with open_tree(source) as tree, ThreadPoolExecutor(AT_ONCE) as pool:
        names = [name for name in tree.names() if name != SOURCE]

        def put(name: str) -> None:
            with tree.open(name) as file:
                s3.put(join(place, name), file)

        progress("upload", 0, len(names))
        futures = [pool.submit(put, name) for name in names]
        try:
            for done, future in enumerate(futures, start=1):
                future.result()
                progress("upload", done, len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what has not begun is not sent
            raise
