"""The exit handler: it tells how a run ended, and where asked, that it started.

Where nobody is to be told, no pod runs. What failed is asked of the API server: Argo's own list
of failures, as an argument, can be so long that the pod does not start, and a degraded run would
fail by that.
"""

from __future__ import annotations

from typing import Any

from hera.workflows import DAG, Container, SecretEnv, Task
from hera.workflows.models import LifecycleHook

from quorate.argo.rendering import files, pods
from quorate.spec import Notifications, secret_keys

NAME, TELL = "exit", "tell"
SUCCEEDED = "workflow.status == 'Succeeded'"


def templates(
    plan: pods.Plan, given: str, *, summary: str = "summary.json"
) -> list[DAG | Container]:
    """The template that the workflow's `onExit` names, and its one pod.

    `summary` is the file of the results that says what the run came to.
    """
    events = {event for target in plan.notify for event in target.when}
    # A degraded run is marked, even if nobody is told.
    told = [f"({SUCCEEDED} && workflow.outputs.parameters.degraded == 'true')"]
    told += [SUCCEEDED] if "succeeded" in events else []
    told += [f"!({SUCCEEDED})"] if "failed" in events else []
    when = " || ".join(told)
    task = Task(name=TELL, template=TELL, when=f"{{{{={when}}}}}")
    return [DAG(name=NAME, tasks=[task]), _tell(plan, given, summary)]


def _tell(plan: pods.Plan, given: str, summary: str) -> Container:
    command = ["quorate", "step", "finish", files.GIVEN]
    command += pods.OF_WORKFLOW
    command += ["--status", "{{workflow.status}}"]
    command += ["--summary", f"{files.RESULTS}/{summary}"]
    told = files.taken("summary", f"results/{summary}", optional=True)
    return pods.container(
        plan.workflow,
        TELL,
        [*command, "--results", f"{files.PREFIX}/results/"],
        pods.step(plan, "exit"),
        env=secrets(plan.notify),
        inputs=[files.spec(given), told],
        service_account_name=plan.workflow.exit_service_account,
        automount_service_account_token=True,
    )


def secrets(targets: Notifications) -> list[Any] | None:
    """The environment variables that hold what the targets need; None where they need nothing."""
    # Optional: the handler notes a missing Secret. A required one would keep its pod, and with it
    # the workflow, waiting for ever.
    return [
        SecretEnv(name=key.variable, secret_name=key.secret, secret_key=key.key, optional=True)
        for key in secret_keys(targets)
    ] or None


def hooks(plan: pods.Plan) -> dict[str, LifecycleHook] | None:
    """What tells of the start, while the run goes on; None where nobody asked."""
    if not any("started" in target.when for target in plan.notify):
        return None
    running = 'workflow.status == "Running"'
    return {"started": LifecycleHook(expression=running, template=TELL)}
