"""The pods that Argo would make of a template, for the API server to judge without making them.

Quotas, the pod security standard, limit ranges and webhooks look at pods, not at workflows: what
they refuse shows when a run is on its way, as an error of its nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from quorate.argo.doctor.finding import Findings, allowed, fail, ok, warn
from quorate.argo.names import FIELDS
from quorate.errors import AccessError, InputError
from quorate.spec.kubernetes import POD, merged

if TYPE_CHECKING:
    from quorate.argo.cluster.client_kube import Kube
    from quorate.argo.cluster.rest import Json

SHARED = ("automountServiceAccountToken", "imagePullSecrets", "securityContext",
          "serviceAccountName")  # fmt: skip
EXECUTOR = "quay.io/argoproj/argoexec"
_PARAMETER = re.compile(r"\{\{workflow\.parameters\.([-\w]+)\}\}")
_OTHER = re.compile(r"\{\{.*?\}\}")


def pods(template: Json) -> dict[str, Json]:
    """A pod for each template that has one, by the template's name, as Argo would make it.

    A parameter has its default; what is known only in a run is an `x`.
    """
    spec = template["spec"]
    listed = (spec.get("arguments") or {}).get("parameters") or ()
    known = {one["name"]: str(one.get("value", "x")) for one in listed}
    return {
        one["name"]: _filled(_pod(spec, one), known)
        for one in spec["templates"]
        if "container" in one or "resource" in one
    }


def _pod(spec: Json, template: Json) -> Json:
    shared = {key: spec[key] for key in SHARED if key in spec}
    own = {key: template[key] for key in FIELDS if key in template}
    claims = [
        {"name": name, "persistentVolumeClaim": {"claimName": f"x-{name}"}}
        for name in (one["metadata"]["name"] for one in spec.get("volumeClaimTemplates") or ())
    ]
    volumes = [*(spec.get("volumes") or ()), *claims, *(template.get("volumes") or ())]
    main = {"image": EXECUTOR, **template.get("container", {}), "name": "main"}
    init = [{"name": "init", "image": EXECUTOR}, *(template.get("initContainers") or ())]
    containers = [main]
    if "container" in template:
        containers += [{"name": "wait", "image": EXECUTOR}, *(template.get("sidecars") or ())]
    pod: Json = {**shared, **own, "volumes": volumes, "containers": containers}
    pod |= {"initContainers": init, "restartPolicy": "Never"}
    if patch := template.get("podSpecPatch"):
        pod = merged(pod, yaml.safe_load(patch), POD)
    metadata: Json = {"generateName": f"doctor-{template['name'][:40]}-"}
    for key in ("labels", "annotations"):
        parts = (spec.get("podMetadata") or {}, template.get("metadata") or {})
        metadata[key] = {k: v for part in parts for k, v in (part.get(key) or {}).items()}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _OTHER.sub("x", _PARAMETER.sub(lambda one: known.get(one[1], "x"), value))
    if isinstance(value, Mapping):
        return {key: _filled(one, known) for key, one in value.items()}
    return [_filled(one, known) for one in value] if isinstance(value, list) else value


def admitted(kube: Kube, template: Json) -> Findings:
    """Whether the server would take each pod, with all that looks at pods in the namespace."""
    check = "pods"
    if not allowed(kube, "create", "", "pods"):
        said = "whether they would be admitted is not known: you may not ask, which needs `create`"
        yield warn(check, said, "somebody who may create pods here runs this command")
        return
    refused: dict[str, list[str]] = {}
    made = pods(template)
    for name, pod in made.items():
        try:
            kube.rest("POST", kube.core("pods"), pod, query={"dryRun": "All"})
        except (InputError, AccessError) as error:
            reason = re.sub(r'pods? "doctor-[^"]*"', "the pod", error.message)
            refused.setdefault(reason, []).append(name)
    for reason, names in refused.items():
        yield fail(check, f"{', '.join(names)}: {reason}", "docs/guides/pods.md says what to set")
    if not refused:
        yield ok(check, f"the namespace would admit each of the {len(made)} kinds")
