import os

import pytest

from quorate import workers


@pytest.mark.parametrize(
    ("quota", "most"),
    [("150000 100000", 2), ("50000 100000", 1), ("6400000 100000", 64), ("max 100000", 64)],
)
def test_a_containers_limit_bounds_the_processors(quota, most, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert workers.processors() == 64  # there is no such file
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert workers.processors() == most
