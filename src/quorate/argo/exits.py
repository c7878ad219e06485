"""The exit handler: what is told of a run when it is over, however it ended."""

from __future__ import annotations

from hera.workflows import Container

from quorate.argo import artifacts, places, pods
from quorate.spec import EnsembleSpec

NAME = "exit"


def templates(ensemble: EnsembleSpec, given: str) -> list[Container]:
    """The template that the workflow's `onExit` names."""
    command = ["quorate", "step", "finish", places.GIVEN]
    command += ["--workflow", "{{workflow.name}}", "--namespace", "{{workflow.namespace}}"]
    command += ["--status", "{{workflow.status}}", "--failures", "{{workflow.failures}}"]
    summary = artifacts.taken("summary", "results/summary.json", optional=True)
    return [
        pods.container(
            ensemble,
            NAME,
            [*command, "--summary", f"{places.RESULTS}/summary.json"],
            image=pods.image(ensemble),
            pool=None,
            inputs=[artifacts.text("spec", given, places.GIVEN), summary],
            service_account_name=ensemble.workflow.exit_service_account,
            automount_service_account_token=True,
        )
    ]
