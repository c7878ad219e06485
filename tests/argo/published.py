"""What Argo and Kubernetes publish of their objects, to hold what is rendered against.

`workflowtemplates.json.gz` is the schema in Argo's own resource definition of WorkflowTemplate,
manifests/base/crds/full of https://github.com/argoproj/argo-workflows (Apache-2.0), without its
descriptions. tests/cluster/test_schema.py holds it against a cluster's, and writes it.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

from quorate.spec.kubernetes import FILE

KUBERNETES = json.loads(FILE.read_text(encoding="utf-8"))["version"]
"""The version whose fields a spec may use."""
SCHEMA = Path(__file__).with_name("workflowtemplates.json.gz")
FREE = "x-kubernetes-preserve-unknown-fields"


def plain(definition: Any) -> Any:
    """The schema of a resource definition without what is meant for people."""
    (version,) = definition["spec"]["versions"]
    return _without_words(version["schema"]["openAPIV3Schema"])


def _without_words(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_words(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: one for key, one in schema.items() if key not in ("description", "properties")}
    found = {key: _without_words(one) for key, one in kept.items()}
    if "properties" in schema:  # one of them may be called `description`
        fields = schema["properties"].items()
        found["properties"] = {name: _without_words(one) for name, one in fields}
    return found


def packed(argo: str, schema: Any) -> bytes:
    """The file's bytes, of a schema as `plain` gives it."""
    text = json.dumps({"argo": argo, "schema": schema}, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def shipped() -> Any:
    """Argo's version, and the schema."""
    return json.loads(gzip.decompress(SCHEMA.read_bytes()))


def closed(schema: Any) -> Any:
    """The schema as strict validation takes it: a field that it does not name is an error."""
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(one) for key, one in schema.items() if key != "properties"}
    if "properties" in schema:
        fields = schema["properties"].items()
        found["properties"] = {name: closed(one) for name, one in fields}
        if not schema.get(FREE):
            found.setdefault("additionalProperties", False)
    return found


@cache
def _validator() -> Draft202012Validator:
    schema = closed(shipped()["schema"])
    # Of an object's metadata a definition says nothing: it is the same for all kinds.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return Draft202012Validator(schema)


def problems(manifest: Any) -> list[str]:
    """What the API server's strict validation would refuse, each with its place.

    Of Argo's objects a WorkflowTemplate, or a Workflow that has the fields of one.
    """
    if manifest["apiVersion"].startswith("argoproj.io/"):
        return [
            f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for error in _validator().iter_errors(manifest)
        ]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message[:300]}"]
    return []
