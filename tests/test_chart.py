"""The Helm chart, rendered; tests/cluster/test_chart.py installs it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import quorate
from quorate.argo import names
from quorate.argo.doctor.examine import USERS, accounts
from quorate.cli import parser
from quorate.companion.settings import Settings
from quorate.spec import Images, WorkflowSettings
from tests.argo.published import problems
from tests.serving.published import problems as problems_of_kserve

ROOT = Path(__file__).parents[1]
CHART, WORKFLOWS = ROOT / "charts" / "quorate", ROOT / "workflows"
S3 = {"bucket": "pool", "endpoint": "http://minio.example:9000"}
KEYS = {"accessKey": "AKIA", "secretKey": "shh"}
EVERYTHING = {
    "s3": S3 | KEYS,
    "pools": {"gpu": 4},
    "argoUrl": "https://argo.example",
    "serviceAccounts": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/q"}},
    "artifactRepository": {"create": True, "name": "quorate-test-repositories"},
    "companion": {
        "enabled": True,
        "cvat": "http://cvat:8080",
        "url": "https://quorate.example",
        "argoServer": "argo:2746",
        "specs": {"street": "kind: DetectionEnsemble"},
        "hooks": {"links": True},
        "secret": "hooks",
        "nodes": True,
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "quorate-tls"},
        "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
    },
    "serving": {
        "enabled": True,
        "specs": {"street.yaml": "kind: DetectionEnsemble", "config.json": "{}"},
        "modelsClaim": "models",
        "options": ["--queue=16"],
        "tokenSecret": "token",
        "tlsSecret": "tls",
        "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
    },
    "networkPolicy": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
}

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="there is no helm")


def helm(*arguments, values=None, check=True):
    done = subprocess.run(
        ["helm", *arguments, str(CHART), "--values=-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def render(values=None):
    """Everything the chart makes of some values, by kind and name."""
    text = helm("template", "release", "--namespace=vision", values=values).stdout
    found = [one for one in yaml.safe_load_all(text) if one]
    for one in found:
        assert one["kind"].startswith("Cluster") or one["metadata"]["namespace"] == "vision"
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def rules(made, account):
    return {
        (resource, verb)
        for rule in made["Role", account]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_it_lints():
    helm("lint", "--strict")


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_field_of_what_it_makes_is_published(values):
    made = render(values)
    assert {kind: problems(one) for kind, one in made.items()} == {key: [] for key in made}


def test_it_installs_the_images_of_its_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == quorate.__version__
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["images"] == Images().model_dump() | {"pullPolicy": "IfNotPresent"}


def test_each_account_has_the_least_rights():
    made = render()
    results = {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
    assert rules(made, "quorate") == results
    tells = {("workflows", "get"), ("workflows", "patch"), ("events", "list")}
    assert rules(made, "quorate-exit") == results | tells
    assert rules(made, "quorate-fuse") == {("workflows", "get"), ("events", "list")}
    assert rules(made, "quorate-children") == results | {
        *(("workflows", verb) for verb in ("create", "get", "patch", "watch")),
        *(("workflowtemplates", verb) for verb in ("create", "get")),
    }
    assert rules(made, "quorate-artifact-gc") == {
        ("workflowartifactgctasks", "list"),
        ("workflowartifactgctasks", "watch"),
        ("workflowartifactgctasks/status", "patch"),
    }
    assert not [kind for kind, _ in made if kind.startswith("ClusterRole")]
    for account, rights in accounts(WorkflowSettings()).items():
        assert rules(made, account) == {(resource, verb) for verb, _, resource in rights}, account


VERBS = "create|delete|get|list|patch|update|watch"
GRANT = re.compile(rf"`([a-z/]+)` (?:\| )?((?:{VERBS})(?:, (?:{VERBS}))*)")


def granted(text):
    """The rights that a line of a page tells: `resource` verb, verb."""
    found = {(resource, verb) for resource, verbs in GRANT.findall(text)
             for verb in verbs.split(", ")}  # fmt: skip
    results = {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
    return found | (results if "that of `quorate`" in text else set())


def test_the_pages_tell_the_rights_that_are_given():
    made = render({"s3": S3, "companion": COMPANION})
    lines = (CHART / "README.md").read_text(encoding="utf-8").splitlines()
    told = {
        name: granted(line)
        for line in lines
        for name in re.findall(r"ServiceAccount `([-a-z]+)` \|", line)
    }
    told["quorate-companion"] -= {("nodes", "list")}  # of a ClusterRole
    given = {name: rules(made, name) for kind, name in made if kind == "ServiceAccount"}
    assert told == given
    guide = (ROOT / "docs/guides/install-on-kubernetes.md").read_text(encoding="utf-8")
    table = guide.partition("## Who may start runs")[2].partition("\n## ")[0]
    assert granted(table) == rules(made, "quorate-user")


def test_people_may_do_what_doctor_asks_for_and_are_bound_where_they_are_named():
    made = render()
    wanted = {(resource, verb) for verb, _, resource, _ in USERS}
    assert rules(made, "quorate-user") == wanted
    assert ("RoleBinding", "quorate-user") not in made
    team = {"kind": "Group", "name": "vision", "apiGroup": "rbac.authorization.k8s.io"}
    made = render({"users": [team]})
    assert made["RoleBinding", "quorate-user"]["subjects"] == [team]
    assert helm("template", "x", values={"users": [{"kind": "Group"}]}, check=False).returncode


def test_its_names_are_those_that_workflows_refer_to():
    made = render({"s3": S3 | KEYS, "pools": {"gpu": 4}})
    settings = WorkflowSettings()
    for account in (
        settings.service_account,
        settings.fuse_service_account,
        settings.exit_service_account,
        settings.children_service_account,
        settings.artifact_gc_service_account,
    ):
        assert ("ServiceAccount", account) in made
        (subject,) = made["RoleBinding", account]["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "vision"}
    assert ("ConfigMap", names.CONFIG) in made
    assert ("Secret", names.SECRET) in made
    assert made["ConfigMap", names.SEMAPHORES]["data"] == {"gpu": "4"}


def test_the_store_as_pods_read_it():
    made = render({"s3": S3 | KEYS | {"region": "eu-1"}, "argoUrl": "https://argo.example"})
    assert made["ConfigMap", "quorate"]["data"] == {
        "AWS_ENDPOINT_URL": "http://minio.example:9000",
        "AWS_REGION": "eu-1",
        "AWS_DEFAULT_REGION": "eu-1",
        "QUORATE_BUCKET": "pool",
        "QUORATE_ARGO_URL": "https://argo.example",
    }
    assert made["Secret", "quorate-s3"]["stringData"] == {
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "shh",
    }
    held = [one for key, one in made.items() if key != ("Secret", "quorate-s3")]
    assert "shh" not in json.dumps(held)


@pytest.mark.parametrize("s3", [S3, S3 | {"existingSecret": True}])
def test_without_keys_it_makes_no_secret_of_them(s3):
    assert ("Secret", "quorate-s3") not in render({"s3": s3})


@pytest.mark.parametrize(
    ("s3", "store"),
    [
        (S3 | KEYS, {"endpoint": "minio.example:9000", "insecure": True, "keys": True}),
        (
            S3 | {"existingSecret": True, "endpoint": "https://minio.example/"},
            {"endpoint": "minio.example", "insecure": False, "keys": True},
        ),
        ({"bucket": "pool"}, {"endpoint": "s3.amazonaws.com", "insecure": False, "keys": False}),
    ],
)
def test_the_artifact_repository(s3, store):
    made = render({"s3": s3, "artifactRepository": {"create": True}})
    given = made["ConfigMap", "artifact-repositories"]
    key = given["metadata"]["annotations"]["workflows.argoproj.io/default-artifact-repository"]
    found = yaml.safe_load(given["data"][key])["s3"]
    assert (found["endpoint"], found["insecure"]) == (store["endpoint"], store["insecure"])
    assert (found["bucket"], found["region"]) == ("pool", "us-east-1")
    assert ("accessKeySecret" in found) == store["keys"]
    assert found.get("useSDKCreds", False) != store["keys"]


def test_nobody_reaches_the_pods_and_they_reach_the_store():
    made = render({"s3": S3})["NetworkPolicy", "quorate"]["spec"]
    assert made["ingress"] == []
    (rule,) = made["egress"]
    assert {"protocol": "TCP", "port": 9000} in rule["ports"]
    assert made["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "quorate"}


def test_workflow_templates_of_ones_own_are_installed_as_they_are():
    own = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "street", "labels": {"used-by": "cvat"}},
        "spec": {"templates": [{"name": "a", "container": {"args": ["{{workflow.name}}"]}}]},
    }
    made = render({"workflowTemplates": {"extra": [own]}})["WorkflowTemplate", "street"]
    assert made["spec"] == own["spec"]
    assert made["metadata"]["labels"]["used-by"] == "cvat"


@pytest.mark.parametrize(
    "path", sorted(WORKFLOWS.glob("*/template.yaml")), ids=lambda path: path.parent.name
)
def test_the_shipped_templates_are_installed_with_the_images_asked_for(path):
    text = path.read_text(encoding="utf-8")
    for role, image in Images().model_dump().items():
        text = text.replace(f"image: {image}\n", f"image: registry.example/{role}:1\n")
    shipped = yaml.safe_load(text)
    images = {role: f"registry.example/{role}:1" for role in ("cpu", "cuda")}
    made = render({"images": images})["WorkflowTemplate", shipped["metadata"]["name"]]
    assert made["spec"] == shipped["spec"]
    assert made["metadata"]["annotations"] == shipped["metadata"]["annotations"]


COMPANION = {"enabled": True, "cvat": "http://cvat:8080", "url": "https://quorate.example"}
RULE = {"when": {"state": "completed"}, "run": "parts", "project": 5, "values": {"frames": "0-9"}}


def test_without_being_asked_for_there_is_no_companion():
    assert not [name for _, name in render({"s3": S3}) if name == "quorate-companion"]


def test_the_companions_settings_are_those_that_it_reads(tmp_path):
    spec = (ROOT / "docs/examples/parts/spec.yaml").read_text()
    values = COMPANION | {
        "specs": {"parts": spec},
        "hooks": {"links": True, "rules": [RULE]},
        "secret": "hooks",
        "fewShapes": 7,
    }
    made = render({"s3": S3, "companion": values})
    files = made["ConfigMap", "quorate-companion"]["data"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    settings = Settings.read(str(tmp_path / "companion.yaml"))
    assert (settings.cvat, settings.url) == ("http://cvat:8080", "https://quorate.example")
    assert (settings.state, settings.few_shapes) == ("/state", 7)
    assert settings.storage == "s3://pool/cvat"
    assert settings.cluster.namespace == "vision"
    assert settings.specs == ("/etc/quorate/parts.yaml",)
    assert settings.hooks.model_dump(mode="json", exclude_unset=True) == {
        "links": True,
        "rules": [RULE],
    }
    assert files["parts.yaml"] == spec


def test_the_companion_is_alone_and_has_the_least_rights():
    values = {"s3": S3 | KEYS, "companion": COMPANION | {"secret": "hooks"}}
    made = render(values)
    deployment = made["Deployment", "quorate-companion"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "quorate-cpu:0.2.0"
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert rules(made, pod["serviceAccountName"]) == {
        *(("workflows", verb) for verb in ("create", "get", "list", "patch")),
        ("workflowtemplates", "get"),
        ("workflowtemplates", "list"),
        ("pods", "list"),
        ("events", "list"),
        ("pods/log", "get"),
    }
    env = {one["name"]: one for one in container["env"]}
    # The journal of what runs made outlives the pod, as the file of runs does.
    assert env.pop("XDG_STATE_HOME")["value"] == "/state"
    secrets = {one["valueFrom"]["secretKeyRef"]["name"] for one in env.values()}
    assert secrets == {"hooks"}
    named = json.dumps([one for (kind, _), one in made.items() if kind != "Secret"])
    assert "shh" not in named
    assert ("PersistentVolumeClaim", "quorate-companion") in made
    forgetful = render({"s3": S3, "companion": COMPANION | {"persistence": {"enabled": False}}})
    assert ("PersistentVolumeClaim", "quorate-companion") not in forgetful


def test_who_reaches_the_companion_and_what_it_reaches():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
    values = COMPANION | {"from": [peer], "argoServer": "argo:2746", "ingress": {"enabled": True}}
    made = render({"s3": S3, "companion": values})
    labels = made["Deployment", "quorate-companion"]["spec"]["template"]["metadata"]["labels"]
    policy = made["NetworkPolicy", "quorate-companion"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8090}], "from": [peer]}]
    ports = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    assert {53, 443, 8080, 2746, 9000} <= ports
    service = made["Service", "quorate-companion"]["spec"]
    assert service["selector"].items() <= labels.items()
    (rule,) = made["Ingress", "quorate-companion"]["spec"]["rules"]
    assert rule["host"] == "quorate.example"


def test_nodes_are_listed_where_that_is_wanted_alone():
    text = helm(
        "template", "release", "--namespace=vision",
        values={"s3": S3, "companion": COMPANION | {"nodes": True}},
    ).stdout  # fmt: skip
    (role,) = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "ClusterRole"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]


SERVING = {"enabled": True, "specs": {"street.yaml": "kind: DetectionEnsemble\nname: street\n"}}


def test_without_being_asked_for_nothing_is_served():
    assert not [name for _, name in render({"s3": S3}) if name == "quorate-serve"]


def test_the_server_is_asked_whether_it_is_ready_and_has_no_rights():
    made = render({"s3": S3 | KEYS, "serving": SERVING | {"options": ["--queue=16"]}})
    deployment = made["Deployment", "quorate-serve"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:3] == ["quorate", "serve", "/etc/quorate/street.yaml"]
    assert container["command"][-1] == "--queue=16"
    # What the command line takes, the file apart.
    parser().parse_args(container["command"][1:])
    for probe, path in (("readiness", "ready"), ("liveness", "live"), ("startup", "live")):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": f"/v2/health/{path}", "port": 8080, "scheme": "HTTP"}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert not made["ServiceAccount", pod["serviceAccountName"]]["automountServiceAccountToken"]
    assert not [1 for kind, name in made if name == "quorate-serve" and "Role" in kind]
    assert made["ConfigMap", "quorate-serve"]["data"] == SERVING["specs"]


def test_a_token_and_a_certificate_are_mounted():
    values = SERVING | {"tokenSecret": "mine", "tlsSecret": "tls", "modelsClaim": "models"}
    pod = render({"s3": S3, "serving": values})["Deployment", "quorate-serve"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    parser().parse_args(container["command"][1:])
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    for option in ("--token-file", "--tls-cert", "--tls-key"):
        (file,) = [one.partition("=")[2] for one in container["command"] if one.startswith(option)]
        assert file.rpartition("/")[0] in mounts.values()
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert mounts["models"] == "/models"
    assert {one["name"] for one in pod["spec"]["volumes"]} == mounts.keys()


def test_who_reaches_the_server():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}
    made = render({"s3": S3, "serving": SERVING | {"from": [peer]}})
    labels = made["Deployment", "quorate-serve"]["spec"]["template"]["metadata"]["labels"]
    policy = made["NetworkPolicy", "quorate-serve"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    ports = [{"protocol": "TCP", "port": port} for port in (8080, 8081)]
    assert policy["ingress"] == [{"ports": ports, "from": [peer]}]
    assert {"protocol": "TCP", "port": 9000} in policy["egress"][0]["ports"]
    assert made["Service", "quorate-serve"]["spec"]["selector"].items() <= labels.items()


def test_kserve_has_the_same_pod():
    values = EVERYTHING["serving"] | {"kserve": {"enabled": True, "annotations": {"a": "b"}}}
    made = render(EVERYTHING | {"serving": values})
    service = made["InferenceService", "quorate-serve"]
    assert problems_of_kserve(service) == []
    assert ("Deployment", "quorate-serve") not in made
    predictor = service["spec"]["predictor"]
    assert predictor.pop("minReplicas") == 1
    pod = render(EVERYTHING)["Deployment", "quorate-serve"]["spec"]["template"]["spec"]
    (mine,), (theirs,) = predictor.pop("containers"), pod.pop("containers")
    assert mine["name"] == "kserve-container"
    for name in ("name", "ports", "lifecycle"):
        mine.pop(name, None)
        theirs.pop(name)
    assert mine == theirs
    del pod["terminationGracePeriodSeconds"]
    assert predictor == pod
    made["InferenceService", "quorate-serve"]["spec"]["predictor"]["replicas"] = 1
    assert problems_of_kserve(made["InferenceService", "quorate-serve"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"serving": {"enabled": True}}, "specs"),
        ({"serving": SERVING | {"specs": {"street": "x"}}}, "street"),
        ({"serving": SERVING | {"specs": {"a/b.yaml": "x"}}}, "a/b.yaml"),
        ({"serving": SERVING | {"kserv": {}}}, "kserv"),
        ({"s3": S3, "companion": {"enabled": True}}, "cvat"),
        ({"s3": S3, "companion": COMPANION | {"url": "https://q.example/path"}}, "url"),
        ({"s3": S3, "companion": COMPANION | {"hooks": {"links": True}}}, "secret"),
        ({"s3": S3, "companion": COMPANION | {"hooks": {"linkz": True}}}, "linkz"),
        ({"companion": COMPANION}, "bucket"),
        ({"s3": S3, "companion": COMPANION | {"specs": {"companion": "x"}}}, "companion"),
        ({"s3": {"accessKey": "AKIA"}}, "secretKey"),
        ({"s3": {"secretKey": "shh"}}, "secretKey"),
        ({"s3": KEYS | {"existingSecret": True}}, "accessKey"),
        ({"s3": {"endpoint": "minio:9000"}}, "endpoint"),
        ({"s3": {"bukket": "pool"}}, "bukket"),
        ({"pools": {"gpu": 0}}, "minimum"),
        ({"pools": {"GPU": 1}}, "GPU"),
        ({"artifactRepository": {"create": True}}, "bucket"),
        ({"workflowTemplates": {"extra": [{"kind": "Workflow"}]}}, "extra"),
        ({"networkPolicy": {"ports": [99999]}}, "ports"),
        ({"serviceAccounts": {"name": "x"}}, "name"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values, said):
    done = helm("template", "release", values=values, check=False)
    assert done.returncode != 0
    assert said in done.stderr
