import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import InputError
from quorate.steps.sharding import MOST_SHARDS, SHARD_SIZE, check_shards, shard_size


@given(st.integers(1, 10**9))
def test_shards_hold_all_pictures_and_are_never_too_many(images):
    size = shard_size(images)
    shards = -(-images // size)
    assert shards <= MOST_SHARDS
    assert size * shards >= images > size * (shards - 1)
    assert size >= min(images, SHARD_SIZE)  # never a swarm of tiny pods
    assert images > MOST_SHARDS * SHARD_SIZE or size < 2 * SHARD_SIZE


@pytest.mark.parametrize(
    ("images", "size"),
    [(0, 1), (1, 1), (1536, 1536), (1537, 1537), (3072, 1536), (100_000, 1539), (10_000_000, 2442)],
)
def test_the_size_follows_the_number_of_pictures(images, size):
    assert shard_size(images) == size


def test_more_shards_than_a_run_keeps_account_of_are_refused():
    check_shards(5000, 4096)
    with pytest.raises(InputError, match="4097 shards") as caught:
        check_shards(10_000_000, 4097)
    assert "2442" in caught.value.hint
