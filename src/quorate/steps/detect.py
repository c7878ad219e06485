"""detect: run detectors over one shard, decoding each picture once for all of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate import pictures
from quorate.dataset import Image
from quorate.errors import AccessError, DetectorError, QuorateError, StorageError
from quorate.steps.checkpoint import Checkpoint
from quorate.steps.parts import PART_SIZE, Seen, Task
from quorate.steps.prefetch import Ahead
from quorate.steps.voter import Voter
from quorate.steps.work import Skipped, Work, done, fingerprint
from quorate.storage import open_tree

Read = Callable[[], bytes]


def detect(
    work: Work,
    shard: int,
    voters: Sequence[Voter],
    *,
    workers: int,
    checkpoints: Mapping[str, Checkpoint] | None = None,
    progress: Callable[[int], None] = lambda pictures: None,
) -> dict[str, str]:
    """Write each detector's `detections.parquet` and manifest of one shard.

    A detector that is done with just this input is left alone; one that was killed goes on from
    its last part, here or in the checkpoint of its name. A detector whose predictor has a `batch`
    is shown up to that many neighbours in one call. Pictures of a remote store are read ahead.
    Returns the detectors that failed, each with one sentence: they have no manifest, so no vote.
    `progress` is called with the number of pictures just finished.

    Raises StorageError or AccessError where the pictures cannot be reached.
    """
    contents = work.images(shard)
    seen = msgspec.json.encode(contents)
    images = contents.images
    kept = checkpoints or {}
    tasks = []
    with ExitStack() as open_things:
        for checkpoint in kept.values():
            open_things.enter_context(closing(checkpoint))
        for voter in voters:
            folder = work.detections(shard, voter.detector.name)
            inputs = fingerprint(voter.fingerprint, seen)
            if not done(folder, inputs):
                tasks.append(Task.resume(voter, folder, inputs, kept.get(voter.detector.name)))
        begin = min((task.position for task in tasks), default=len(images))
        begin = min(begin, len(images))
        progress(begin)
        started = time.perf_counter()
        seen_there = _seen(work.plan().root, images, begin, tasks, workers)
        open_things.enter_context(closing(seen_there))
        for position, answers in seen_there:
            for task in tasks:
                if task.detector.name in answers:
                    task.add(images[position], answers[task.detector.name])
            progress(1)
        for task in tasks:
            if not task.failed:
                task.finish(len(images), time.perf_counter() - started)
            elif task.checkpoint:
                task.checkpoint.clear()
    return {task.detector.name: task.failed for task in tasks if task.failed}


def _seen(
    root: str, images: Sequence[Image], begin: int, tasks: Sequence[Task], workers: int
) -> Generator[tuple[int, dict[str, Seen]]]:
    """What the detectors see in each picture from `begin` on, in order, by detector."""
    if begin == len(images):
        return
    size = max(task.voter.batch for task in tasks)
    # What is at work when all this ends still waits for its pictures: readers end after it.
    with open_tree(root) as tree, Ahead(tree) as ahead, ThreadPoolExecutor(workers) as pool:
        window = max(2 * workers, ahead.pictures(images) // size)

        def begin_group(group: range) -> Future[list[dict[str, Seen]]]:
            wanted = [task for task in tasks if task.wants(group.start)]
            shown = images[group.start : group.stop]
            reads = [ahead.ask(image.file_name) for image in shown] if wanted else []
            return pool.submit(_see, shown, reads, wanted)

        for group, answers in _in_order(begin_group, _groups(begin, len(images), size), window):
            yield from zip(group, answers, strict=True)


def _groups(begin: int, end: int, size: int) -> Iterator[range]:
    """Neighbouring positions, `size` at a time.

    None reaches across two parts, so that a resumed step shows a predictor the same company.
    """
    for part in range(begin, end, PART_SIZE):
        stop = min(part + PART_SIZE, end)
        for first in range(part, stop, size):
            yield range(first, min(first + size, stop))


def _see(
    images: Sequence[Image], reads: Sequence[Read], tasks: Sequence[Task]
) -> list[dict[str, Seen]]:
    """Decode neighbouring pictures and show them to the detectors that still want them."""
    answers: list[dict[str, Seen]] = [{} for _ in images]
    if not tasks:
        return answers
    shown: list[tuple[int, NDArray[np.uint8]]] = []
    for index, (image, read) in enumerate(zip(images, reads, strict=True)):
        try:
            picture = pictures.decode(read(), name=image.file_name)
        except (AccessError, StorageError):
            raise
        except QuorateError as error:
            skipped = Skipped(image.file_name, error.message)
            answers[index] = {task.detector.name: skipped for task in tasks}
        else:
            shown.append((index, picture))
    for task in tasks:
        batch = task.voter.batch
        for start in range(0, len(shown), batch):
            together = shown[start : start + batch]
            found = _look(task.voter, images, together)
            for (index, _), seen in zip(together, found, strict=True):
                answers[index][task.detector.name] = seen
    return answers


def _look(
    voter: Voter, images: Sequence[Image], shown: Sequence[tuple[int, NDArray[np.uint8]]]
) -> list[Seen]:
    """Show pictures together; where that fails, one by one, to know which it was."""
    if len(shown) > 1:
        try:
            return [*voter.look_together([picture for _, picture in shown])]
        except StorageError:
            raise
        except Exception:  # noqa: S110  it is raised again below, with the picture's name
            pass
    answers: list[Seen] = []
    for index, picture in shown:
        try:
            answers.append(voter.look(picture))
        except StorageError:
            raise
        except Exception as error:  # a plug-in may raise anything; it costs the detector's votes
            reason = error.message if isinstance(error, QuorateError) else repr(error)
            answers.append(DetectorError(f"{images[index].file_name}: {reason}"))
    return answers


def _in_order(
    start: Callable[[range], Future[list[dict[str, Seen]]]], groups: Iterable[range], window: int
) -> Iterator[tuple[range, list[dict[str, Seen]]]]:
    """Start each group; give the answers in order, at most `window` ahead."""
    waiting: deque[tuple[range, Future[list[dict[str, Seen]]]]] = deque()
    try:
        for group in groups:
            waiting.append((group, start(group)))
            if len(waiting) >= window:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()
