"""The example of classification: two real networks of different families on real pictures."""

from pathlib import Path

import pytest

from quorate import read_ensemble

FOLDER = Path(__file__).parents[2] / "docs/examples/sorting"


@pytest.fixture(scope="module")
def spec():
    return read_ensemble(FOLDER / "spec.yaml")


@pytest.fixture(scope="module")
def summary(spec, tmp_path_factory):
    return spec.run(out=tmp_path_factory.mktemp("sorting"), workers=2)


def test_the_networks_are_small_and_of_different_kinds(spec):
    told = {}
    for one in spec.classifiers:
        assert Path(one.weights).stat().st_size < 1_000_000
        loaded = one.load()
        assert loaded.labels == spec.labels
        assert loaded.notes == ()
        told[one.name] = loaded.told
    assert told["resnet"]["input"].startswith("NCHW")
    assert told["googlenet"]["input"].startswith("NHWC")
    assert "softmax makes them" in told["resnet"]["output"]
    assert "probabilities: probabilities" in told["googlenet"]["output"]


def test_the_sum_is_right_more_often_than_either_network(summary):
    alone = [one.accuracy for one in summary.classifiers]
    assert summary.ensemble.accuracy > max(alone)
    assert min(alone) > 0.7


def test_the_page_has_the_figures_of_the_run(summary):
    page = (FOLDER / "README.md").read_text()
    for one in (*summary.classifiers, summary.ensemble):
        assert f"{one.name:<9}  {one.pictures:>8}  {one.accuracy:>8.3f}" in page


def test_a_look_gives_what_the_run_gives(spec, summary):
    with spec.load() as loaded:
        said = [loaded.look(p) for p in sorted((FOLDER / "images/nut").glob("*.jpg"))[:5]]
    assert all(len(one.members) == 2 and not one.degraded for one in said)
    assert sum(one.label == "nut" for one in said) >= 3
