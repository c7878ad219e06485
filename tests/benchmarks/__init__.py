"""Speed as ratios: each module measures one thing and prints a table (`make bench` runs them)."""

import sys

SKIPPED = 77
"""The exit status of a benchmark that lacks what it needs."""


def skipped(reason: str) -> int:
    """Say why nothing is measured; the exit status."""
    print(f"skipped: {reason}", file=sys.stderr)
    return SKIPPED
