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
    from quorate.spec.training import Training

SHIPPED = ("evaluate", "fuse-files")
"""Templates that need no spec."""


def workflow_template(plan: Ensemble | Training) -> Template:
    """The WorkflowTemplate of an ensemble or a training; SpecError where it could not run."""
    from quorate.spec.training import Training

    with _hera():
        from quorate.argo.rendering import template, training

    if isinstance(plan, Training):
        return training.workflow_template(plan)
    return template.workflow_template(plan)


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
