"""The schemas that we carry are those that a cluster publishes: `UPDATE=1` rewrites the files."""

import json
import os
import re

import pytest

from quorate.argo.cluster.connect import connect
from quorate.spec import kubernetes
from tests.argo import published

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


def test_argos_schema_is_that_of_its_resource_definition(kubectl):
    name = "workflowtemplates.argoproj.io"
    if kubectl("get", "crd", name, check=False).returncode:
        pytest.skip("the cluster has no definition of WorkflowTemplate")
    there = published.plain(kubectl.get("crd", name))
    if "templates" not in there["properties"]["spec"].get("properties", {}):
        pytest.skip("the cluster has Argo's minimal definitions, which name no field")
    shipped = published.shipped()
    if not os.environ.get("ARGO_SERVER"):
        pytest.skip("which version of Argo it is, its server tells: ARGO_SERVER is not set")
    version = connect(namespace=kubectl.namespace).version().partition("+")[0]
    if os.environ.get("UPDATE"):
        published.SCHEMA.write_bytes(published.packed(version, there))
        shipped = published.shipped()
    if shipped["argo"] != version:
        pytest.skip(f"the cluster's Argo is of another version: {version}")
    assert shipped["schema"] == there
