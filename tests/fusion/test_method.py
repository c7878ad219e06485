import pytest

from quorate.cli.fuse import METHODS as COMMAND_LINE
from quorate.fusion.rules import Method
from quorate.spec import WeightedBoxesFusion
from quorate.spec.fusion import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_the_specs(method):
    needed = {"min_votes": 2} if method == "votes" else {}
    assert Method.of(METHODS[method](**needed)) == Method.named(method, **needed)


def test_every_setting_of_every_method_is_taken_over():
    taken = set(Method.__dataclass_fields__)
    for model in METHODS.values():
        assert set(model.model_fields) <= taken
    assert set(COMMAND_LINE) == set(METHODS)


def test_what_a_spec_says_is_kept():
    said = WeightedBoxesFusion(iou=0.6, weights={"a": 2.0}, categories={"car": {"iou": 0.7}})
    plain = Method.of(said)
    assert (plain.method, plain.iou, plain.weights) == ("wbf", 0.6, {"a": 2.0})
    assert plain.categories["car"].iou == 0.7
    assert Method.of(plain) is plain
