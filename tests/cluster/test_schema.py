"""What a spec may say of pods is what Kubernetes publishes: `UPDATE=1` rewrites the file."""

import json
import os
import re

import pytest

from quorate.spec import kubernetes

HOMES = ("io.k8s.api.core.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1.")
MADE_BY_THE_CLUSTER = {"status", "managedFields", "ephemeralContainers"}


def short(reference):
    return reference.rpartition("/")[2].rpartition(".")[2]


def form(field):
    """A field's type in one word, a list or a mapping: see `quorate.spec.kubernetes`."""
    for one in (field, *field.get("allOf", ())):
        if "$ref" in one:
            name = short(one["$ref"])
            return {"Quantity": "quantity", "IntOrString": "number or text", "Time": "text"}.get(
                name, name
            )
    if "enum" in field:
        return {"one of": field["enum"]}
    if field["type"] == "array":
        key = field.get("x-kubernetes-patch-merge-key")
        return {"list": form(field["items"])} | ({"by": key} if key else {})
    if field["type"] == "object":
        return {"keys": form(field.get("additionalProperties", {"type": "string"}))}
    return {"string": "text", "integer": "whole", "boolean": "truth", "number": "whole"}[
        field["type"]
    ]


def compact(schemas, *roots):
    """The types that the roots lead to: their fields, and those that must be there."""
    whole_of = {short(name): one for name, one in schemas.items() if name.startswith(HOMES)}
    found, ahead = {}, list(roots)
    while ahead:
        name = ahead.pop()
        if name in found or name not in whole_of:
            continue
        whole = whole_of[name]
        fields = {
            key: form(value)
            for key, value in whole["properties"].items()
            if key not in MADE_BY_THE_CLUSTER
        }
        found[name] = {"fields": fields, "required": whole.get("required", [])}
        ahead += re.findall('"([A-Z][A-Za-z0-9]+)"', json.dumps([*fields.values()]))
    return dict(sorted(found.items()))


def test_the_shipped_schema_is_what_the_cluster_publishes(kubectl):
    published = json.loads(kubectl("get", "--raw=/openapi/v3/api/v1"))
    version = published["info"]["version"]
    types = compact(published["components"]["schemas"], "PodSpec", "PersistentVolumeClaim")
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in types.items())
    text = f'{{"version": "{version}", "types": {{\n{lines}\n}}}}\n'
    if os.environ.get("UPDATE"):
        kubernetes.FILE.write_text(text, encoding="utf-8")
    shipped = kubernetes.FILE.read_text(encoding="utf-8")
    if json.loads(shipped)["version"] != version:
        pytest.skip(f"the cluster is of another version: {version}")
    assert shipped == text
