"""The exit handler: it tells how a run ended, and where asked, that it started.

Where nobody is to be told, no pod runs. What failed is asked of the API server: Argo's own list
of failures, as an argument, can be so long that the pod does not start, and a degraded run would
fail by that.
"""

from __future__ import annotations

from hera.workflows import DAG, Container, SecretEnv, Task
from hera.workflows.models import LifecycleHook

from quorate.argo.rendering import files, pods
from quorate.spec import Ensemble, secret_keys

NAME, TELL = "exit", "tell"
SUCCEEDED = "workflow.status == 'Succeeded'"


def templates(ensemble: Ensemble, given: str) -> list[DAG | Container]:
    """The template that the workflow's `onExit` names, and its one pod."""
    events = {event for target in ensemble.notify for event in target.when}
    # A degraded run is marked, even if nobody is told.
    told = [f"({SUCCEEDED} && workflow.outputs.parameters.degraded == 'true')"]
    told += [SUCCEEDED] if "succeeded" in events else []
    told += [f"!({SUCCEEDED})"] if "failed" in events else []
    when = " || ".join(told)
    task = Task(name=TELL, template=TELL, when=f"{{{{={when}}}}}")
    return [DAG(name=NAME, tasks=[task]), _tell(ensemble, given)]


def _tell(ensemble: Ensemble, given: str) -> Container:
    command = ["quorate", "step", "finish", files.GIVEN]
    command += ["--workflow", "{{workflow.name}}", "--namespace", "{{workflow.namespace}}"]
    command += ["--status", "{{workflow.status}}"]
    command += ["--summary", f"{files.RESULTS}/summary.json"]
    summary = files.taken("summary", "results/summary.json", optional=True)
    # Optional: the handler notes a missing Secret. A required one would keep its pod, and with it
    # the workflow, waiting for ever.
    secrets = [
        SecretEnv(name=key.variable, secret_name=key.secret, secret_key=key.key, optional=True)
        for key in secret_keys(ensemble.notify)
    ]
    return pods.container(
        ensemble.workflow,
        TELL,
        [*command, "--results", f"{files.PREFIX}/results/"],
        pods.step(ensemble, "exit"),
        env=secrets or None,
        inputs=[files.spec(given), summary],
        service_account_name=ensemble.workflow.exit_service_account,
        automount_service_account_token=True,
    )


def hooks(ensemble: Ensemble) -> dict[str, LifecycleHook] | None:
    """What tells of the start, while the run goes on; None where nobody asked."""
    if not any("started" in target.when for target in ensemble.notify):
        return None
    running = 'workflow.status == "Running"'
    return {"started": LifecycleHook(expression=running, template=TELL)}
