"""Load ensembles and serve them to CVAT until the process is told to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from quorate.cvat.functions import Function
from quorate.cvat.nuclio.served import Served
from quorate.ensemble import DetectionEnsemble
from quorate.errors import MissingExtraError, SpecError
from quorate.http.listening import bound, listen
from quorate.workers import processors

PORT = 8070
"""That of Nuclio's own dashboard, which CVAT asks by default."""
TIMEOUT = 110.0
"""Seconds; CVAT waits 120 (CVAT_NUCLIO_DEFAULT_TIMEOUT)."""


def serve(
    ensembles: Sequence[DetectionEnsemble],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    workers: int | None = None,
    upstream: str | None = None,
    timeout: float = TIMEOUT,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer as the Nuclio dashboard that CVAT asks; returns when the process is told to end.

    Nothing is answered before all detectors are loaded and have looked at a picture. CVAT sends
    no proof of who asks, so `host` is to be reached by CVAT alone.

    Args:
        ensembles: each becomes a function, called as it is.
        host: address to listen at.
        port: 0 for any that is free.
        workers: frames that are looked at at once; by default one for each processor.
        upstream: the address of a real dashboard, to which is passed on what is not ours.
        timeout: seconds after which a frame is given up and has no boxes; less than CVAT waits.
        ready: told the address once all is loaded.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
        InputError: the address cannot be had, or `upstream` is none.
        SpecError: two ensembles have one name.
        DetectorError, LabelError, QuorumError, StorageError: an ensemble that cannot work.
    """
    try:
        import uvicorn  # noqa: F401 - asked for before any work

        from quorate.cvat.nuclio.app import Dashboard
        from quorate.cvat.nuclio.upstream import Upstream
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise MissingExtraError("Serving", "serve") from None

    names = [ensemble.name for ensemble in ensembles]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"Two specs have the name '{name}': CVAT tells functions by name.")
    behind = Upstream(upstream, timeout=timeout) if upstream else None
    with ExitStack() as stack:
        listening = stack.enter_context(bound(host, port))
        functions = {}
        for ensemble in ensembles:
            served = Served(stack.enter_context(Function(ensemble)))
            served.first_look()
            functions[served.name] = served
        port = listening.getsockname()[1]
        dashboard = Dashboard(
            functions,
            workers=workers or processors(),
            timeout=timeout,
            port=port,
            upstream=behind,
        )
        listen(dashboard.application(), listening, host=host, ready=ready)
