"""Children: what takes over when a run has more shards than one workflow may hold."""

import yaml

from quorate.argo.rendering import children
from quorate.spec.notify import SecretKey, Slack
from tests.argo.test_template import ensemble, rendered, tasks, templates


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


def test_children_cover_every_shard_once(monkeypatch):
    """As the expressions in the template say: how many, where each starts, how many it takes."""
    monkeypatch.setattr(children, "most", lambda ensemble, given: 7)
    found = templates(ensemble())
    count = tasks(found["children"])["child"]["withSequence"]["count"]
    assert count == "{{=int(ceil(asInt(inputs.parameters.shards) / 7.0))}}"
    values = {p["name"]: p["value"] for p in child(ensemble())["spec"]["arguments"]["parameters"]}
    one = "asInt(inputs.parameters.child) * 7"
    assert values["start"] == f"{{{{={one}}}}}"
    assert values["count"] == f"{{{{=min(7, asInt(inputs.parameters.shards) - {one})}}}}"
    for shards in (8, 13, 14, 15, 4096):
        starts = range(0, -(-shards // 7) * 7, 7)
        covered = [s + k for s in starts for k in range(min(7, shards - s))]
        assert covered == list(range(shards))


def test_a_child_runs_the_same_template_for_the_run_that_made_it():
    found = child(ensemble(workflow={"parallelism": 10}))
    spec = found["spec"]
    assert spec["workflowTemplateRef"] == {"name": "street"}
    assert spec["entrypoint"] == "shards"
    assert spec["parallelism"] == 3  # four at once, ten pods together
    wanted = {p["name"] for p in templates(ensemble())["shards"]["inputs"]["parameters"]}
    given = {p["name"]: p["value"] for p in spec["arguments"]["parameters"]}
    assert wanted <= given.keys()
    assert given["run"] == "{{inputs.parameters.run}}"  # keys stay those of the first workflow


def test_a_child_that_is_made_again_is_the_same_child_and_goes_with_its_run():
    template = templates(ensemble())["child"]
    assert template["resource"]["action"] == "apply"
    assert template["resource"]["setOwnerReference"] is True
    assert template["serviceAccountName"] == "quorate-children"
    assert template["executor"] == {"serviceAccountName": "quorate-children"}


def test_a_child_tells_nobody_of_its_start_or_its_end():
    slack = Slack(url=SecretKey(secret="slack", key="url"), when=("started", "failed"))
    given = ensemble(notify=(slack,))
    assert rendered(given)["spec"]["hooks"]["started"]["template"] == "tell"
    spec = child(given)["spec"]
    assert spec["onExit"] == "quiet"
    assert spec["hooks"]["started"] == {"expression": "false", "template": "quiet"}
    assert "container" not in templates(given)["quiet"]
