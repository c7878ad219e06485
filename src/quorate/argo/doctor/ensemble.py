"""What one ensemble needs of a cluster: template, files, images, pools, semaphores, secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from quorate.argo.cluster.pools import fitting, nearest, node_groups
from quorate.argo.cluster.registry import HUB, has, parts
from quorate.argo.doctor.examine import GROUP, Finding, Findings, guarded
from quorate.argo.doctor.namespace import secret_key, there
from quorate.argo.names import SEMAPHORES
from quorate.argo.runs.submit import rendered
from quorate.argo.runs.upload import as_uploaded
from quorate.errors import InputError, QuorateError
from quorate.spec.notify import secret_keys
from quorate.storage import exists, is_s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.client_kube import Kube
    from quorate.argo.cluster.rest import Json
    from quorate.spec import EnsembleSpec


TAKE_ALONG = "`quorate submit --upload` takes it along; or copy it to S3"


def examine(cluster: Cluster, kube: Kube | None, ensemble: EnsembleSpec) -> Findings:
    """Everything that a run of the ensemble would find missing, in the order it would."""
    yield from _files(ensemble)
    try:
        template = rendered(as_uploaded(ensemble))
    except QuorateError as error:
        yield Finding("template", "fail", error.message, error.hint or "")
        template = None
    if kube is not None and template is not None:
        found = template
        yield from guarded("template", lambda: _dry_run(kube, found))
    if kube is None:
        return
    nodes: list[Json] = []
    try:
        nodes = kube.rest("GET", "/api/v1/nodes").get("items") or []
    except QuorateError as error:
        yield Finding("nodes", "warn", f"may not be looked at: {error.message}")
    if nodes:
        if template is not None:
            yield from _images(template, nodes)
        yield from _pools(ensemble, nodes)
    yield from guarded("semaphores", lambda: _semaphores(kube, ensemble))
    for key in secret_keys(ensemble.notify):
        yield from guarded(
            "notify",
            lambda k=key: secret_key("notify", kube, k.secret, k.key),  # type: ignore[misc]
        )


def _dry_run(kube: Kube, template: Json) -> Findings:
    """Whether the server takes the template, to its last field."""
    name = template["metadata"]["name"]
    body = {**template, "metadata": {**template["metadata"], "namespace": kube.namespace}}
    body["metadata"]["name"] = f"{name[:56]}-doctor"  # a name that no template has
    path = f"/apis/{GROUP}/v1alpha1/namespaces/{kube.namespace}/workflowtemplates"
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        kube.rest("POST", path, body, query=query)
    except InputError as error:
        yield Finding(
            "template", "fail", error.message,
            "are Argo's resource definitions those of its version, in full?",
        )  # fmt: skip
        return
    yield Finding("template", "ok", f"{name} is accepted, every field of it")


def _files(ensemble: EnsembleSpec) -> Findings:
    """Weights that are not there, and those on this machine, which have to be taken along."""
    well = True
    for detector in ensemble.detectors:
        for location in detector.files:
            check = f"weights {detector.name}"
            try:
                if not is_s3(location) and os.path.exists(location):
                    yield Finding(check, "warn", f"{location} is on this machine", TAKE_ALONG)
                    continue
                # Of a folder in S3 only its files are there.
                if is_s3(location) and (location.endswith("/") or exists(location)):
                    continue
                said, hint = f"{location}: there is no such file", "check the path"
            except QuorateError as error:
                said, hint = error.message, error.hint or ""
            well = False
            yield Finding(check, "fail", said, hint)
    if well and any(is_s3(f) for d in ensemble.detectors for f in d.files):
        yield Finding("weights", "ok", "every file in S3 is there")


def _images(template: Json, nodes: Iterable[Json]) -> Findings:
    """What the nodes have already; of what they would pull, whether its registry has it."""
    known = {
        name
        for node in nodes
        for image in node["status"].get("images") or ()
        for name in image.get("names") or ()
    }
    for image in sorted(_images_of(template)):
        if image in known or any(one.endswith(f"/{image}") for one in known):
            yield Finding("image", "ok", f"{image}: a node has it")
        elif image.startswith("localhost/"):
            yield Finding(
                "image", "fail", f"{image}: no node has it, and it can be pulled from nowhere",
                "load it on the nodes, or push it to a registry and name that",
            )  # fmt: skip
        else:
            yield _to_pull(image)


def _to_pull(image: str) -> Finding:
    """What its registry says of an image that no node has."""
    where, name, tag = parts(image)
    own = f"workflow: {{images: …}} names your registry: REGISTRY/{name.rpartition('/')[2]}:{tag}"
    there = has(image)
    if there is True:
        return Finding("image", "ok", f"{image}: no node has it yet; {where} does")
    if there is False:
        remedy = "push it there, or check its name and tag"
        return Finding("image", "fail", f"{image}: no node has it, and {where} has not", remedy)
    said = f"{image}: no node has it; it would be pulled from {where}, and {there}"
    return Finding("image", "warn", said, own if where == HUB else "")


def _images_of(template: Json) -> set[str]:
    found = set()
    for one in template["spec"]["templates"]:
        containers = [one.get("container"), *(one.get("initContainers") or ())]
        found |= {part["image"] for part in containers if part and part.get("image")}
    return {image for image in found if "{{" not in image}


def _pools(ensemble: EnsembleSpec, nodes: Iterable[Json]) -> Findings:
    groups = node_groups(nodes)
    for name, fits in fitting(ensemble, groups).items():
        if fits:
            yield Finding(f"pool {name}", "ok", f"fits {', '.join(dict.fromkeys(fits))}")
        else:
            pool = ensemble.pools[name]
            yield Finding(
                f"pool {name}", "fail", f"fits no node; {nearest(pool, groups)}",
                "`quorate pools` shows the labels; a pool scaled to zero has no node to see",
            )  # fmt: skip


def _semaphores(kube: Kube, ensemble: EnsembleSpec) -> Findings:
    bounded = {name: pool for name, pool in ensemble.pools.items() if pool.parallelism}
    if not bounded:
        return
    data = ((there(kube, "configmaps", SEMAPHORES) or {}).get("data")) or {}
    for name, pool in bounded.items():
        remedy = f"pools.{name}={pool.parallelism} in the chart's values"
        said = data.get(name)
        if said is None:
            found = f"ConfigMap {SEMAPHORES} has no entry '{name}': its detectors would fail"
            yield Finding(f"pool {name}", "fail", found, remedy)
        elif said != str(pool.parallelism):
            found = f"the cluster lets {said} at once, the spec says {pool.parallelism}"
            yield Finding(f"pool {name}", "warn", found, remedy)
