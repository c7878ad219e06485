import pytest

from quorate.errors import SpecError
from quorate.spec import EnsembleSpec, Pool
from quorate.spec.text import seconds

SPEC = """\
name: street
detectors:
  - {name: yolo, kind: onnx, weights: s3://models/yolo.onnx, pool: small-gpu, timeout: 1h30m}
pools:
  small-gpu:
    node_selector: {pool: spot, accelerated: true}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    gpus: 1
    cpu: 4
    memory: 8Gi
    fallback: on-demand
    pending_timeout: 10m
  on-demand: {gpus: 1}
workflow: {bucket: models, pool: on-demand}
"""


def changed(old: str, new: str) -> str:
    assert old in SPEC
    return SPEC.replace(old, new)


@pytest.fixture
def read(tmp_path):
    def from_yaml(text: str) -> EnsembleSpec:
        path = tmp_path / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return EnsembleSpec.from_yaml(path)

    return from_yaml


def test_pools_and_settings_are_read_as_kubernetes_wants_them(read):
    spec = read(SPEC)
    pool = spec.pools["small-gpu"]
    assert pool.node_selector == {"pool": "spot", "accelerated": "true"}
    assert (pool.cpu, pool.memory, pool.fallback) == ("4", "8Gi", "on-demand")
    assert seconds(spec.detectors[0].timeout) == 5400
    assert spec.workflow.service_account == "quorate"
    assert spec.pools["on-demand"] == Pool(gpus=1)


def test_what_a_spec_says_of_a_cluster_survives_its_own_yaml(read):
    spec = read(SPEC)
    assert read(spec.to_yaml()) == spec


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        (changed("pool: small-gpu", "pool: smal-gpu"), "detectors[0].pool",
         "did you mean 'small-gpu'"),
        (changed("pool: small-gpu", "pool: zzz"), "detectors[0].pool",
         "the pools are small-gpu, on-demand"),
        ("name: a\ndetectors: [{name: b, kind: onnx, weights: c, pool: d}]",
         "spec.yaml:2: detectors[0].pool", "no pool is called 'd', there is none"),
        (changed("fallback: on-demand", "fallback: ondemand"), "pools.small-gpu.fallback",
         "did you mean 'on-demand'"),
        (changed("on-demand: {gpus: 1}", "on-demand: {gpus: 1, fallback: small-gpu}"),
         "spec.yaml:11: pools.small-gpu.fallback", "leads back to 'small-gpu'"),
        (changed("pool: on-demand}", "pool: demand}"), "workflow.pool", "did you mean 'on-demand'"),
        (changed("memory: 8Gi", "memory: 8GB"), "spec.yaml:10: pools.small-gpu.memory",
         "such as 500m"),
        (changed("gpus: 1\n    cpu", "gpus: -1\n    cpu"), "spec.yaml:8: pools.small-gpu.gpus",
         "expected 0 or more"),
        (changed("pending_timeout: 10m", "pending_timeout: 10"), "pools.small-gpu.pending_timeout",
         "expected a duration such as 90s"),
        (changed("pending_timeout: 10m", "pending_timeout: 0m"), "pools.small-gpu.pending_timeout",
         "such as 90s"),
        (changed("timeout: 1h30m", "timeout: 90 min"), "detectors[0].timeout", "such as 90s"),
        (changed("operator: Exists", "operator: Exist"), "tolerations[0].operator",
         "did you mean 'Exists'?"),
        (changed("effect: NoSchedule", "value: x"), "tolerations[0]", "has no value"),
        (changed("{key: nvidia.com/gpu, operator: Exists", "{value: x"), "tolerations[0]",
         "needs a key"),
        (changed("bucket: models", "bukket: models"), "workflow", "did you mean 'bucket'"),
        (changed("small-gpu:", "Small_GPU:"), "pools.Small_GPU", "at most 63"),
        (changed("bucket: models", "git: {repo: x, path: ../spec.yaml}"), "workflow.git",
         "stays inside"),
    ],
)  # fmt: skip
def test_an_error_says_where_and_what_was_expected(read, text, place, expected):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert place in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("duration", "expected"), [("90s", 90), ("10m", 600), ("1h", 3600), ("1h1m1s", 3661)]
)
def test_a_duration_in_seconds(duration, expected):
    assert seconds(duration) == expected
