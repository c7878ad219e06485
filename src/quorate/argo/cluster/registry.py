"""Whether a registry has an image, asked before a pod waits for one that cannot be pulled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

HUB, HUB_SERVER = "docker.io", "registry-1.docker.io"
PATIENCE = 5.0
"""Seconds until a registry that does not answer is given up."""
_KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(realm|service|scope)="([^"]*)"')


def has(image: str) -> bool | str:
    """Whether the image's registry has it; where that is not known, the reason as text.

    The question is the Distribution Specification's "checking if content exists in the
    registry", asked without credentials. Nodes may have credentials and reach registries that we
    do not, so only a plain "no" counts as False.
    """
    import urllib3

    registry, repository, reference = parts(image)
    local = registry.partition(":")[0] in ("localhost", "127.0.0.1")
    server = HUB_SERVER if registry == HUB else registry
    address = f"{'http' if local else 'https'}://{server}/v2/{repository}/manifests/{reference}"
    pool = urllib3.PoolManager(timeout=PATIENCE, retries=False)
    headers = {"Accept": _KINDS}
    try:
        answer = pool.request("HEAD", address, headers=headers)
        if answer.status == 401 and (token := _token(pool, answer.headers)):
            headers["Authorization"] = f"Bearer {token}"
            answer = pool.request("HEAD", address, headers=headers)
    except urllib3.exceptions.HTTPError:
        return f"{registry} cannot be reached from here"
    if answer.status in (200, 404):
        return answer.status == 200
    return f"{registry} does not tell everybody (status {answer.status})"


def parts(image: str) -> tuple[str, str, str]:
    """The registry, the repository in it, and the tag or digest of an image's name."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = HUB, name if slash else f"library/{name}"
    repository, _, tag = rest.partition(":")
    return first, repository, digest or tag or "latest"


def _token(pool: urllib3.PoolManager, headers: Mapping[str, str]) -> str | None:
    """The token that the registry's token server gives to anybody."""
    asked = dict(_CHALLENGE.findall(headers.get("WWW-Authenticate") or ""))
    realm = asked.pop("realm", "")
    if not realm.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        return None
    try:
        answer = pool.request("GET", f"{realm}?{urlencode(asked)}").json()
    except ValueError:
        return None
    return str(answer.get("token") or answer.get("access_token") or "") or None
