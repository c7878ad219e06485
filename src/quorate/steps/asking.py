"""Several members that look at the same pictures at the same time, each in threads of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
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
    other requests wait, in the order in which they came. A thread that has finished one goes on
    with the next, so that under load no thread waits for another to wake. A call of a model
    server's waits elsewhere, so it is not counted. One that takes longer than `patience` costs its
    detector's vote; its thread goes on until it ends, and no longer keeps the others waiting.

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
        self._overdue = dict.fromkeys((voter.name for voter in voters), 0)
        self._lock = threading.Lock()
        self._calls: deque[_Call] = deque()
        self._working = 0
        # So many more that those overdue leave room for as many that are not.
        most = self.at_once * (1 + len(voters))
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="ask")
        # Twice as many, likewise.
        self._servers = {
            voter.name: ThreadPoolExecutor(2 * self.at_once, thread_name_prefix=f"ask-{voter.name}")
            for voter in voters
            if _of_a_server(voter)
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
        for name, threads in self._servers.items():
            threads.shutdown(wait=not self._overdue[name], cancel_futures=True)
        self._threads.shutdown(wait=not any(self._overdue.values()))

    def begin(self, call: _Call) -> None:
        """Make a call in a thread, now or later; DetectorError where all of its are overdue."""
        name = call.voter.name
        with self._lock:
            overdue = self._overdue[name]
            if overdue >= self.at_once:
                raise DetectorError(f"it has not come back from {overdue} earlier calls")
            if name not in self._servers:
                self._calls.append(call)
                self._more()
                return
        self._servers[name].submit(call.run)

    def give_up(self, call: _Call) -> bool:
        """Let nobody wait for a call that has begun; False where it has ended meanwhile."""
        with self._lock:
            if call.ended:
                return False
            call.given_up = True
            self._overdue[call.voter.name] += 1
            if call.voter.name not in self._servers:
                self._working -= 1
                self._more()
            return True

    def end(self, call: _Call) -> None:
        """Note that a call has come back."""
        with self._lock:
            call.ended = True
            if call.given_up:
                self._overdue[call.voter.name] -= 1

    def _more(self) -> None:
        """Let one more thread work, where there is something to do; under the lock."""
        if self._calls and self._working < self.at_once:
            self._working += 1
            self._threads.submit(self._work)

    def _work(self) -> None:
        """Make one call after the other, as long as some wait."""
        while True:
            with self._lock:
                if not self._calls:
                    self._working -= 1
                    return
                call = self._calls.popleft()
            call.run()
            if call.given_up:  # another thread has taken this one's place
                return


class _Call:
    """One voter's look at some pictures.

    ended     whether it has come back; like `given_up` it is written under the lock of `Members`
    given_up  whether nobody waits for it
    """

    def __init__(
        self,
        members: Members,
        voter: Voter,
        names: Sequence[str],
        shown: Sequence[NDArray[np.uint8]],
        wanted: Callable[[], bool],
    ) -> None:
        self.voter = voter
        self.ended = self.given_up = False
        self._members, self._names, self._shown, self._wanted = members, names, shown, wanted
        self._began: float | None = None
        self._at: float | None = None
        self._until: float | None = None
        self._future: Future[Sequence[Seen]] = Future()
        try:
            members.begin(self)
        except DetectorError as error:
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
        if not self._members.give_up(self):
            return self._future.result()
        return [DetectorError(f"no answer within {self._members.patience:g} s")] * len(self._shown)

    def tell(self, told: Told) -> None:
        """Tell how long it took, if it began; after `result`."""
        if self._began is not None and self._at is not None:
            told(self.voter.name, self._at, (self._until or time.monotonic()) - self._began)

    def run(self) -> None:
        """Look, in this thread."""
        try:
            if not self._wanted():
                raise Unwanted
            self._at = time.time()
            self._began = time.monotonic()
            seen = self._members.answers(self.voter, self._names, self._shown)
        except BaseException as error:
            self._over()
            self._future.set_exception(error)
        else:
            self._over()
            self._future.set_result(seen)

    def _over(self) -> None:
        self._until = time.monotonic()
        self._members.end(self)

    def _left(self) -> float | None:
        """Seconds that are left; the whole time as long as it has not begun."""
        patience, began = self._members.patience, self._began
        if patience is None or began is None:
            return patience
        return began + patience - time.monotonic()


def _of_a_server(voter: Voter) -> bool:
    return isinstance(voter.member, ModelServer)
