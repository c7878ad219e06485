"""The names of a detector's labels, as a spec gives them: a list, a file, or a known vocabulary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from quorate.detectors.files import read_file
from quorate.errors import DetectorError, QuorateError
from quorate.labels import VOCABULARIES
from quorate.networks import listed_names

MOST_BYTES = 1 << 20


@cache
def known(word: str) -> tuple[str, ...]:
    """The labels of a vocabulary of `VOCABULARIES`, in its order."""
    file = files("quorate.detectors") / "vocabularies" / f"{word}.txt"
    return tuple(file.read_text("utf-8").splitlines())


def told_names(names: Sequence[str], base: int | str = "the first") -> str:
    """How many there are, which is first, at number `base`, and whose order it is if known."""
    text = f"{len(names):,}: {base} is {names[0]!r}"
    for word, order in VOCABULARIES.items():
        if tuple(names) == known(word):
            return f"{text}, then {names[1]!r}, {names[2]!r}: the order of {order}"
    return text


def given_names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """The labels in the order of their numbers; () where the spec gives none.

    `names` are the labels, a word of `VOCABULARIES`, or a file: .json and .yaml with a list,
    numbers with names, `names`, or COCO's `categories` (by rising id); any other has a label a
    line. DetectorError where it is none of these, StorageError where S3 does not answer.
    """
    if not isinstance(names, str):
        return names
    if names in VOCABULARIES:
        return known(names)
    return listed_names(_inner(parsed(_text(names), names)), names)


def parsed(text: str, file: str, error: type[QuorateError] = DetectorError) -> Any:
    """What a file of names says: the value of .json or .yaml, else its lines; else the error."""
    if file.lower().endswith((".json", ".yaml", ".yml")):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as fault:
            raise error(f"{file}: cannot be read ({fault}).") from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise error(f"{file}:{lines.index('') + 1}: the line is empty.")
    return lines


def _inner(value: Any) -> Any:
    """What holds the names in a file of more."""
    if not isinstance(value, dict):
        return value
    if isinstance(categories := value.get("categories"), list):
        try:
            return [one["name"] for one in sorted(categories, key=lambda one: int(one["id"]))]
        except (TypeError, KeyError, ValueError):
            return None
    return next((value[key] for key in ("names", "id2label", "labels") if key in value), value)


def _text(location: str) -> str:
    data = read_file(
        location,
        most=MOST_BYTES,
        what="a list of names",
        large="of COCO's annotations, keep the `categories` alone",
        missing="`names` is a list, a file (looked for in "
        f"{os.path.dirname(location) or '.'}), or one of {', '.join(VOCABULARIES)}",
    )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DetectorError(f"{location}: cannot be read as text ({error}).") from None
