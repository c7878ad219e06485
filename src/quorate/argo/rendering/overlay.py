"""What a spec says of a pod in Kubernetes' own words, laid over what we make.

Each layer is two parts: of the pod, and of its main container. They are merged as Kubernetes merges
a patch. What Argo's templates have a field for goes there, so that it is read there, and may be
changed in Python. The rest becomes the template's `podSpecPatch`: what Argo, or Hera's models of
it, have no field for; quantities that hold a parameter; changes to what all pods of a run have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from hera.workflows import Container, Resource
from hera.workflows import models as m
from pydantic_core import PydanticCustomError

from quorate.argo.names import FIELDS
from quorate.errors import SpecError
from quorate.spec.kubernetes import CONTAINER, POD, checked, merged, patch
from quorate.spec.pods import Pool, Sized, Step

Plain = dict[str, Any]

GPU = "nvidia.com/gpu"


class Layer(NamedTuple):
    """Fields of a pod, and of its main container."""

    pod: Plain
    container: Plain


class Size(NamedTuple):
    """Processors and memory: what is requested, and the limit, where nothing else is said."""

    cpu: str
    memory: str
    most_cpu: str
    most_memory: str


LIGHT = Size("100m", "256Mi", "2", "4Gi")
"""A step without pixels …"""
LARGE = Size("100m", "512Mi", "2", "8Gi")
"""… one that knows all pictures …"""
READING = Size("500m", "256Mi", "2", "4Gi")
"""… one that opens all pictures of a shard, which a processor bounds …"""
HEAVY = Size("500m", "1Gi", "8", "8Gi")
"""… one that runs a network …"""
BESIDE = Size("10m", "64Mi", "1", "1Gi")
"""… and a container beside these: Argo's own, and those that a spec brings."""


def layer(of: Sized | None) -> Layer:
    """What a pool, or a step, says; its short names in Kubernetes' words."""
    if of is None:
        return Layer({}, {})
    asked = {"cpu": of.cpu, "memory": of.memory}
    requests = {name: value for name, value in asked.items() if value}
    limits = {"memory": of.memory} if of.memory else {}
    pod: Plain = {}
    if isinstance(of, Pool):
        if of.gpus:
            requests[GPU] = limits[GPU] = str(of.gpus)
        pod["nodeSelector"] = dict(of.node_selector)
        pod["tolerations"] = [one.model_dump(exclude_none=True) for one in of.tolerations]
        pod = {key: value for key, value in pod.items() if value}
    resources = {"requests": requests, "limits": limits}
    container: Plain = {"resources": {k: v for k, v in resources.items() if v}}
    container = container if container["resources"] else {}
    more = of.pod if isinstance(of, Pool | Step) else {}
    return Layer(merged(pod, more, POD), merged(container, of.container, CONTAINER))


def sized(container: Plain, size: Size) -> Plain:
    """The container with requests and limits: the size's, where it has none.

    A request that is given raises the limit that is not, and a limit lowers the request.
    """
    said = container.get("resources") or {}
    limits, requests = dict(said.get("limits") or {}), dict(said.get("requests") or {})
    least = {"cpu": size.cpu, "memory": size.memory}
    most = {"cpu": size.most_cpu, "memory": size.most_memory}
    for name in least:
        if name in limits and name not in requests:
            requests[name] = _of(min, least[name], limits[name])
        elif name not in limits:
            limits[name] = _of(max, most[name], requests.get(name, least[name]))
            requests.setdefault(name, least[name])
    return container | {"resources": said | {"requests": requests, "limits": limits}}


def _of(choose: Any, ours: str, given: str) -> str:
    """The smaller or larger of two quantities; what is given where it holds a parameter."""
    if "{{" in given:
        return given
    if ours == given:
        return ours
    from quorate.argo.cluster.pools import quantity

    return str(choose((ours, given), key=quantity))


def laid(base: Plain, layers: Iterable[Plain], form: str, name: str) -> Plain:
    """Layers over a pod or a container, in their order; SpecError where the whole is not one."""
    for one in layers:
        base = merged(base, one, form)
    try:
        found: Plain = checked(base, form)
    except PydanticCustomError as error:
        parts = (error.context or {})["place"]
        place = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in parts)
        said = f"{name}: {form.lower()}{place}, merged with what we make: {error.message()}."
        raise SpecError(said) from None
    return found


def lay_over(
    template: Container | Resource, common: Plain, layers: Sequence[Layer], size: Size, least: Plain
) -> None:
    """Change a template to what it is with the layers over it; see the module.

    common  what every pod of the workflow has: it is written once, in the workflow
    least   what containers that the layers bring have unless they say it themselves
    """
    name = str(template.name)
    built = plain(template._build_template())
    own = {key: built[key] for key in FIELDS if key in built}
    if "sidecars" in built:
        own["containers"] = built["sidecars"]
    pod = laid(merged(common, own, POD), [one.pod for one in layers], POD, name)
    main = {"name": "main", **built.get("container", {})}
    main = sized(laid(main, [one.container for one in layers], CONTAINER, name), size)
    kinds = ("initContainers", "containers")
    ours = {one["name"] for kind in kinds for one in own.get(kind, ())}
    for kind in kinds:
        for i, one in enumerate(pod.get(kind, ())):
            if one["name"] not in ours:
                pod[kind][i] = sized(merged(least, one, CONTAINER), BESIDE)
    metadata = pod.pop("metadata", {})
    for key, value in metadata.items():
        setattr(template, key, {**(getattr(template, key) or {}), **value})
    shared = {one["name"] for one in common["volumes"]}
    said = {key: pod[key] for key in FIELDS if key in pod and pod[key] != common.get(key)}
    said["volumes"] = [one for one in pod["volumes"] if one["name"] not in shared]
    said["sidecars"] = pod.get("containers", [])
    kept = _put(template, built, {key: value for key, value in said.items() if value}, main)
    known = common | {key: kept[key] for key in FIELDS if key in kept}
    known["volumes"] = [*common["volumes"], *kept.get("volumes", ())]
    known["containers"] = [kept["container"] | {"name": "main"}, *kept.get("sidecars", ())]
    add_patch(template, patch(pod | {"containers": [main, *said["sidecars"]]}, known, POD))


def _put(template: Container | Resource, built: Plain, said: Plain, main: Plain) -> Plain:
    """Give a template the fields that are not `built` so; what it takes, as plain values."""
    values = {"name": built["name"], "container": _fixed(main), **_fixed(said)}
    typed = m.Template.model_validate(values)
    had = {key: built[key] for key in (*FIELDS, "sidecars") if key in built}
    _set(template, typed, said, had)
    if "container" not in built:  # Argo's own does the work, and a template says nothing of it
        return plain(typed) | {"container": {}}
    _set(template, typed.container, main, built["container"])
    return plain(typed)


def _set(template: Any, model: Any, said: Plain, had: Plain) -> None:
    """Set the attributes of a template whose fields are not as they were."""
    for attribute, field in type(model).model_fields.items():
        key = field.alias or attribute
        if key != "name" and said.get(key) != had.get(key):
            value = getattr(model, attribute)
            of_pod = isinstance(model, m.Template) and key == "securityContext"
            setattr(template, "pod_security_context" if of_pod else attribute,
                    getattr(value, "root", value))  # fmt: skip


def add_patch(template: Any, change: Plain | None) -> None:
    """Merge a change into a template's `podSpecPatch`."""
    if not change:
        return
    said = yaml.safe_load(template.pod_spec_patch) if template.pod_spec_patch else {}
    template.pod_spec_patch = yaml.safe_dump(merged(said, change, POD), sort_keys=False, width=1000)


def _fixed(value: Any, key: str = "") -> Any:
    """A value without the quantities that hold a parameter: Argo would not read the template."""
    if isinstance(value, Mapping):
        quantities = key in ("limits", "requests")
        return {
            k: _fixed(v, k)
            for k, v in value.items()
            if not (quantities and "{{" in str(v)) and not (k == "sizeLimit" and "{{" in str(v))
        }
    return [_fixed(one) for one in value] if isinstance(value, list) else value


def plain(model: Any) -> Plain:
    """A model of Hera's as Kubernetes has it."""
    found: Plain = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found
