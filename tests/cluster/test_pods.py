"""What docs/guides/pods.md offers, in a namespace that enforces "restricted" and has a quota."""

import json
import os
import textwrap

import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.cluster.client_kube import Kube
from quorate.argo.doctor.examine import examine
from quorate.argo.doctor.pods import pods
from quorate.argo.names import PARENT
from quorate.argo.render import workflow_template
from quorate.argo.rendering import children
from tests.argo.test_pods import EXPECTED, needs, spec_of
from tests.cluster.conftest import ROOT, images_of_nodes
from tests.cluster.runs import PARTS, Bucket, Runs, messages
from tests.cluster.strict import Strict
from tests.steps.test_containers import IMAGE, SCRIPT

pytestmark = pytest.mark.usefixtures("argo")

EXAMPLE = ROOT / "docs/examples/repository"
# Runs before the detector itself, and ends it where something has not reached its container.
LOOK = """
import os, sys
from pathlib import Path

def there(what, ok):
    if not ok:
        sys.exit(f"missing: {what}")

there("secret", os.environ["TOKEN"] == "s3cret")
there("config", os.environ["SITE"] == "here")
there("argument", sys.argv[1:] == ["--epoch", "7"])
there("user", os.getuid() == 1000)
there("claim", (Path("/mnt/models") / "note").write_text("x") and True)
there("ephemeral volume", Path("/mnt/cache/note").write_text("x"))
there("claim of the run", Path("/mnt/output/note").write_text("x"))
there("shared memory", "/dev/shm tmpfs" in Path("/proc/mounts").read_text())
there("a root that can be written", Path("/var/tmp/note").write_text("x"))
there("host", "models.example" in Path("/etc/hosts").read_text())
there("search", "lab.example" in Path("/etc/resolv.conf").read_text())
there("what the init container left", Path("/scratch/warm").read_text() == "warm")
"""
EVERYTHING = """
pools:
  chosen:
    node_selector: {kubernetes.io/os: "{{workflow.parameters.system}}"}
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
    memory: 512Mi
    cpu: 100m
    pod:
      metadata: {annotations: {example.com/note: "yes"}, labels: {cost-centre: vision}}
      serviceAccountName: reads-the-lake
      securityContext: {runAsUser: 1000}
      tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: Exists}]}]
      topologySpreadConstraints:
        - {topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway,
           labelSelector: {matchLabels: {app.kubernetes.io/name: quorate}}}
      hostAliases: [{ip: 192.0.2.9, hostnames: [models.example]}]
      dnsConfig: {searches: [lab.example]}
      volumes:
        - {name: scratch, emptyDir: {sizeLimit: 1Gi}}
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
        - {name: models, persistentVolumeClaim: {claimName: models}}
        - name: cache
          ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce],
                      resources: {requests: {storage: 10Mi}}}}}
      initContainers:
        - {name: warm, image: IMAGE, command: [sh, -c, "printf warm > /scratch/warm"],
           volumeMounts: [{name: scratch, mountPath: /scratch}]}
      containers:
        - {name: beside, image: IMAGE, command: [sleep, "600"]}
    container:
      env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}]
      envFrom: [{configMapRef: {name: site}}]
      resources: {limits: {memory: "{{workflow.parameters.memory}}"}}
      securityContext: {readOnlyRootFilesystem: false}
      volumeMounts:
        - {name: models, mountPath: /mnt/models}
        - {name: cache, mountPath: /mnt/cache}
        - {name: output, mountPath: /mnt/output}
        - {name: shm, mountPath: /dev/shm}
workflow:
  parameters: {epoch: 7, memory: 768Mi, system: {value: linux, enum: [linux, other]}}
  volume_claim_templates:
    - metadata: {name: output}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
  steps:
    publish: {cpu: 150m, memory: 512Mi}
    executor: {memory: 128Mi}
"""


@pytest.fixture(scope="module")
def strict(kubectl, image, bucket):
    if IMAGE not in images_of_nodes(kubectl):
        pytest.skip(f"no node has the image {IMAGE}, which has Python and nothing of ours")
    found = Strict(image, bucket)
    found.make()
    meta = {"apiVersion": "v1"}
    found.apply(
        meta | {"kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": "s3cret"}},
        meta | {"kind": "ConfigMap", "metadata": {"name": "site"}, "data": {"SITE": "here"}},
        meta | {"kind": "ServiceAccount", "metadata": {"name": "reads-the-lake"}},
        meta | {"kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
                "spec": {"accessModes": ["ReadWriteOnce"],
                         "resources": {"requests": {"storage": "10Mi"}}}},
    )  # fmt: skip
    yield found
    found.remove()


@pytest.fixture
def strict_runs(strict, tmp_path):
    found = Runs(strict, Bucket(strict.bucket), strict.image,
                 prefix=f"quorate-tests/pods-{os.getpid()}", folder=tmp_path)  # fmt: skip
    for name in ("images", "models"):
        found.bucket.put_folder(PARTS / name, f"{found.prefix}/{name}")
    yield found
    found.clear()


def test_a_run_goes_through_under_a_quota_and_every_need_reaches_its_pod(strict, strict_runs):
    path = strict_runs.spec("needs")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    more = yaml.safe_load(EVERYTHING.replace("IMAGE", IMAGE))
    theirs = {"name": "theirs", "kind": "container", "image": IMAGE, "pool": "chosen",
              "command": ["python3", "-c", LOOK + textwrap.dedent(SCRIPT)],
              "args": ["--epoch", "{{workflow.parameters.epoch}}"]}  # fmt: skip
    spec["detectors"] = [spec["detectors"][0], theirs]
    spec |= {"quorum": 2, "fusion": "affirmative", "pools": more["pools"]}
    spec["workflow"] |= more["workflow"]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = strict_runs.create(strict_runs.template(path))
    seen = {}

    def look(workflow):
        for pod in json.loads(strict("get", "pods", "--output=json"))["items"]:
            seen[pod["metadata"]["name"]] = pod
        return False

    ended = strict_runs.wait(name, until=look)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    (detect,) = (pod for pod_name, pod in seen.items() if "detect-theirs" in pod_name)
    assert detect["metadata"]["annotations"]["example.com/note"] == "yes"
    assert detect["metadata"]["labels"]["cost-centre"] == "vision"
    assert detect["spec"]["serviceAccountName"] == "reads-the-lake"
    assert detect["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    sizes = {one["name"]: one["resources"] for one in detect["spec"]["containers"]}
    assert sizes.keys() == {"main", "wait", "beside"}
    assert sizes["main"]["limits"]["memory"] == "768Mi"
    assert sizes["wait"]["requests"]["memory"] == "128Mi"
    (volume,) = (one for one in detect["spec"]["volumes"] if one["name"] == "scratch")
    assert volume["emptyDir"] == {"sizeLimit": "1Gi"}
    summary = json.loads(strict_runs.results(name)["summary.json"])
    assert not summary["degraded"]


def test_a_deleted_run_is_cleaned_up_after(strict, strict_runs):
    path = strict_runs.spec("gone", quorum=1, fusion="wbf")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(spec | {"detectors": spec["detectors"][:1]}), encoding="utf-8")
    name = strict_runs.create(strict_runs.template(path))
    ended = strict_runs.wait(name)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    prefix = f"{strict.namespace}/quorate/{name}/"
    plan = f"{prefix}work/plan.json"
    assert strict_runs.bucket.keys(plan)
    strict("delete", "workflow", name, "--wait", "--timeout=120s")
    assert not strict_runs.bucket.keys(plan)
    assert strict_runs.bucket.keys(f"{prefix}results/")


def test_children_are_admitted_too(strict, strict_runs, monkeypatch):
    monkeypatch.setattr(children, "most", lambda ensemble, weight: 1)
    path = strict_runs.spec("split", quorum=1, fusion="wbf")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    template = workflow_template(
        DetectionEnsemble.model_validate(spec | {"detectors": spec["detectors"][:1]})
    )
    strict.apply(template.to_dict())
    name = strict_runs.create("split", shard_size=30)
    ended = strict_runs.wait(name)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    assert strict_runs.results(name)["summary.json"]
    assert len(json.loads(strict("get", "workflows", f"--selector={PARENT}={name}", "-ojson"))[
        "items"
    ]) == 2  # fmt: skip


def test_detectors_from_a_git_repository(strict, strict_runs, repository):
    """docs/examples/repository as it stands, but for names of this cluster's own."""
    files = {name: (EXAMPLE / name).read_text("utf-8") for name in ("predict.py", "from_voc.py")}
    text = (EXAMPLE / "spec.yaml").read_text(encoding="utf-8")
    for name in ("darknet:2", "keras-retinanet:1"):
        text = text.replace(f"registry.example/{name}", IMAGE)
    text = text.replace("https://git.example/detectors.git", repository(files))
    text = text.replace("revision: v1", "revision: v3").replace("bucket: pool", "bucket: quorate")
    text = text.replace("Standard_NC6", "linux").replace(
        "beta.kubernetes.io/instance-type", "kubernetes.io/os"
    )
    spec = yaml.safe_load(text)
    spec["workflow"]["images"] = {"cpu": strict.image}
    path = strict_runs.folder / "repository.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = strict_runs.create(
        strict_runs.template(path),
        cvat_annotation_path=f"{strict_runs.prefix}/images/",
        cvat_output_path="street",
        ensemble_option="unanimous",
    )
    ended = strict_runs.wait(name)
    assert ended["status"]["phase"] == "Succeeded", messages(ended)
    prefix = f"{strict.namespace}/street/{name}/results/"
    published = strict_runs.bucket.folder(prefix)
    summary = json.loads(published["summary.json"])
    assert [one["boxes"] for one in summary["detectors"]] == [60, 60]
    assert published["cvat/annotations.xml"].count(b"<box ") == 60
    strict_runs.bucket.remove(prefix)


@pytest.mark.parametrize("need", EXPECTED)
def test_the_api_server_takes_each_need(strict, need):
    template = workflow_template(DetectionEnsemble.model_validate(spec_of(needs()[need]))).to_dict()
    apply = ("apply", "--validate=strict", "--dry-run=server", "--filename=-")
    strict(*apply, given=json.dumps(template))
    for pod in pods(template).values():
        pod["spec"].pop("priorityClassName", None)  # the cluster has none of the page's names
        pod["spec"].pop("runtimeClassName", None)
        create = ("create", "--validate=strict", "--dry-run=server", "--filename=-")
        strict(*create, given=json.dumps(pod))


def test_doctor_asks_whether_the_namespace_would_admit_each_pod(strict):
    def said(**workflow):
        spec = {"name": "x", "detectors": [{"name": "a", "kind": "onnx", "weights": "s3://e/a"}]}
        ensemble = DetectionEnsemble.model_validate(spec | {"workflow": workflow})
        found = examine(Kube.of_kubeconfig(namespace=strict.namespace), ensemble)
        return {one.found: one.state for one in found if one.check == "pods"}

    assert list(said().values()) == ["ok"]
    loose = said(restricted=False)
    assert set(loose.values()) == {"fail"}
    assert any("violates PodSecurity" in reason for reason in loose)
    ((reason, state),) = said(steps={"publish": {"memory": "100Gi"}}).items()
    assert state == "fail"
    assert reason.startswith("publish: ")
    assert "exceeded quota" in reason
