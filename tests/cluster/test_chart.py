"""The Helm chart on a cluster: everything it makes is accepted, and gives no right too many."""

import json

import pytest

from quorate.argo.cluster.client_kube import Kube
from quorate.errors import AccessError, QuorateError
from tests.test_chart import EVERYTHING, helm

RESULTS = {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
RIGHTS = {
    "quorate": RESULTS,
    "quorate-fuse": {("workflows", "get"), ("events", "list")},
    "quorate-exit": RESULTS | {("workflows", "get"), ("workflows", "patch"), ("events", "list")},
    "quorate-children": RESULTS
    | {("workflows", verb) for verb in ("create", "get", "patch", "watch")}
    | {("workflowtemplates", verb) for verb in ("create", "get")},
    "quorate-artifact-gc": {
        ("workflowartifactgctasks", "list"),
        ("workflowartifactgctasks", "watch"),
        ("workflowartifactgctasks/status", "patch"),
    },
}


def may(kubectl, account):
    """What an account may do in the namespace, beside what every account may."""

    def asked(name):
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        review["spec"] = {"namespace": kubectl.namespace}
        made = kubectl(
            "create",
            "--filename=-",
            "--output=json",
            "--validate=false",  # for which it would have to read the definitions
            f"--as=system:serviceaccount:{kubectl.namespace}:{name}",
            given=json.dumps(review),
        )
        return {
            (resource, verb)
            for rule in json.loads(made)["status"]["resourceRules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    return asked(account) - asked("nobody-of-that-name")


VERBS = {
    "create": ("POST", False, {"dryRun": "All"}),
    "delete": ("DELETE", True, {"dryRun": "All"}),
    "get": ("GET", True, {}),
    "list": ("GET", False, {"limit": "1"}),
    "patch": ("PATCH", True, {"dryRun": "All"}),
    "update": ("PUT", True, {"dryRun": "All"}),
    "watch": ("GET", False, {"watch": "true", "timeoutSeconds": "1"}),
}
"""How each is asked: the method, whether of one object, what keeps it from changing anything."""


def does(kubectl, config):
    """What the API server does for whose kubeconfig it is: each kind of object and verb tried."""
    with pytest.MonkeyPatch.context() as theirs:
        theirs.setenv("KUBECONFIG", str(config))
        asked = Kube.of_kubeconfig(namespace=kubectl.namespace).rest
    found = set()
    for resource, path in namespaced(kubectl):
        name, _, part = resource.partition("/")
        for verb, (method, one, query) in VERBS.items():
            if part and verb in ("list", "watch"):
                continue  # the same as `get`: there is one of it
            where = f"{path}/namespaces/{kubectl.namespace}/{name}"
            where += "/nobody-has-this" * (one or bool(part)) + f"/{part}" * bool(part)
            try:
                asked(method, where, None if method in ("GET", "DELETE") else {}, query=query)
            except AccessError:
                continue
            except QuorateError:
                pass  # nothing has that name, or nothing is made of an empty body
            found.add((resource, verb))
    return found


def namespaced(kubectl):
    """Every kind of object that a namespace has, and the path of its group."""
    groups = json.loads(kubectl("get", "--raw=/apis"))["groups"]
    paths = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in groups for v in g["versions"])]
    for path in paths:
        for one in json.loads(kubectl("get", f"--raw={path}"))["resources"]:
            if one["namespaced"]:
                yield one["name"], path


@pytest.mark.parametrize("account", RIGHTS)
def test_what_an_account_asks_for_is_done_or_refused(kubectl, installed, account, tmp_path):
    assert does(kubectl, kubectl.config_of(account, tmp_path)) == RIGHTS[account]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_all_of_it_passes_a_strict_dry_run(kubectl, values):
    made = helm("template", "dry", f"--namespace={kubectl.namespace}", values=values).stdout
    # What is there already, of another owner, is no reason to refuse.
    kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "--filename=-",
        given=made,
    )


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_may_do_nothing_else(kubectl, installed, account):
    assert may(kubectl, account) == RIGHTS[account]


@pytest.mark.parametrize(
    ("account", "verb", "what"),
    [
        ("quorate", "get", "secrets"),
        ("quorate", "get", "configmaps"),
        ("quorate", "create", "pods"),
        ("quorate", "get", "pods"),
        ("quorate", "get", "workflows.argoproj.io"),
        ("quorate", "create", "workflows.argoproj.io"),
        ("quorate-fuse", "patch", "workflows.argoproj.io"),
        ("quorate-fuse", "get", "secrets"),
        ("quorate-exit", "delete", "workflows.argoproj.io"),
        ("quorate-exit", "list", "workflows.argoproj.io"),
        ("quorate-children", "delete", "workflows.argoproj.io"),
        ("quorate-children", "update", "workflowtemplates.argoproj.io"),
        ("quorate-artifact-gc", "get", "secrets"),
    ],
)
def test_what_an_account_may_not_do(kubectl, installed, account, verb, what):
    who = f"--as=system:serviceaccount:{kubectl.namespace}:{account}"
    asked = kubectl("auth", "can-i", verb, what, who, check=False)
    assert asked.stdout.strip() == "no"
