"""XML elements as lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from quorate.errors import InputError

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def sayable(text: str, what: str) -> str:
    """A text as it is; InputError for one with a character that XML cannot hold."""
    found = _FORBIDDEN.search(text)
    if found:
        raise InputError(
            f"XML cannot hold the character {found[0]!r}, which stands in {what} "
            f"{text[max(0, found.start() - 20) : found.end() + 20]!r}.",
            hint="rename it, or publish COCO alone (publish: {formats: [coco]})",
        )
    return text


def element(tag: str, inside: Any, depth: int) -> Iterator[str]:
    """The lines of an element and of all below it, two spaces deeper with each level.

    `inside` is its text; or its children: a mapping by their tags, or a list of what is inside
    each, whose tag is this one without its "s".
    """
    pad = "  " * depth
    children: Iterable[tuple[str, Any]]
    if isinstance(inside, Mapping):
        children = inside.items()
    elif isinstance(inside, list):
        children = [(tag.removesuffix("s"), one) for one in inside]
    else:
        yield f"{pad}<{tag}>{escape(sayable(str(inside), 'the value'))}</{tag}>"
        return
    yield f"{pad}<{tag}>"
    for child, within in children:
        yield from element(child, within, depth + 1)
    yield f"{pad}</{tag}>"
