"""`/run NAME key=value` in a comment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from quorate.errors import InputError

LONGEST = 1000
"""Characters of a command."""
_RUN = re.compile(r"(?:^|\s)/run(?:[ \t]+([^\r\n]*))?(?:[\r\n]|\Z)")
EXAMPLE = "for example /run street frames=0-99"


class Command(NamedTuple):
    """What is to be run, with which answers."""

    template: str
    values: Mapping[str, str]


def command(message: str) -> Command | None:
    """The command in a comment, the first; None where there is none.

    It stands at the beginning or after a blank, and ends with its line. A value with blanks stands
    in quotes. Raises InputError where it is no command that can be read.
    """
    found = _RUN.search(message)
    if found is None:
        return None
    text = found[1] or ""
    if len(text) > LONGEST:
        raise InputError(f"A command has at most {LONGEST:,} characters.", hint=EXAMPLE)
    try:
        name, *pairs = shlex.split(text)
    except ValueError:
        raise InputError(
            "/run: this is no command: a name is missing, or a quote is not closed.", hint=EXAMPLE
        ) from None
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"/run {name}: '{pair[:80]}' is not key=value.", hint=EXAMPLE)
        if key in values:
            raise InputError(f"/run {name}: '{key[:80]}' is given twice.")
        values[key] = value
    return Command(name, values)
