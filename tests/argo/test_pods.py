"""What a spec says of pods, in the words of docs/guides/pods.md, reaches them."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.doctor.pods import pods
from quorate.argo.rendering.template import workflow_template
from quorate.errors import SpecError
from quorate.spec import Pool, WorkflowSettings, json_schema
from tests.argo.test_template import detector, ensemble, rendered, templates

PAGE = (Path(__file__).parents[2] / "docs/guides/pods.md").read_text(encoding="utf-8")
YOLO = {"name": "yolo", "kind": "onnx", "weights": "s3://elsewhere/yolo.onnx"}


def needs():
    """The page's snippets of YAML, by the heading above each and its number below that."""
    found = {}
    for part in re.split("^## ", PAGE, flags=re.M)[1:]:
        heading = part.partition("\n")[0]
        for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", part, re.M | re.S), 1):
            found[f"{heading} {number}"] = text
    return found


def spec_of(text, **more):
    return {"name": "street", "data": "s3://pool/street/", "detectors": [YOLO],
            **more, **yaml.safe_load(text)}  # fmt: skip


def made(need):
    """The pods of a need, as Argo makes them, and the template."""
    template = workflow_template(DetectionEnsemble.model_validate(spec_of(needs()[need]))).to_dict()
    return pods(template), template


def main(pod):
    return next(one for one in pod["spec"]["containers"] if one["name"] == "main")


def inside(part, whole):
    """Whether all of a part is in the whole; items of lists in any order."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and inside(v, whole[k])
                                               for k, v in part.items())  # fmt: skip
    if isinstance(part, list):
        return all(any(inside(one, other) for other in whole) for one in part)
    return str(part) == str(whole)


EXPECTED = {
    "Sizes 1": ("detect-yolo", {}, {"resources": {
        "requests": {"cpu": "4", "memory": "4Gi", "ephemeral-storage": "10Gi"},
        "limits": {"cpu": "6", "memory": "16Gi"}}}),
    "Environment, a proxy, a CA bundle 1": ("detect-yolo", {
        "volumes": [{"name": "company", "configMap": {"name": "company-ca"}}, {"name": "scratch"}],
    }, {
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
        "envFrom": [{"configMapRef": {"name": "quorate"}}, {"configMapRef": {"name": "site"}}],
        "volumeMounts": [{"mountPath": "/etc/company"}, {"mountPath": "/scratch"}]}),
    "Volumes 1": ("publish", {
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
                    {"name": "cache", "ephemeral": {}}]},
        {"volumeMounts": [{"name": "models", "mountPath": "/mnt/models"}]}),
    "Volumes 2": ("detect-yolo", {
        "volumes": [{"name": "output", "persistentVolumeClaim": {"claimName": "x-output"}}]},
        {"volumeMounts": [{"name": "output", "mountPath": "/mnt/output"}]}),
    "The size of `/scratch`, and shared memory 1": ("prepare", {
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "50Gi"}},
                    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}]},
        {"volumeMounts": [{"mountPath": "/dev/shm"}, {"mountPath": "/scratch"}]}),
    "Annotations and labels 1": ("tell", {}, {}),
    "A service account for a pool 1": ("detect-yolo", {"serviceAccountName": "reads-the-lake"}, {}),
    "Which nodes 1": ("detect-yolo", {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "nvidia.com/gpu"},
                        {"key": "node.kubernetes.io/unreachable", "tolerationSeconds": 30}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
        "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1}]},
        {}),
    "Priority, scheduler, runtime 1": ("fuse", {
        "priorityClassName": "batch", "schedulerName": "volcano", "runtimeClassName": "nvidia"},
        {}),
    "Other accelerators 1": ("prepare", {}, {
        "resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}),
    "Another user, a root that can be written 1": ("detect-yolo", {
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000, "runAsNonRoot": True}},
        {"securityContext": {"readOnlyRootFilesystem": False,
                             "allowPrivilegeEscalation": False}}),
    "Sidecars and init containers 1": ("detect-yolo", {
        "initContainers": [{"name": "warm", "securityContext": {"capabilities": {"drop": ["ALL"]}},
                            "resources": {"limits": {"cpu": "1"}}}],
        "containers": [{"name": "proxy", "image": "registry.example/proxy:2",
                        "resources": {"requests": {"memory": "64Mi"}}}]}, {}),
    "Names of hosts 1": ("tell", {
        "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["models.example"]}],
        "dnsConfig": {"searches": ["lab.example"]}}, {}),
    "Parameters of your own 1": ("detect-theirs", {
        "nodeSelector": {"node.kubernetes.io/instance-type": "Standard_NC6"}},
        {"args": ["--epoch", "50"], "resources": {"limits": {"nvidia.com/gpu": "1"}}}),
}  # fmt: skip


def test_every_need_of_the_page_is_looked_at():
    assert needs().keys() == EXPECTED.keys()
    assert len({name.rpartition(" ")[0] for name in EXPECTED}) >= 10


@pytest.mark.parametrize("need", EXPECTED)
def test_a_need_reaches_its_pods(need):
    name, pod, container = EXPECTED[need]
    found, _ = made(need)
    assert inside(pod, found[name]["spec"]), found[name]["spec"]
    assert inside(container, main(found[name])), main(found[name])


def test_annotations_and_labels_join_those_that_are_there():
    found, template = made("Annotations and labels 1")
    for one in found.values():
        assert one["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
        assert one["metadata"]["labels"]["cost-centre"] == "vision"
        assert one["metadata"]["labels"]["quorate/ensemble"] == "street"
    detect = next(t for t in template["spec"]["templates"] if t["name"] == "detect-yolo")
    assert detect["metadata"]["labels"] == {"quorate/detector": "yolo", "cost-centre": "vision"}


def test_what_argo_has_a_field_for_stands_in_it_and_the_rest_in_the_patch():
    _, template = made("Which nodes 1")
    detect = next(t for t in template["spec"]["templates"] if t["name"] == "detect-yolo")
    assert {"affinity", "nodeSelector", "tolerations"} <= detect.keys()
    patch = yaml.safe_load(detect["podSpecPatch"])
    assert set(patch) == {"initContainers", "containers", "topologySpreadConstraints"}
    _, template = made("The size of `/scratch`, and shared memory 1")
    detect = next(t for t in template["spec"]["templates"] if t["name"] == "detect-yolo")
    assert [one["name"] for one in detect["volumes"]] == ["shm"]
    assert yaml.safe_load(detect["podSpecPatch"])["volumes"] == [
        {"name": "scratch", "emptyDir": {"sizeLimit": "50Gi"}}
    ]


def test_a_field_that_heras_models_lack_is_not_lost():
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    pool = Pool(container={"restartPolicy": "Never", "restartPolicyRules": rules})
    found = templates(ensemble(detector(pool="a"), pools={"a": pool}))["detect-one"]
    (own,) = (c for c in yaml.safe_load(found["podSpecPatch"])["containers"] if c["name"] == "main")
    assert own["restartPolicyRules"] == rules


def test_another_source_takes_the_place_of_a_volumes_own():
    volume = {"name": "scratch", "hostPath": {"path": "/fast"}}
    found = pods(rendered(ensemble(workflow={"pod": {"volumes": [volume]}})))
    assert volume in found["detect-one"]["spec"]["volumes"]
    assert len([v for v in found["fuse"]["spec"]["volumes"] if v["name"] == "scratch"]) == 1


def test_a_null_takes_away_what_is_ours():
    none = {"securityContext": {"readOnlyRootFilesystem": None}, "terminationMessagePolicy": None}
    found = pods(rendered(ensemble(workflow={"container": none})))
    assert "readOnlyRootFilesystem" not in main(found["publish"])["securityContext"]
    assert "terminationMessagePolicy" not in main(found["publish"])


def test_a_step_goes_before_its_pool_and_the_pool_before_the_workflow():
    def variable(value):
        return {"env": [{"name": "WHO", "value": value}]}

    given = ensemble(
        detector(pool="a"),
        pools={"a": Pool(container=variable("pool"))},
        workflow={
            "container": variable("workflow"),
            "steps": {"publish": {"pool": "a", "container": variable("step")}},
        },
    )
    found = pods(rendered(given))
    who = {name: {e["name"]: e["value"] for e in main(pod).get("env", ())}.get("WHO")
           for name, pod in found.items()}  # fmt: skip
    assert (who["prepare"], who["detect-one"], who["publish"]) == ("workflow", "pool", "step")


def test_every_container_has_requests_and_limits():
    legacy = {"name": "legacy", "kind": "container", "image": "mmdet:3"}
    given = DetectionEnsemble.model_validate(
        {"name": "street", "detectors": [YOLO, legacy], "notify": []}
    )
    for name, pod in pods(workflow_template(given).to_dict()).items():
        for one in pod["spec"]["initContainers"] + pod["spec"]["containers"]:
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= one["resources"][kind].keys(), (name, one["name"])


@pytest.mark.parametrize(
    ("said", "requests", "limits"),
    [
        ({"cpu": "16"}, "16", "16"),
        ({"cpu": "2"}, "2", "8"),
        ({"container": {"resources": {"limits": {"cpu": "250m"}}}}, "250m", "250m"),
        ({"container": {"resources": {"limits": {"cpu": "20"}}}}, "500m", "20"),
    ],
)
def test_a_request_and_its_limit_fit_each_other(said, requests, limits):
    pool = Pool.model_validate(said)
    found = templates(ensemble(detector(pool="a"), pools={"a": pool}))["detect-one"]
    resources = found["container"]["resources"]
    assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == (requests, limits)


def test_fuse_and_exit_keep_their_accounts():
    given = ensemble(pools={"a": Pool(pod={"serviceAccountName": "lake"})}, workflow={"pool": "a"})
    accounts = {name: pod["spec"]["serviceAccountName"]
                for name, pod in pods(rendered(given)).items()}  # fmt: skip
    assert (accounts["publish"], accounts["detect-one"]) == ("lake", "lake")
    assert (accounts["fuse"], accounts["tell"]) == ("quorate-fuse", "quorate-exit")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workflow": {"pod": {"node_selector": {}}}}, "did you mean 'nodeSelector'?"),
        ({"workflow": {"pod": {"env": []}}}, "write it below `container:`"),
        ({"workflow": {"container": {"env": [{"value": "x"}]}}}, "env[0]: it has no 'name'"),
        ({"workflow": {"container": {"imagePullPolicy": "always"}}}, "did you mean 'Always'?"),
        ({"workflow": {"container": {"resources": {"limits": {"cpu": "many"}}}}}, "a quantity"),
        ({"workflow": {"container": {"tty": "yes"}}}, "expected true or false, not 'yes'"),
        ({"workflow": {"pod": {"tolerations": {"key": "a"}}}}, "expected a list"),
        ({"workflow": {"pod": {"containers": [{"name": "main"}]}}}, "write `container: …`"),
        ({"workflow": {"pod": {"serviceAccountName": "a"}}}, "service_account"),
        ({"workflow": {"volume_claim_templates": [{"spec": {"acessModes": []}}]}}, "accessModes"),
        ({"workflow": {"parameters": {"a": {"value": 1, "enum": [2]}}}}, "'1' is none of 2"),
        ({"workflow": {"steps": {"publish": {"pool": "b"}}}}, "no pool is called 'b'"),
    ],
)
def test_a_typo_is_found_where_it_stands(change, said, tmp_path):
    path = tmp_path / "spec.yaml"
    spec = {"name": "x", "detectors": [YOLO], **change}
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        DetectionEnsemble.from_yaml(path)
    assert said in caught.value.message
    assert re.match(r".*spec\.yaml:\d+: workflow\.", caught.value.message)


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        ({"container": {"volumeMounts": [{"mountPath": "/a"}]}}, "has no 'name'"),
        ({"container": {"env": [{"name": "A", "value": "{{workflow.parameters.epch}}"}]},
          "parameters": {"epoch": 1}}, "uses the parameter 'epch'"),
        ({"parameters": {"shard-size": 1}}, "which every run has"),
    ],
)  # fmt: skip
def test_what_could_not_be_is_not_rendered(workflow, said):
    with pytest.raises(SpecError, match=said):
        rendered(ensemble(workflow=workflow))


def test_parameters_reach_the_form_and_no_step_reads_their_braces():
    _, template = made("Parameters of your own 1")
    form = {one["name"]: one for one in template["spec"]["arguments"]["parameters"]}
    assert form["sys-node-pool"]["enum"] == ["Standard_NC6", "Standard_NC12"]
    assert form["epoch"]["value"] == "50"
    by_name = {one["name"]: one for one in template["spec"]["templates"]}
    detect = by_name["detect-theirs"]
    assert detect["container"]["args"] == ["--epoch", "{{workflow.parameters.epoch}}"]
    assert "nvidia.com/gpu" not in detect["container"]["resources"]["limits"]  # no quantity yet
    spec = by_name["prepare"]["inputs"]["artifacts"][0]["raw"]["data"]
    assert "{{" not in spec


def test_the_pages_python_changes_what_is_printed(capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    exec(compile(code, "pods.md", "exec"), {})
    template = yaml.safe_load(capsys.readouterr().out)
    found = pods(template)
    assert found["publish"]["spec"]["priorityClassName"] == "batch"
    assert found["publish"]["spec"]["tolerations"] == [{"key": "slow", "operator": "Exists"}]
    assert {"name": "models", "mountPath": "/mnt/models"} in main(found["detect-yolo"])[
        "volumeMounts"
    ]
    assert template["spec"]["archiveLogs"] is True


def test_an_image_for_a_step():
    settings = {"steps": {"publish": {"image": "mine:2"}, "stage": {"image": "mine:3"}}}
    legacy = {"name": "legacy", "kind": "container", "image": "mmdet:3"}
    given = {"name": "street", "detectors": [legacy], "workflow": settings}
    found = pods(workflow_template(DetectionEnsemble.model_validate(given)).to_dict())
    stage = next(
        o for o in found["detect-legacy"]["spec"]["initContainers"] if o["name"] == "stage"
    )
    assert (main(found["publish"])["image"], stage["image"]) == ("mine:2", "mine:3")
    assert main(found["fuse"])["image"] == WorkflowSettings().images.cpu


SPEC_SCHEMA = json_schema()


@pytest.mark.parametrize("need", EXPECTED)
def test_an_editor_that_has_the_specs_schema_accepts_a_need(need):
    jsonschema.validate(spec_of(needs()[need]), SPEC_SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "pools: {a: {pod: {node_selector: {a: b}}}}",
        "pools: {a: {pod: {volumes: [{name: a, emptyDir: {sizelimit: 1Gi}}]}}}",
        "workflow: {container: {envFrom: {configMapRef: {name: site}}}}",
        "workflow: {steps: {publish: {container: {imagePullPolicy: always}}}}",
        "workflow: {volume_claim_templates: [{metadata: {name: a}, specs: {}}]}",
    ],
)
def test_an_editor_that_has_the_specs_schema_finds_what_is_no_field_of_kubernetes(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec_of(text), SPEC_SCHEMA)
    with pytest.raises(SpecError):
        DetectionEnsemble.model_validate(spec_of(text))
