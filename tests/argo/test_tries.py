"""Pools: where a detector runs, and what comes after a pod that found no place."""

import pytest

from quorate.argo.rendering.children import TEMPLATES, shard_bytes
from quorate.spec import Pool, Toleration
from tests.argo.test_template import artifacts, detector, ensemble, rendered, tasks, templates

SPOT = Pool(
    node_selector={"pool": "spot"},
    tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),),
    gpus=1,
    cpu="3500m",
    memory="8Gi",
)


def on(*pools, **changes):
    """The templates of an ensemble whose first detector runs on the first of some pools."""
    named = dict(zip(("spot", "demand", "last"), pools, strict=False))
    given = detector(pool="spot", **changes)
    return templates(ensemble(given, detector("two"), pools=named))


def test_a_pool_says_where_a_pod_goes_and_what_it_gets():
    found = on(SPOT)["detect-one"]
    assert found["nodeSelector"] == {"pool": "spot"}
    assert found["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    resources = found["container"]["resources"]
    assert resources["requests"] == {"cpu": "3500m", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert resources["limits"] == {"cpu": "8", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert found["container"]["command"][-2:] == ["--workers", "4"]  # not those of the node
    assert found["metadata"]["labels"]["quorate/pool"] == "spot"


def test_without_a_pool_any_node_will_do():
    found = on(SPOT)["detect-two"]
    assert "nodeSelector" not in found
    assert "synchronization" not in found


def test_argo_tries_again_what_may_go_better_and_nothing_else():
    strategy = on(SPOT)["detect-one"]["retryStrategy"]
    assert (strategy["limit"], strategy["retryPolicy"]) == (3, "Always")
    assert "lastRetry.exitCode) in [75, 137, 143]" in strategy["expression"]


def test_the_semaphore_of_a_pool():
    semaphore = on(SPOT.model_copy(update={"parallelism": 4}))["detect-one"]["synchronization"]
    selector = {"name": "quorate-pools", "key": "spot"}
    assert semaphore == {"semaphores": [{"configMapKeyRef": selector}]}


def test_a_fallback_is_a_try_of_its_own():
    found = on(SPOT.model_copy(update={"fallback": "demand"}), Pool(node_selector={"a": "b"}))
    first, second = found["try-1-one"], found["try-2-one"]
    assert (first["nodeSelector"], second["nodeSelector"]) == ({"pool": "spot"}, {"a": "b"})
    assert "retryStrategy" not in first
    assert "retryStrategy" in second
    first_task, again = tasks(found["detect-one"]).values()
    assert again["dependencies"] == ["try-1-one"]
    # Bad input (2) is as bad on another pool; a try that was left out has no exit status.
    assert again["when"] == (
        "{{=tasks['try-1-one'].status in ['Failed', 'Error'] && "
        "(tasks['try-1-one'].exitCode ?? '-1') in ['-1', '75', '137', '143']}}"
    )
    # The last try alone decides; but what comes after the DAG comes after each of them.
    assert first_task["continueOn"] == {"failed": True, "error": True}
    assert "continueOn" not in again
    assert found["detect-one"]["dag"]["target"] == "try-1-one try-2-one"
    # Were fusion left out, Argo would give it the result of the first try.
    assert "when" not in tasks(found["shard"])["fuse"]
    assert artifacts(first) == artifacts(second)


def test_argo_looks_at_a_pending_timeout_only_where_it_does_not_retry():
    waiting = SPOT.model_copy(update={"pending_timeout": "10m"})
    found = on(waiting.model_copy(update={"fallback": "demand", "parallelism": 2}), waiting)
    for name in ("try-1-one", "try-2-one"):
        assert found[name]["pendingTimeout"] == "10m"
        assert "retryStrategy" not in found[name]
        # Waiting for a semaphore would count as waiting for a node.
        assert "synchronization" not in found[name]
    assert "synchronization" in found["detect-one"]


def test_a_pool_that_is_waited_for_has_a_second_try_where_there_is_no_other_pool():
    found = on(SPOT.model_copy(update={"pending_timeout": "10m"}))
    assert found["try-1-one"]["nodeSelector"] == found["try-2-one"]["nodeSelector"]


def test_fallbacks_may_follow_each_other():
    pools = (Pool(fallback="demand"), Pool(fallback="last"), Pool(parallelism=1))
    found = on(*pools)
    assert list(tasks(found["detect-one"])) == ["try-1-one", "try-2-one", "try-3-one"]
    assert "synchronization" in found["try-3-one"]


@pytest.mark.parametrize(("timeout", "expected"), [("90s", 90), ("1h30m", 5400)])
def test_a_timeout_counts_from_the_pods_start(timeout, expected):
    assert on(SPOT, timeout=timeout)["detect-one"]["activeDeadlineSeconds"] == expected


def test_tries_make_shards_dearer_and_children_smaller():
    def most(given):
        return int(tasks(given["ensemble"])["shards"]["when"].split("<= ")[1].rstrip("}"))

    plain, tried = on(SPOT), on(SPOT.model_copy(update={"fallback": "demand"}), Pool())
    assert most(tried) < most(plain)
    assert TEMPLATES * 20_000 + most(tried) * shard_bytes(2, 2) < 1 << 20


def test_a_detector_may_be_called_as_a_try_is_counted():
    waiting = {"p": Pool(pending_timeout="10m")}
    given = ensemble(detector("yolo", pool="p"), detector("yolo-1"), pools=waiting)
    names = [one["name"] for one in rendered(given)["spec"]["templates"]]
    assert len(set(names)) == len(names)
