"""Several members that look at the same pictures at the same time, each in threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.remote.server import ModelServer
from quorate.errors import DetectorError, StorageError, as_value
from quorate.steps.voter import Seen, Voter
from quorate.workers import processors


class Unwanted(Exception):  # noqa: N818 - told to nobody
    """Nobody waits for the answer any more."""


Told = Callable[[str, float, float], None]
"""Told a member's name, when it began to look (seconds since 1970), and how many it took."""


def nobody(member: str, began: float, seconds: float) -> None:
    """Tell nobody how long it took."""


def always() -> bool:
    """Whether an answer is wanted: yes."""
    return True


class Members:
    """Members that are asked side by side. Any number of threads may ask at once.

    As many calls are at work as there are processors, and at least one for each detector: those of
    other requests wait, in the order in which they came. A call of a model server's waits
    elsewhere, so it is not counted. One that takes longer than `patience` costs its detector's
    vote; its thread goes on until it ends, and no longer keeps the others waiting.

    patience  seconds for one detector's look at one group of pictures; None: as long as it takes
    at_once   calls of one detector at once; where as many are overdue, it is not asked
    """

    def __init__(
        self,
        voters: Sequence[Voter],
        *,
        patience: float | None = None,
        servers_may_fail: bool = False,
    ) -> None:
        self.patience, self.servers_may_fail = patience, servers_may_fail
        self.at_once = max(processors(), len(voters))
        self._permits = threading.Semaphore(self.at_once)
        self._overdue = dict.fromkeys((voter.name for voter in voters), 0)
        self._lock = threading.Lock()
        # Twice as many, so that those overdue leave room for as many that are not.
        self._threads = {
            voter.name: ThreadPoolExecutor(2 * self.at_once, thread_name_prefix=f"ask-{voter.name}")
            for voter in voters
        }

    def ask(
        self,
        voters: Sequence[Voter],
        names: Sequence[str],
        shown: Sequence[NDArray[np.uint8]],
        wanted: Callable[[], bool] = always,
        told: Told = nobody,
    ) -> list[Sequence[Seen]]:
        """What each voter sees in each picture; see `Voter.answers`. `told` is told when it did.

        Raises StorageError where a model server does not answer (with `servers_may_fail` that is
        what the voter saw), and Unwanted where `wanted` said no before a voter began.
        """
        calls = [_Call(self, voter, names, shown, wanted) for voter in voters]
        found = []
        for call in calls:
            found.append(call.result())
            call.tell(told)
        return found

    def answers(
        self, voter: Voter, names: Sequence[str], shown: Sequence[NDArray[np.uint8]]
    ) -> Sequence[Seen]:
        """Likewise of one voter, in this thread."""
        try:
            return voter.answers(names, shown)
        except StorageError as error:
            if not self.servers_may_fail:
                raise
            return [as_value(error)] * len(shown)

    def close(self) -> None:
        """End the threads; what is at work is finished first, save where it is overdue."""
        for name, threads in self._threads.items():
            threads.shutdown(wait=not self._overdue[name], cancel_futures=True)

    def permit(self) -> threading.Semaphore:
        """What one call at work takes; hold it for work of one's own."""
        return self._permits

    def submit(self, name: str, work: Callable[[], Sequence[Seen]]) -> Future[Sequence[Seen]]:
        """In a thread of a detector's; DetectorError where all of them are overdue."""
        with self._lock:
            overdue = self._overdue[name]
        if overdue >= self.at_once:
            raise DetectorError(f"it has not come back from {overdue} earlier calls")
        return self._threads[name].submit(work)

    def overdue(self, name: str, by: int) -> None:
        """Count calls of a detector's that nobody waits for."""
        with self._lock:
            self._overdue[name] += by


class _Call:
    """One voter's look at some pictures."""

    def __init__(
        self,
        members: Members,
        voter: Voter,
        names: Sequence[str],
        shown: Sequence[NDArray[np.uint8]],
        wanted: Callable[[], bool],
    ) -> None:
        self._members, self._voter = members, voter
        self._names, self._shown, self._wanted = names, shown, wanted
        self._began: float | None = None
        self._at: float | None = None
        self._until: float | None = None
        self._given_up = self._holds = self._ended = False
        self._lock = threading.Lock()
        self._counts = not isinstance(voter.member, ModelServer)
        try:
            self._future = members.submit(voter.name, self._run)
        except DetectorError as error:
            self._future = Future()
            self._future.set_result([error] * len(shown))

    def result(self) -> Sequence[Seen]:
        """What it saw, or that it took too long."""
        while True:
            left = self._left()
            if left is not None and left <= 0:
                break
            try:
                return self._future.result(left)
            except TimeoutError:
                if self._future.done():  # the detector's own, which `Voter` has not turned
                    raise
        with self._lock:
            if not self._ended:
                self._given_up = True
                self._members.overdue(self._voter.name, 1)
                self._let_go()
        if self._ended:
            return self._future.result()
        return [DetectorError(f"no answer within {self._members.patience:g} s")] * len(self._shown)

    def tell(self, told: Told) -> None:
        """Tell how long it took, if it began; after `result`."""
        if self._began is not None and self._at is not None:
            told(self._voter.name, self._at, (self._until or time.monotonic()) - self._began)

    def _left(self) -> float | None:
        """Seconds that are left; the whole time as long as it has not begun."""
        patience, began = self._members.patience, self._began
        if patience is None or began is None:
            return patience
        return began + patience - time.monotonic()

    def _run(self) -> Sequence[Seen]:
        if self._counts:
            self._members.permit().acquire()
            self._holds = True
        try:
            if not self._wanted():
                raise Unwanted
            self._at = time.time()
            self._began = time.monotonic()
            return self._members.answers(self._voter, self._names, self._shown)
        finally:
            self._until = time.monotonic()
            with self._lock:
                self._ended = True
                self._let_go()
                if self._given_up:
                    self._members.overdue(self._voter.name, -1)

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self._members.permit().release()
