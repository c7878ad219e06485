"""One thing that was looked at, and what the checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.rest import Json
from quorate.errors import AccessError, ClusterError, InputError, QuorateError

State = Literal["ok", "warn", "fail"]
GROUP = "argoproj.io"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    state   ok; warn: it may matter; fail: no run can succeed
    remedy  what to do about it; "" where nothing has to be done
    """

    check: str
    state: State
    found: str
    remedy: str = ""


Findings = Iterator[Finding]


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, remedy: str = "") -> Finding:
    """It may matter."""
    return Finding(check, "warn", found, remedy)


def fail(check: str, found: str | QuorateError, remedy: str = "") -> Finding:
    """No run can succeed: a sentence, or the message and hint of an error."""
    if isinstance(found, str):
        return Finding(check, "fail", found, remedy)
    return Finding(check, "fail", found.message, remedy or found.hint or "")


def judged(check: str, missing: list[str], said: str, remedy: str, well: str) -> Finding:
    """What is `well` where nothing is missing; else what is `said`, with what is missing in it."""
    return fail(check, said.format(", ".join(missing)), remedy) if missing else ok(check, well)


def guarded(check: str, look: Callable[..., Findings], *arguments: Any) -> Findings:
    """The findings of a check, or one that says why it could not look."""
    try:
        yield from look(*arguments)
    except AccessError as error:
        yield warn(check, f"may not be looked at: {error.message}")
    except (ClusterError, InputError) as error:
        yield fail(check, error)


def there(kube: Kube, kind: str, name: str) -> Json | None:
    """One object of a core kind in the namespace, or None; AccessError where reading is refused."""
    try:
        return kube.rest("GET", kube.core(kind, name))
    except InputError:
        return None


def secret_key(check: str, kube: Kube, name: str, key: str) -> Findings:
    """A finding where a Secret, or the key in it, is missing."""
    found = there(kube, "secrets", name)
    if found is None:
        yield fail(check, f"there is no Secret {name}", f"kubectl create secret generic {name}")
    elif key not in (found.get("data") or {}):
        yield fail(check, f"Secret {name} has no key '{key}'", "add it")


def allowed(kube: Kube, verb: str, group: str, resource: str, *, account: str = "") -> bool:
    """Whether the user, or a service account of the namespace, may do something in the namespace.

    Raises AccessError where the user may not ask about others.
    """
    name, _, sub = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "namespace": kube.namespace}
    if sub:
        attributes["subresource"] = sub
    kind, spec = "SelfSubjectAccessReview", Json(resourceAttributes=attributes)
    if account:
        kind, everyone = "SubjectAccessReview", "system:serviceaccounts"
        spec["user"] = f"system:serviceaccount:{kube.namespace}:{account}"
        spec["groups"] = [everyone, f"{everyone}:{kube.namespace}", "system:authenticated"]
    path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    return bool(kube.rest("POST", path, body)["status"].get("allowed"))
