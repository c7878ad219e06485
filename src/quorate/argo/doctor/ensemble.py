"""What one ensemble needs of a cluster: template, files, images, pools, semaphores, secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from quorate.argo.cluster.pools import fitting, nearest, node_groups
from quorate.argo.cluster.registry import HUB, has, parts
from quorate.argo.doctor import pods
from quorate.argo.doctor.finding import (
    GROUP,
    Finding,
    Findings,
    fail,
    guarded,
    ok,
    secret_key,
    there,
    warn,
)
from quorate.argo.names import SEMAPHORES
from quorate.argo.runs.submit import rendered
from quorate.argo.runs.upload import as_uploaded
from quorate.errors import InputError, QuorateError
from quorate.spec import secret_keys
from quorate.storage import exists, is_s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client_kube import Kube
    from quorate.argo.cluster.rest import Json
    from quorate.spec import Ensemble

UPLOAD = "`--upload`, of submit and of render, uploads it; or copy it to S3"


def examine(kube: Kube | None, ensemble: Ensemble) -> Findings:
    """What a run of the ensemble would lack, in the order in which it would find out."""
    yield from _files(ensemble)
    template = None
    try:
        template = rendered(as_uploaded(ensemble))
    except QuorateError as error:
        yield fail("template", error)
    if kube is None:
        return
    if template is not None:
        yield from guarded("template", _dry_run, kube, template)
        yield from guarded("pods", pods.admitted, kube, template)
    try:
        nodes = kube.rest.items("/api/v1/nodes")
    except QuorateError as error:
        yield warn("nodes", f"may not be looked at: {error.message}")
        nodes = []
    if nodes:
        if template is not None:
            yield from _images(template, nodes)
        yield from _pools(ensemble, nodes)
    yield from guarded("semaphores", _semaphores, kube, ensemble)
    for key in secret_keys(ensemble.notify):
        yield from guarded("notify", secret_key, "notify", kube, key.secret, key.key)


def _dry_run(kube: Kube, template: Json) -> Findings:
    """Whether the server accepts every field of the template."""
    name = template["metadata"]["name"]
    # A name that no template has.
    metadata = {"namespace": kube.namespace, "name": f"{name[:56]}-doctor"}
    body = {**template, "metadata": template["metadata"] | metadata}
    path = f"/apis/{GROUP}/v1alpha1/namespaces/{kube.namespace}/workflowtemplates"
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        kube.rest("POST", path, body, query=query)
    except InputError as error:
        remedy = "are Argo's resource definitions those of its version, in full?"
        yield fail("template", error, remedy)
        return
    yield ok("template", f"{name} is accepted, every field of it")


def _files(ensemble: Ensemble) -> Findings:
    """Weights that do not exist, and those on this machine, which have to be uploaded."""
    well = True
    for detector in ensemble.members:
        for location in detector.files:
            check = f"weights {detector.name}"
            try:
                if not is_s3(location) and os.path.exists(location):
                    yield warn(check, f"{location} is on this machine", UPLOAD)
                    continue
                # A folder in S3 is not an object itself: only its files are.
                if is_s3(location) and (location.endswith("/") or exists(location)):
                    continue
                found = fail(check, f"{location}: there is no such file", "check the path")
            except QuorateError as error:
                found = fail(check, error)
            well = False
            yield found
    if well and any(is_s3(f) for d in ensemble.members for f in d.files):
        yield ok("weights", "every file in S3 is there")


def _images(template: Json, nodes: Iterable[Json]) -> Findings:
    """Which images the nodes have already; for the others, whether their registry has them."""
    known = {
        name
        for node in nodes
        for image in node["status"].get("images") or ()
        for name in image.get("names") or ()
    }
    for image in sorted(_images_of(template)):
        if image in known or any(one.endswith(f"/{image}") for one in known):
            yield ok("image", f"{image}: a node has it")
        elif image.startswith("localhost/"):
            said = f"{image}: no node has it, and it can be pulled from nowhere"
            remedy = "load it on the nodes, or push it to a registry and name that"
            yield fail("image", said, remedy)
        else:
            yield _to_pull(image)


def _to_pull(image: str) -> Finding:
    """What its registry says of an image that no node has."""
    where, name, tag = parts(image)
    answer = has(image)
    if answer is True:
        return ok("image", f"{image}: no node has it yet; {where} does")
    if answer is False:
        remedy = "push it there, or check its name and tag"
        return fail("image", f"{image}: no node has it, and {where} has not", remedy)
    said = f"{image}: no node has it; it would be pulled from {where}, and {answer}"
    own = f"workflow: {{images: …}} names your registry: REGISTRY/{name.rpartition('/')[2]}:{tag}"
    return warn("image", said, own if where == HUB else "")


def _images_of(template: Json) -> set[str]:
    found = set()
    for one in template["spec"]["templates"]:
        containers = [one.get("container")]
        containers += [*(one.get("initContainers") or ()), *(one.get("sidecars") or ())]
        found |= {part["image"] for part in containers if part and part.get("image")}
    return {image for image in found if "{{" not in image}


def _pools(ensemble: Ensemble, nodes: Iterable[Json]) -> Findings:
    groups = node_groups(nodes)
    for name, fits in fitting(ensemble, groups).items():
        if fits:
            yield ok(f"pool {name}", f"fits {', '.join(dict.fromkeys(fits))}")
        else:
            said = f"fits no node; {nearest(ensemble.pools[name], groups)}"
            remedy = "`quorate pools` shows the labels; a pool scaled to zero has no node to see"
            yield fail(f"pool {name}", said, remedy)


def _semaphores(kube: Kube, ensemble: Ensemble) -> Findings:
    bounded = {name: pool.parallelism for name, pool in ensemble.pools.items() if pool.parallelism}
    if not bounded:
        return
    data = (there(kube, "configmaps", SEMAPHORES) or {}).get("data") or {}
    for name, most in bounded.items():
        remedy, said = f"pools.{name}={most} in the chart's values", data.get(name)
        if said is None:
            found = f"ConfigMap {SEMAPHORES} has no entry '{name}': its detectors would fail"
            yield fail(f"pool {name}", found, remedy)
        elif said != str(most):
            found = f"the cluster lets {said} at once, the spec says {most}"
            yield warn(f"pool {name}", found, remedy)
