"""What becomes of each request: one line in the log, figures, and a trace; with its id."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from quorate.serving import traces
from quorate.serving.metrics import METRICS
from quorate.serving.values import Record, Why

LOG = logging.getLogger("quorate.serving.requests")
ID = "x-request-id"
_ID = re.compile(r"[\w.:/+=-]{1,128}")
CODES = {why.status: why.code for why in Why} | {200: "OK", 405: "UNIMPLEMENTED"}
"""The codes of gRPC for the statuses of HTTP."""
_OFTEN = ("/v2/health/live", "/v2/health/ready", "/metrics", "ServerLive", "ServerReady")
"""What is asked every few seconds: it is logged where that is asked for."""
_SERIOUS = ("INTERNAL", "UNAVAILABLE")


@contextmanager
def watched(way: str, what: str, headers: Sequence[tuple[str, str]]) -> Iterator[Record]:
    """A request's record, while it is answered; header names are lower-case.

    Whoever answers it says the code, the model and what was made of it.
    """
    given = next((value for name, value in headers if name == ID), "")
    record = Record(way, what, given if _ID.fullmatch(given) else uuid.uuid4().hex)
    began = time.monotonic()
    with traces.span(record, headers):
        try:
            yield record
        finally:
            seconds = time.monotonic() - began
            infer = what == "ModelInfer" or what.endswith("/infer")
            METRICS.requested(record, seconds, infer=infer)
            _log(record, seconds)


def _log(record: Record, seconds: float) -> None:
    level = logging.DEBUG if record.what in _OFTEN else logging.INFO
    if record.code in _SERIOUS:
        level = logging.WARNING
    if not LOG.isEnabledFor(level):
        return
    said: dict[str, object] = {
        "request": record.id,
        "way": record.way,
        "what": record.what[:200],
        "code": record.code,
        "milliseconds": round(1000 * seconds, 1),
    }
    if record.model:
        said |= {"model": record.model, "pictures": record.pictures}
    if record.degraded is not None:
        said["degraded"] = record.degraded
    if record.failed:
        said["failed"] = record.failed
    if record.looks:
        first = min(look.began for look in record.looks)
        members: dict[str, dict[str, float]] = {}
        for look in record.looks:
            one = members.setdefault(
                look.member, {"began": round(1000 * (look.began - first), 1), "milliseconds": 0.0}
            )
            one["milliseconds"] = round(one["milliseconds"] + 1000 * look.seconds, 1)
        said["members"] = members
    LOG.log(level, "%s", msgspec.json.encode(said).decode())


class JsonLines(logging.Formatter):
    """Each record of the log as one line of JSON; one of a request has its fields beside."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "log": record.name,
        }
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        fields = msgspec.json.decode(message) if record.name == LOG.name else {"message": message}
        return msgspec.json.encode(said | fields).decode()
