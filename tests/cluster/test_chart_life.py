"""The chart from the first installation over an upgrade to an end that leaves nothing."""

import json
import subprocess

import pytest

from tests.cluster.chart import values
from tests.cluster.strict import Own
from tests.cluster.test_companion import VALUES
from tests.test_chart import helm

OF_EVERY_NAMESPACE = {("configmap", "kube-root-ca.crt"), ("serviceaccount", "default")}


class Emptied(Own):
    """A namespace of which everything is told."""

    def everything(self):
        """Each object, but the events, as kind and name."""
        kinds = self("api-resources", "--verbs=list,get", "--namespaced", "--output=name").split()
        kinds = [one for one in kinds if not one.startswith("events")]
        found = self("get", ",".join(kinds), "--output=json", "--ignore-not-found")
        items = json.loads(found)["items"] if found.strip() else []
        return {(one["kind"].lower(), one["metadata"]["name"]) for one in items}

    def of_the_cluster(self):
        """Roles of the whole cluster that the chart made for the namespace."""
        found = json.loads(self("get", "clusterroles,clusterrolebindings", "--output=json"))
        names = ((one["kind"], one["metadata"]["name"]) for one in found["items"])
        return {one for one in names if one[1].endswith(self.namespace)}


@pytest.fixture
def empty(kubectl):
    found = Emptied("chart")
    found.make()
    yield found
    found.remove()


def test_it_is_installed_upgraded_and_leaves_nothing(empty, image, bucket):
    where = f"--namespace={empty.namespace}"
    before = empty.everything()
    assert before <= OF_EVERY_NAMESPACE

    given = values(image, bucket, pools={"gpu": 4}, artifactRepository={"create": True})
    helm("install", where, "quorate", values=given)
    first = empty.everything()
    assert ("workflowtemplate", "ensemble") in first
    template = empty.get("workflowtemplate", "ensemble")
    images = {t["container"]["image"] for t in template["spec"]["templates"] if "container" in t}
    assert images == {image}

    companion = VALUES | {"nodes": True}
    person = {"kind": "ServiceAccount", "name": "person", "namespace": empty.namespace}
    changed = given | {"pools": {"gpu": 2, "cpu": 8}, "users": [person], "companion": companion}
    helm("upgrade", where, "quorate", values=changed)
    second = empty.everything()
    assert empty.get("configmap", "quorate-pools")["data"] == {"gpu": "2", "cpu": "8"}
    assert first - {one for one in first if "release" in one[1]} <= second
    assert {("rolebinding", "quorate-user"), ("deployment", "quorate-companion")} <= second
    assert empty.of_the_cluster()
    empty("rollout", "status", "deployment/quorate-companion", "--timeout=240s")

    helm("upgrade", where, "quorate", values=given)
    assert ("deployment", "quorate-companion") not in empty.everything()

    subprocess.run(["helm", "uninstall", "quorate", where, "--wait"], check=True)
    empty("wait", "--for=delete", "pods", "--all", "--timeout=120s")
    assert empty.everything() == before
    assert empty.of_the_cluster() == set()
