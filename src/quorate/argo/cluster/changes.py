"""What somebody has changed in a WorkflowTemplate since it was put on the cluster from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quorate.argo.cluster.rest import Json
from quorate.argo.names import APPLIED, DIGEST
from quorate.errors import InputError

SHOWN = 5
"""The most places that an error names."""


def generation_after(given: Json, there: Json, *, overwrite: bool) -> str | None:
    """The template's generation once `given` is in the place of what is `there`; None: not known.

    Kubernetes counts a generation for each change of a spec, whoever makes it. The one that we left
    stands in an annotation; where it is another now, somebody else has changed the template:
    InputError, unless that may be overwritten.
    """
    metadata = there["metadata"]
    left = (metadata.get("annotations") or {}).get(APPLIED)
    now = metadata.get("generation")
    changed = left is not None and left != str(now)
    if changed and not overwrite:
        places = list(differences(there["spec"], given["spec"]))
        name = metadata["name"]
        shown = ", ".join(places[:SHOWN]) + (", …" if len(places) > SHOWN else "")
        raise InputError(
            f"Somebody has changed the template {name} on the cluster since it was submitted "
            f"from a spec; it differs in {shown or 'nothing that is left'}.",
            hint=f"`quorate submit --from {name}` runs it as it is; `quorate submit SPEC "
            "--overwrite` puts the spec's in its place",
        )
    ours, theirs = (digest(one) for one in (given, there))
    if now is None or ours is None or (left is None and ours == theirs):
        return None
    return str(now + (changed or ours != theirs))


def differences(there: Any, given: Any, place: str = "") -> Iterator[str]:
    """The places in which two specs differ, items of lists by their names."""
    there, given = _by_name(there), _by_name(given)
    if isinstance(there, Mapping) and isinstance(given, Mapping):
        for key in [*there, *(key for key in given if key not in there)]:
            if key != DIGEST:
                inner = f"{place}.{key}" if place else str(key)
                yield from differences(there.get(key), given.get(key), inner)
    elif there != given and (there or given) and str(there) != str(given):
        yield place


def _by_name(value: Any) -> Any:
    named = isinstance(value, list) and all(isinstance(o, Mapping) and "name" in o for o in value)
    return {one["name"]: one for one in value} if named and value else value


def digest(template: Mapping[str, Any]) -> str | None:
    """The digest that a template of ours has of itself."""
    metadata = template["spec"].get("workflowMetadata") or {}
    found: str | None = (metadata.get("annotations") or {}).get(DIGEST)
    return found
