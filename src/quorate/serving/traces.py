"""Spans of OpenTelemetry, where the environment names a collector (extra `traces`).

A request is a span, within that of the client where it sends `traceparent`; each member's look at a
group of pictures is a span in it. Nothing of a picture stands in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from quorate._version import __version__
from quorate.errors import MissingExtraError
from quorate.serving.values import Record

COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_provider: Any = None
_tracer: Any = None


def begin() -> None:
    """Send spans to the collector of the environment, if it names one; else do nothing.

    OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and the exporter's other variables are OpenTelemetry's
    own. Raises MissingExtraError where its packages are not installed.
    """
    global _provider, _tracer  # of the process, as the environment is
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or not any(os.environ.get(name) for name in COLLECTORS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise MissingExtraError("Sending traces", "traces") from None
    name = os.environ.get("OTEL_SERVICE_NAME", "quorate")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("quorate.serving", __version__)
    _provider = provider


def end() -> None:
    """Send what is left."""
    if _provider is not None:
        _provider.shutdown()


@contextmanager
def span(record: Record, headers: Sequence[tuple[str, str]]) -> Iterator[None]:
    """The span of a request, and of its members' looks; nothing where none are sent."""
    if _tracer is None:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.propagate import extract

    with _tracer.start_as_current_span(
        record.what, context=extract(dict(headers)), kind=trace.SpanKind.SERVER
    ) as own:
        try:
            yield
        finally:
            own.set_attributes(_attributes(record))
            if record.code != "OK":
                own.set_status(trace.StatusCode.ERROR, record.code)
            for look in record.looks:
                began = int(look.began * 1e9)
                child = _tracer.start_span(f"look {look.member}", start_time=began)
                child.set_attribute("quorate.member", look.member)
                child.end(began + int(look.seconds * 1e9))


def _attributes(record: Record) -> dict[str, Any]:
    said: dict[str, Any] = {
        "quorate.request": record.id,
        "quorate.way": record.way,
        "quorate.code": record.code,
    }
    if record.model:
        said |= {"quorate.model": record.model, "quorate.pictures": record.pictures}
    if record.degraded is not None:
        said["quorate.degraded"] = record.degraded
    return said
