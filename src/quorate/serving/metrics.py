"""Figures for Prometheus: of requests, of ensembles, and of each member.

quorate_requests_total{way,model,code}       requests; `code` is gRPC's, over HTTP too
quorate_request_seconds{way,model}           a request for inference, from its first byte on
quorate_member_seconds{ensemble,member}      one member's look at a group of pictures
quorate_member_pictures_total{ensemble,member,outcome}   voted, or failed
quorate_pictures_total{ensemble,degraded}    pictures that were answered
quorate_decided_total{ensemble,votes}        boxes, or labels, by the votes that carried them
quorate_group_pictures{ensemble}             pictures that were looked at together
quorate_waiting_pictures{ensemble}           pictures that wait now
quorate_ready{ensemble}                      1 where it can be asked
quorate_held_bytes                           what the requests hold that are being answered
"""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Callable, Iterable, Sequence

from quorate.errors import MissingExtraError
from quorate.serving.values import Look, Record

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        GCCollector,
        Histogram,
        PlatformCollector,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtraError("Serving", "serve") from error

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
GROUP = (1, 2, 4, 8, 16, 32, 64)
Now = Callable[[], Iterable[tuple[str, bool, int]]]
"""What each ensemble is now: its name, whether it is ready, how many pictures wait."""


class Metrics:
    """The figures of this process; any thread may count."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._now: _Now | None = None
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, about: str, labels: Sequence[str]) -> Counter:
            return Counter(f"quorate_{name}", about, labels, registry=registry)

        def histogram(
            name: str, about: str, labels: Sequence[str], buckets: Sequence[float] = SECONDS
        ) -> Histogram:
            return Histogram(f"quorate_{name}", about, labels, buckets=buckets, registry=registry)

        self._requests = counter("requests", "Requests.", ["way", "model", "code"])
        self._seconds = histogram("request_seconds", "Requests for inference.", ["way", "model"])
        members = ["ensemble", "member"]
        self._member = histogram("member_seconds", "A member's looks.", members)
        self._voted = counter("member_pictures", "Pictures of a member.", [*members, "outcome"])
        self._pictures = counter("pictures", "Pictures answered.", ["ensemble", "degraded"])
        self._decided = counter("decided", "Boxes or labels by votes.", ["ensemble", "votes"])
        self._group = histogram("group_pictures", "Pictures of a look.", ["ensemble"], GROUP)

    def text(self) -> bytes:
        """All figures, in Prometheus's text format."""
        return generate_latest(self.registry)

    def watch(self, now: Now, held: Callable[[], int]) -> None:
        """Tell of what is now, too, asked for whenever the figures are."""
        if self._now is not None:
            self.registry.unregister(self._now)
        self._now = _Now(now, held)
        self.registry.register(self._now)

    def requested(self, record: Record, seconds: float, *, infer: bool) -> None:
        """Count a request that was answered or refused."""
        self._requests.labels(record.way, record.model, record.code).inc()
        if infer:
            self._seconds.labels(record.way, record.model).observe(seconds)

    def noting(self, ensemble: str, looks: list[Look]) -> Callable[[str, float, float], None]:
        """What is told of each member's look at a group of pictures: it notes and counts them."""

        def told(member: str, began: float, seconds: float) -> None:
            looks.append(Look(member, began, seconds))
            self._member.labels(ensemble, member).observe(seconds)

        return told

    def grouped(self, ensemble: str, pictures: int) -> None:
        """Count a group of pictures that were looked at together."""
        self._group.labels(ensemble).observe(pictures)

    def answered(self, ensemble: str, voted: Iterable[str], failed: Sequence[str]) -> None:
        """Count what the members made of one picture."""
        self._pictures.labels(ensemble, str(bool(failed)).lower()).inc()
        for outcome, members in (("voted", voted), ("failed", failed)):
            for member in members:
                self._voted.labels(ensemble, member, outcome).inc()

    def decided(self, ensemble: str, votes: Iterable[int]) -> None:
        """Count boxes or labels by the votes that carried them."""
        for count, times in Counted(votes).items():
            self._decided.labels(ensemble, str(count)).inc(times)


class _Now(Collector):
    def __init__(self, now: Now, held: Callable[[], int]) -> None:
        self._now, self._held = now, held

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(
            "quorate_waiting_pictures", "Pictures that wait.", labels=["ensemble"]
        )
        ready = GaugeMetricFamily("quorate_ready", "1 where it can be asked.", labels=["ensemble"])
        for name, loaded, count in self._now():
            ready.add_metric([name], float(loaded))
            waiting.add_metric([name], float(count))
        held = GaugeMetricFamily("quorate_held_bytes", "What requests hold.")
        held.add_metric([], float(self._held()))
        return [ready, waiting, held]


METRICS = Metrics()
