"""What the arithmetic of `children` makes of runs of any size."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.argo.rendering.children import (
    STATUS_BYTES,
    TEMPLATES,
    shard_bytes,
    shards_per_workflow,
)
from quorate.steps.sharding import shard_size

TEMPLATE = 30_000


def scale(images, detectors, template_bytes, tries=1):
    """How a run is cut, and the nodes and bytes in the status of its largest workflow."""
    size = shard_size(images)
    shards = -(-images // size)
    most = shards_per_workflow(detectors, template_bytes, tries)
    children = 1 if shards <= most else min(shards, 4 * -(-shards // (4 * most)))
    held = -(-shards // children)
    return SimpleNamespace(
        size=size,
        shards=shards,
        children=children,
        nodes=held * (1 + detectors * 2 * tries + 4),
        bytes=TEMPLATES * template_bytes + held * shard_bytes(detectors, tries),
    )


def test_ten_million_pictures_and_five_detectors_fit_into_workflows_of_less_than_a_megabyte():
    found = scale(10_000_000, 5, TEMPLATE)
    assert found.size * found.shards >= 10_000_000
    assert found.shards == 4096  # as many as a run keeps account of
    assert found.bytes < STATUS_BYTES
    assert found.nodes < 500
    assert found.children == pytest.approx(found.shards / shards_per_workflow(5, TEMPLATE), abs=4)
    # The run's own workflow has a pod and its retries for each child.
    assert 2 * 1700 * found.children + 2 * TEMPLATE < STATUS_BYTES
    # A pod of a detector sees 2,442 pictures: at 20 a second two minutes, a model loads in seconds.
    assert found.size == 2442


@given(st.integers(1, 10**9), st.integers(1, 40), st.integers(0, 150_000), st.integers(1, 4))
def test_no_workflow_outgrows_its_object_whatever_the_run(images, detectors, template, tries):
    found = scale(images, detectors, template, tries)
    assert found.bytes <= STATUS_BYTES
    assert found.shards <= 4096
    assert (found.children - 4) * shards_per_workflow(detectors, template, tries) < found.shards


def test_a_small_run_is_one_workflow():
    found = scale(20_000, 3, TEMPLATE)
    assert (found.children, found.shards) == (1, 13)


def test_the_guides_table_is_what_the_arithmetic_gives():
    guide = Path(__file__).parents[2] / "docs/guides/argo.md"
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) kB \|$",
                      guide.read_text(encoding="utf-8"), re.MULTILINE)  # fmt: skip
    assert len(rows) == 4
    for row in rows:
        images, size, shards, children, nodes, kilobytes = (int(n.replace(",", "")) for n in row)
        found = scale(images, 5, TEMPLATE)
        assert (found.size, found.shards) == (size, shards)
        assert (found.children, found.nodes) == (children, nodes)
        assert round(found.bytes / 1000) == kilobytes
