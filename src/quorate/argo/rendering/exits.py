"""The exit handler: what is told of a run when it is over, however it ended, and when it starts.

A run that has nothing to tell anybody has no pod for it. What failed is asked of the API server:
Argo's own list of failures, as an argument, would keep a pod from starting where much has failed,
and with it make of a degraded run a failed one.
"""

from __future__ import annotations

from hera.workflows import DAG, Container, SecretEnv, Task
from hera.workflows.models import LifecycleHook

from quorate.argo.rendering import artifacts, paths, pods
from quorate.spec import EnsembleSpec, secret_keys

NAME, TELL = "exit", "tell"
SUCCEEDED = "workflow.status == 'Succeeded'"


def templates(ensemble: EnsembleSpec, given: str) -> list[DAG | Container]:
    """The template that the workflow's `onExit` names, and its one pod."""
    events = {event for target in ensemble.notify for event in target.when}
    # A degraded run is marked, whoever is told.
    told = [f"({SUCCEEDED} && workflow.outputs.parameters.degraded == 'true')"]
    told += [SUCCEEDED] if "succeeded" in events else []
    told += [f"!({SUCCEEDED})"] if "failed" in events else []
    when = " || ".join(told)
    task = Task(name=TELL, template=TELL, when=f"{{{{={when}}}}}")
    return [DAG(name=NAME, tasks=[task]), _tell(ensemble, given)]


def _tell(ensemble: EnsembleSpec, given: str) -> Container:
    command = ["quorate", "step", "finish", paths.GIVEN]
    command += ["--workflow", "{{workflow.name}}", "--namespace", "{{workflow.namespace}}"]
    command += ["--status", "{{workflow.status}}"]
    command += ["--summary", f"{paths.RESULTS}/summary.json"]
    summary = artifacts.taken("summary", "results/summary.json", optional=True)
    handler = pods.container(
        ensemble.workflow,
        TELL,
        [*command, "--results", f"{paths.PREFIX}/results/"],
        image=pods.image(ensemble),
        pool=None,
        inputs=[artifacts.text("spec", given, paths.GIVEN), summary],
        service_account_name=ensemble.workflow.exit_service_account,
        automount_service_account_token=True,
    )
    # Optional: a Secret that is missing is said in the handler's log, and does not keep its pod,
    # and with it the workflow, waiting for ever.
    handler.env = [
        SecretEnv(name=key.variable, secret_name=key.secret, secret_key=key.key, optional=True)
        for key in secret_keys(ensemble.notify)
    ] or None
    return handler


def hooks(ensemble: EnsembleSpec) -> dict[str, LifecycleHook] | None:
    """Who wants to hear of the start is told while the run goes on."""
    if not any("started" in target.when for target in ensemble.notify):
        return None
    running = 'workflow.status == "Running"'
    return {"started": LifecycleHook(expression=running, template=TELL)}
