"""Few pictures in one pod: when the template offers it, and what its pod then has."""

from itertools import pairwise

import pytest

from quorate.detectors.container import ContainerDetector
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.errors import SpecError
from quorate.spec import Pool, WorkflowSettings
from tests.argo.test_template import NAMES, artifacts, detector, ensemble, rendered, templates

THEIRS = ContainerDetector(name="legacy", image="mmdet:3", command=("run",))

TORCH = TorchvisionDetector(
    name="two", architecture="retinanet_resnet50_fpn", weights="s3://models/two.safetensors"
)


def parameters(given):
    listed = rendered(given)["spec"]["arguments"]["parameters"]
    return {one["name"]: one.get("value") for one in listed}


def test_the_pod_of_prepare_has_what_every_detector_needs():
    pools = {"big": Pool(cpu="3500m", memory="12Gi", parallelism=2)}
    given = ensemble(pools=pools, workflow={"pool": "big"})
    found = templates(given)
    prepare, detect, publish = (found[name] for name in ("prepare", "detect-one", "publish"))
    assert prepare["container"]["resources"] == detect["container"]["resources"]
    assert prepare["container"]["image"] == detect["container"]["image"]
    assert prepare["synchronization"] == detect["synchronization"]
    has, needed = artifacts(prepare), {name: artifacts(found[f"detect-{name}"]) for name in NAMES}
    for name in NAMES:
        weights = needed[name]["weights"]
        assert has[f"weights-{name}"] == weights | {"name": f"weights-{name}"}
    left = artifacts(prepare, "outputs")
    assert left["results"] == artifacts(publish, "outputs")["results"] | {"optional": True}
    said = {one["name"]: one for one in prepare["outputs"]["parameters"]}
    assert said["degraded"] == publish["outputs"]["parameters"][0]
    words = prepare["container"]["command"]
    told = dict(pairwise(words))
    assert told["--one-pod"] == "{{workflow.parameters.one-pod}}"
    assert (told["--try"], told["--workers"]) == ("{{retries}}", "4")


def test_a_first_try_that_crashes_is_followed_by_another():
    """Which leaves the rest to the DAG: there a crash costs the detector its votes."""
    retry = {name: one.get("retryStrategy") for name, one in templates(ensemble()).items()}
    assert retry["prepare"]["expression"] == (
        retry["publish"]["expression"] + " || asInt(lastRetry.exitCode) > 128"
    )


@pytest.mark.parametrize(
    ("settings", "value"),
    [({}, "100"), ({"one_pod": 7}, "7"), ({"one_pod": 0}, None)],
)
def test_a_spec_says_for_how_many_pictures(settings, value):
    given = ensemble(workflow=settings)
    assert parameters(given).get("one-pod") == value
    prepare = templates(given)["prepare"]
    assert ("--one-pod" in prepare["container"]["command"]) is (value is not None)
    assert len(prepare["inputs"]["artifacts"]) == (1 if value is None else 4)


POOLS = {"a": Pool(), "b": Pool(), "spot": Pool(fallback="a"), "late": Pool(pending_timeout="5m")}
PUBLISH = {"steps": {"publish": {"container": {"env": [{"name": "A", "value": "1"}]}}}}


@pytest.mark.parametrize(
    ("detectors", "settings", "said"),
    [
        ((detector(), THEIRS), {}, "'legacy' is a container of its own"),
        ((detector(timeout="1h"),), {}, "'one' has a timeout of its own"),
        ((detector(pool="a"), detector("two", pool="b")), {"pool": "a"},
         "'prepare' has the pool a and 'two' has the pool b"),
        ((detector(pool="a"),), {}, "'prepare' has no pool and 'one' has the pool a"),
        ((detector(),), {"steps": {"publish": {"pool": "b"}}},
         "'prepare' has no pool and 'publish' has the pool b"),
        ((detector(), detector("two", image="mine:1")), {}, "'two' has the image mine:1"),
        ((detector(), TORCH), {},
         "'one' has the image quorate-cpu"),
        ((detector(),), {"steps": {"prepare": {"image": "mine:1"}}}, "'prepare' has the image"),
        ((detector(),), {"pool": "spot"}, "the pool spot has a fallback or a pending_timeout"),
        ((detector(),), {"pool": "late"}, "the pool late has a fallback or a pending_timeout"),
        ((detector(),), PUBLISH, "'publish' has a pod or container of its own"),
        ((detector(),), {"retries": 0}, "without retries"),
    ],
)  # fmt: skip
def test_what_one_pod_cannot_do_is_not_offered_and_refused(detectors, settings, said):
    given = ensemble(*detectors, pools=POOLS, workflow=settings)
    assert "one-pod" not in parameters(given)
    asked = WorkflowSettings.model_validate(given.workflow.model_dump() | {"one_pod": 50})
    with pytest.raises(SpecError, match="one pod cannot do the whole run") as error:
        rendered(given.model_copy(update={"workflow": asked}))
    assert said in error.value.message
