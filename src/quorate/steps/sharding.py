"""How many pictures a shard has: arithmetic, nothing else.

A shard is one pod for each detector. It has enough pictures that starting the pod and loading a
model are a small part of its time, and there are never more shards than a run can keep account of.
"""

from __future__ import annotations

from quorate.errors import InputError

SHARD_SIZE = 1536
"""Fewest pictures of a shard: enough that loading a model takes a small part of its time, and few
enough to try again."""
MOST_SHARDS = 4096
"""Shards of one run: beyond this many, shards grow rather than their number."""
TOGETHER = 8192
"""Up to this many pictures are fused, and almost measured, in less time than a pod takes to start.
"""

MANY = 100_000
"""Pictures from which on is said before the run what grows with them."""


def shard_size(images: int) -> int:
    """Pictures of each shard of a data set: from `SHARD_SIZE` to less than twice as many.

    Fewer only where there are fewer, more only where shards would be too many. Shards are all of
    one size, but for the last, so sizes are as even as they can be.
    """
    shards = min(max(1, images // SHARD_SIZE), MOST_SHARDS)
    return max(1, -(-images // shards))


def worth_pods(images: int) -> bool:
    """Whether each shard is worth a step of its own for fusing, or measuring, so many pictures.

    Else publish fuses, and prepare measures.
    """
    return images > TOGETHER


def check_shards(images: int, shards: int) -> None:
    """InputError where shards are too many for one run on a cluster."""
    if shards > MOST_SHARDS:
        raise InputError(
            f"{shards} shards are more than the {MOST_SHARDS} that a run keeps account of.",
            hint=f"shards of {-(-images // MOST_SHARDS)} pictures or more, or --shard-size auto",
        )
