"""Words of the command line: what is no number, or out of its range, is said."""

from __future__ import annotations

from argparse import ArgumentTypeError


def method(text: str) -> str:
    """A method's name however it is written: `Soft-NMS` is `soft_nms`."""
    return text.lower().replace("-", "_")


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a number") from None


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0.0 <= value <= 1.0:
        raise ArgumentTypeError(f"{text} is not within 0..1")
    return value


def count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)
