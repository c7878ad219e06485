"""A server under load: requests in a closed loop or an open one, each with how it ended.

Closed: some clients, each of which asks again once it is answered; a server that slows down is
asked less. Open: requests at a fixed rate, whether or not earlier ones are answered, as from
people who do not know of each other. There a request's latency counts from the moment at which it
was due, so that those which a slow server keeps from being sent are not left out of the figures
("coordinated omission": Gil Tene, How NOT to Measure Latency).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.remote.client import Client, Refused
from quorate.errors import QuorateError
from quorate.http.retrying import Busy
from quorate.networks import Arrays

MOST_AT_ONCE = 256
"""Requests of the open loop under way at once; later ones wait here, which their latency tells."""
Ask = Callable[[int], dict[str, NDArray[Any]]]


class Latency(NamedTuple):
    """Milliseconds of some requests; percentiles are interpolated, as numpy's.

    deviation  the standard deviation, of these requests (divided by n)
    variance   its square
    """

    mean: float
    median: float
    p90: float
    p99: float
    min: float
    max: float
    deviation: float
    variance: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self | None:
        """The figures, None of no request."""
        if not seconds:
            return None
        ms = 1000 * np.asarray(seconds, np.float64)
        median, p90, p99 = np.percentile(ms, [50, 90, 99])
        figures = (ms.mean(), median, p90, p99, ms.min(), ms.max(), ms.std(), ms.var())
        return cls(*map(float, figures))


@dataclass
class Load:
    """What became of many requests.

    seconds  of each that was answered, in the order of their ends
    refused  how many were refused, by the status that the server gave
    failed   how many had no answer, or one that makes no sense, by the reason
    elapsed  seconds from the first request's start to the last one's end
    answers  the answers by the number of the request, where they are kept
    """

    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    elapsed: float = 0.0
    answers: dict[int, dict[str, NDArray[Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def requests(self) -> int:
        """All of them."""
        return len(self.seconds) + self.refused.total() + self.failed.total()

    def one(self, ask: Ask, number: int, due: float, *, keep: bool) -> None:
        """Make one request, and note how it ended."""
        try:
            answer = ask(number)
        except (Busy, Refused) as error:
            # What a server says begins with its status; the rest is of the way to it.
            status, _, _ = error.reason.partition(",")
            said = status.startswith("HTTP ") or (status.isupper() and status != "UNAVAILABLE")
            with self._lock:
                (self.refused if said else self.failed)[status if said else error.reason] += 1
        except QuorateError as error:
            with self._lock:
                self.failed[error.message] += 1
        else:
            took = time.perf_counter() - due
            with self._lock:
                self.seconds.append(took)
                if keep:
                    self.answers[number] = answer


def asking(client: Client, outputs: Sequence[str], shown: Sequence[Arrays]) -> Ask:
    """A function that makes the request of a number; what is shown goes round and round."""
    return lambda number: client.infer(outputs, shown[number % len(shown)])


def closed(
    ask: Ask, *, clients: int, seconds: float, most: int | None = None, keep: bool = False
) -> Load:
    """Some clients that ask again once they are answered, for some time or `most` requests."""
    load, numbers = Load(), itertools.count()
    start = time.perf_counter()

    def client() -> None:
        while (now := time.perf_counter()) - start < seconds or most is not None:
            number = next(numbers)
            if most is not None and number >= most:
                return
            load.one(ask, number, now, keep=keep)

    with ThreadPoolExecutor(clients) as pool:
        for one in [pool.submit(client) for _ in range(clients)]:
            one.result()
    load.elapsed = time.perf_counter() - start
    return load


def opened(
    ask: Ask,
    *,
    rate: float,
    seconds: float,
    most: int | None = None,
    keep: bool = False,
) -> Load:
    """Requests at a fixed rate a second, for some time or `most` requests."""
    load = Load()
    count = most if most is not None else max(1, round(rate * seconds))
    with ThreadPoolExecutor(min(MOST_AT_ONCE, count)) as pool:
        start = time.perf_counter()
        work = []
        for number in range(count):
            due = start + number / rate
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            work.append(pool.submit(load.one, ask, number, due, keep=keep))
        for one in work:
            one.result()
        load.elapsed = time.perf_counter() - start
    return load
