"""Children: what takes over when a run has more shards than one workflow may hold."""

import math

import pytest
import yaml

from quorate.argo.rendering import children
from quorate.spec.notify import SecretKey, Slack
from tests.argo.test_template import ensemble, tasks, templates


def child(given):
    return yaml.safe_load(templates(given)["child"]["resource"]["manifest"])


def test_shards_run_here_or_in_children_and_never_in_both():
    entry = tasks(templates(ensemble())["ensemble"])
    here, there = (
        entry[name]["when"].removeprefix("{{=").removesuffix("}}")
        for name in ("shards", "children")
    )
    some, _, few = here.partition(" && ")
    count, most = few.split(" <= ")
    assert some == f"{count} > 0"  # else prepare has done it all
    assert there == f"{count} > {most}"
    assert int(most) > 20


def value(expression, **inputs):
    """What an expression of a template gives for these inputs; its language is near Python's."""
    said = expression.removeprefix("{{=").removesuffix("}}")
    for name, number in inputs.items():
        said = said.replace(f"asInt(inputs.parameters.{name})", str(number))
    return eval(said, {"int": int, "min": min, "ceil": math.ceil})


def parameters(found):
    return {one["name"]: one["value"] for one in found["spec"]["arguments"]["parameters"]}


@pytest.mark.parametrize("parallelism", [64, 12, 3, 1, None])
@pytest.mark.parametrize("shards", [8, 13, 14, 15, 110, 4096])
def test_children_are_of_one_size_and_share_what_was_asked_for(monkeypatch, parallelism, shards):
    """As the expressions in the template say: how many, where each starts, how many it takes."""
    monkeypatch.setattr(children, "most", lambda ensemble, given: 7)
    given = ensemble(workflow={"parallelism": parallelism})
    dag = templates(given)["children"]
    task, few = tasks(dag)["child"], dag["parallelism"]
    passed = {one["name"]: one["value"] for one in task["arguments"]["parameters"]}
    assert passed["count"] == task["withSequence"]["count"]
    count = value(passed["count"], shards=shards)
    of = parameters(child(given))
    covered, sizes = [], set()
    for number in range(count):
        inputs = {"shards": shards, "count": count, "child": number}
        start, size = (value(of[name], **inputs) for name in ("start", "count"))
        covered += range(start, start + size)
        sizes.add(size)
    assert covered == list(range(shards))
    assert max(sizes) <= 7
    assert max(sizes) - min(sizes) <= 1
    # No rest goes on alone at its share.
    assert count % few == 0 or count == shards
    assert templates(given)["keep"]["container"]["command"][-2:] == ["--at-once", str(few)]
    assert parallelism is None or parallelism // few * few >= 0.9 * parallelism


@pytest.mark.parametrize(
    ("parallelism", "few"),
    [(None, 4), (64, 4), (12, 4), (7, 1), (6, 3), (10, 3), (5, 1), (2, 2), (1, 1)],
)
def test_as_many_children_share_as_leave_little_unused(parallelism, few):
    assert children.at_once(parallelism) == few


def test_a_child_runs_the_template_that_its_run_began_with():
    found = child(ensemble(workflow={"parallelism": 10}))
    spec = found["spec"]
    assert spec["workflowTemplateRef"] == {"name": "{{workflow.name}}"}
    wanted = {p["name"] for p in templates(ensemble())["shards"]["inputs"]["parameters"]}
    given = parameters(found)
    assert wanted <= given.keys()
    assert given["run"] == "{{inputs.parameters.run}}"  # keys stay those of the first workflow


def test_the_template_is_kept_before_the_first_child():
    found = templates(ensemble())
    assert tasks(found["children"])["child"]["depends"] == "keep"
    keep = found["keep"]
    assert keep["container"]["command"] == [
        "quorate", "step", "keep", "--workflow", "{{workflow.name}}",
        "--namespace", "{{workflow.namespace}}", "--at-once", "4",
    ]  # fmt: skip
    assert keep["serviceAccountName"] == "quorate-children"


def test_a_child_that_is_made_again_is_the_same_child_and_goes_with_its_run():
    template = templates(ensemble())["child"]
    assert template["resource"]["action"] == "apply"
    assert template["resource"]["setOwnerReference"] is True
    assert template["serviceAccountName"] == "quorate-children"
    assert template["executor"] == {"serviceAccountName": "quorate-children"}


def test_a_child_says_no_more_than_argo_allows_beside_a_template():
    """Where `templateReferencing` is Strict: its entrypoint, hooks and pods are the template's."""
    slack = Slack(url=SecretKey(secret="slack", key="url"), when=("started", "failed"))
    assert set(child(ensemble(notify=(slack,)))["spec"]) == {"workflowTemplateRef", "arguments"}
