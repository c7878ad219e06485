"""What is wrong with JSON that was meant to be COCO, in words."""

from __future__ import annotations

import contextlib
import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from typing import Any

import msgspec

from quorate.errors import FormatError
from quorate.formats.base import not_utf8

NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EXPECTED = re.compile(
    r"Expected `(?P<wanted>[^`]+)`(?: of length (?P<length>\d+)| (?P<limit>[<>]= ?\S+))?"
    r"(?:, got `(?P<got>\w+)`)?"
)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_WORDS = {
    "float": "a number", "int": "a whole number", "str": "text", "array": "a list",
    "object": "an object", "bool": "true or false", "null": "null",
}  # fmt: skip


def json_fault(error: Exception, data: bytes, place: str) -> FormatError:
    """What is wrong with a JSON file that `msgspec` does not decode."""
    if not data:
        return FormatError(f"{place}: the file is empty.")
    if isinstance(error, msgspec.ValidationError):
        said, _, at = str(error).partition(" - at `$")
        at = f", {at.strip('.`')}" if at.strip("`") else ""
        return FormatError(
            f"{place}{at}: {in_words(said)}.", hint="COCO's keys: cocodataset.org/#format-data"
        )
    if isinstance(error, UnicodeDecodeError) or data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        return not_utf8(place, data)
    if isinstance(error, RecursionError):
        return FormatError(
            f"{place}: lists or objects are nested too deep.", hint="COCO nests five deep at most"
        )
    if "truncated" in str(error):
        return FormatError(
            f"{place}: the file is truncated: it ends at byte {len(data)} in the middle.",
            hint="copy it again, or export it again",
        )
    hint = None
    if re.search(rb"[:\[,]\s*-?(NaN|Infinity)", data):
        hint = "JSON has no NaN and no Infinity: write null, or leave the key out"
    elif "trailing characters" in str(error):
        hint = "one value is meant, not one in each line: put all in one list, [{…}, {…}]"
    elif b"{'" in data[:4096]:
        hint = "texts stand between double quotes: write it with json.dump"
    return FormatError(f"{place}: not JSON ({error}).", hint=hint)


def keys_of(data: bytes, place: str) -> str:
    """What a JSON file is that is not COCO, in brackets; FormatError where it is no JSON."""
    try:
        found = msgspec.json.decode(data.removeprefix(BOM_UTF8))
    except NO_JSON as error:
        raise json_fault(error, data, place) from None
    if not isinstance(found, dict):
        return ""
    keys = ", ".join(f"'{key}'" for key in [*found][:5])
    return f" (an object with {keys or 'nothing in it'})"


def in_words(said: str) -> str:
    """What `msgspec` says of a value of the wrong type."""
    if missing := _MISSING.match(said):
        return f"there is no `{missing[1]}`"
    if found := _EXPECTED.match(said):
        kinds = [kind for kind in found["wanted"].split(" | ") if kind != "null"]
        wanted = " or ".join(_WORDS.get(kind, kind) for kind in kinds)
        length = f" of {found['length']}" if found["length"] else ""
        length += f" {found['limit']}" if found["limit"] else ""
        got = f", not {_WORDS.get(found['got'], found['got'])}" if found["got"] else ""
        return f"{wanted}{length} belongs here{got}"
    return said


def refuse_twice(data: bytes, most: Iterable[tuple[bytes, int]], place: str) -> None:
    """FormatError where a key stands twice in an object, of which a parser keeps the last alone.

    `most` tells of some keys how often each can be in the text, if none stands twice; only where
    one is more often is it parsed once more, slowly.
    """
    if all(data.count(key) <= often for key, often in most):
        return

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise FormatError(
                f"{place}: the key {twice!r} stands twice in one object.",
                hint="of the two one would be lost: keep the right one",
            )
        return found

    with contextlib.suppress(RecursionError):
        text = data.decode(errors="replace")  # in what is not looked at, any bytes may stand
        json.loads(text, object_pairs_hook=once, parse_int=str, parse_float=str)
