"""The door to the renderer: nothing behind it is imported before it is needed.

Raises MissingExtraError where Hera is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quorate.errors import MissingExtraError

if TYPE_CHECKING:
    from quorate.argo.rendering.manifest import Template
    from quorate.spec import Ensemble, WorkflowSettings

SHIPPED = ("evaluate", "fuse-files")
"""Templates that need no spec."""


def workflow_template(ensemble: Ensemble) -> Template:
    """The WorkflowTemplate that runs an ensemble; SpecError where it could not run."""
    with _hera():
        from quorate.argo.rendering import template

    return template.workflow_template(ensemble)


def shipped(name: str, settings: WorkflowSettings) -> Template:
    """One of the templates in SHIPPED."""
    with _hera():
        from quorate.argo.rendering import offline

    return {"evaluate": offline.evaluate, "fuse-files": offline.fuse_files}[name](settings)


@contextmanager
def _hera() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hera":
            raise
        raise MissingExtraError("A WorkflowTemplate", "argo") from None
