"""detect: run detectors over one shard, decoding each picture once for all of them."""

from __future__ import annotations

import logging
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
from quorate.display import merged
from quorate.errors import AccessError, QuorateError, StorageError
from quorate.steps.checkpoint import Checkpoint
from quorate.steps.parts import PART_SIZE, Task, known_of
from quorate.steps.prefetch import Ahead
from quorate.steps.voter import Seen, Voter
from quorate.steps.work import Skipped, Work, done, fingerprint
from quorate.storage import open_tree
from quorate.storage.owner import owned

log = logging.getLogger("quorate.steps")
Read = Callable[[], bytes]
Answers = dict[str, Seen]
"""What became of one picture, by the detector's name."""


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
    its last part, here or in the checkpoint of its name. What a detector has seen of the very same
    file under an earlier plan is taken, and the picture is not shown to it again. A detector whose
    predictor has a `batch` is shown up to that many neighbours in one call. Pictures of a remote
    store are read ahead.
    Returns the detectors that failed, each with one sentence: they have no manifest, so no vote.
    `progress` is called with the number of pictures just finished.

    Raises StorageError or AccessError where the pictures cannot be reached, BusyError where another
    process runs one of the detectors on this shard.
    """
    contents = work.images(shard)
    shown = msgspec.json.encode(contents)
    count = len(contents.images)
    kept = checkpoints or {}
    tasks = []
    with ExitStack() as open_things:
        for checkpoint in kept.values():
            open_things.enter_context(closing(checkpoint))
        for voter in voters:
            name = voter.name
            folder = work.detections(shard, name)
            open_things.enter_context(owned(folder.with_name(f".{name}.owner"), of=folder))
            inputs = fingerprint(voter.fingerprint, shown)
            if not done(folder, inputs):
                known = known_of(work, shard, voter)
                first = shard == 0
                tasks.append(Task(voter, folder, inputs, contents, kept.get(name), first, known))
                tasks[-1].resume()
        begin = min((task.position for task in tasks), default=count)
        begin = min(begin, count)
        progress(begin)
        started = time.perf_counter()
        seen_there = _seen(work.plan().root, contents.images, begin, tasks, workers)
        open_things.enter_context(closing(seen_there))
        for position, answers in seen_there:
            for task in tasks:
                if position >= task.position:
                    task.add(position, answers.get(task.voter.name))
            if position == PART_SIZE - 1 and count > PART_SIZE:
                for said in merged(task.odd for task in tasks if task.odd):
                    log.warning("%s", said)
            progress(1)
        for task in tasks:
            if not task.failed:
                task.finish(time.perf_counter() - started)
            elif task.checkpoint:
                task.checkpoint.clear()
    return {task.voter.name: task.failed for task in tasks if task.failed}


def _seen(
    root: str, images: Sequence[Image], begin: int, tasks: Sequence[Task], workers: int
) -> Generator[tuple[int, Answers]]:
    """What the detectors see in each picture from `begin` on, in order, by detector."""
    if begin == len(images):
        return
    size = max(task.voter.batch for task in tasks)
    # What is at work when all this ends still waits for its pictures: readers end after it.
    with open_tree(root) as tree, Ahead(tree) as ahead, ThreadPoolExecutor(workers) as pool:
        window = max(2 * workers, ahead.pictures(images) // size)

        def begin_group(group: range) -> Future[list[Answers]]:
            wanted = [[task for task in tasks if task.wants(position)] for position in group]
            reads = [
                ahead.ask(images[position].file_name) if who else None
                for position, who in zip(group, wanted, strict=True)
            ]
            return pool.submit(_see, images[group.start : group.stop], reads, wanted)

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
    images: Sequence[Image], reads: Sequence[Read | None], wanted: Sequence[Sequence[Task]]
) -> list[Answers]:
    """Decode neighbouring pictures and show each to the detectors that want it."""
    answers: list[Answers] = [{} for _ in images]
    shown: dict[int, NDArray[np.uint8]] = {}
    for index, (image, read) in enumerate(zip(images, reads, strict=True)):
        if read is None:
            continue
        try:
            shown[index] = pictures.decode(read(), name=image.file_name)
        except (AccessError, StorageError):
            raise
        except QuorateError as error:
            skipped = Skipped(image.file_name, error.message)
            answers[index] = {task.voter.name: skipped for task in wanted[index]}
    voters = {task.voter.name: task.voter for who in wanted for task in who}
    for name, voter in voters.items():
        mine = [i for i in shown if any(task.voter is voter for task in wanted[i])]
        names = [images[index].file_name for index in mine]
        found = voter.answers(names, [shown[index] for index in mine])
        for index, seen in zip(mine, found, strict=True):
            answers[index][name] = seen
    return answers


def _in_order(
    start: Callable[[range], Future[list[Answers]]], groups: Iterable[range], window: int
) -> Iterator[tuple[range, list[Answers]]]:
    """Start each group; give the answers in order, at most `window` ahead."""
    waiting: deque[tuple[range, Future[list[Answers]]]] = deque()
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
