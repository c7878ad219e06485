"""A template that somebody else has changed is not overwritten without a word."""

import pytest

from quorate.argo.cluster.changes import differences, generation_after
from quorate.argo.names import APPLIED, DIGEST
from quorate.errors import InputError


def template(digest="a", generation=None, left=None, **spec):
    spec |= {"workflowMetadata": {"annotations": {DIGEST: digest} if digest else {}}}
    metadata = {"name": "street", "annotations": {APPLIED: left} if left else {}}
    return {"metadata": metadata | ({"generation": generation} if generation else {}), "spec": spec}


@pytest.mark.parametrize(
    ("there", "after"),
    [
        (template("a", 3, "3"), "3"),  # the same again
        (template("b", 3, "3"), "4"),  # the spec has changed
        (template("b", 3), "4"),  # somebody put it there in another way
        (template("a", 3), None),  # likewise, and whether it is the same is not known
        (template(None, 3), "4"),  # kubectl apply of what `quorate render` prints
    ],
)
def test_the_generation_that_is_left(there, after):
    assert generation_after(template(), there, overwrite=False) == after


def test_what_somebody_changed_is_named():
    containers = [{"name": "a", "container": {"image": "x"}}, {"name": "b"}]
    given = template(parallelism=3, templates=containers)
    theirs = [{"name": "a", "container": {"image": "y"}}, {"name": "b", "metadata": {"l": "v"}}]
    there = template("b", 5, "4", parallelism=3, templates=theirs)
    with pytest.raises(InputError) as caught:
        generation_after(given, there, overwrite=False)
    assert "templates.a.container.image, templates.b.metadata" in caught.value.message
    assert "--from street" in caught.value.hint
    assert generation_after(given, there, overwrite=True) == "6"


def test_spellings_that_mean_the_same_are_no_difference():
    assert not list(differences({"a": 1, "b": None, "c": {}}, {"a": "1"}))
    assert list(differences({"a": {"b": [1]}}, {"a": {"b": [2]}})) == ["a.b"]
