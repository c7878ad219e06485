"""XML elements as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape


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
        yield f"{pad}<{tag}>{escape(str(inside))}</{tag}>"
        return
    yield f"{pad}<{tag}>"
    for child, within in children:
        yield from element(child, within, depth + 1)
    yield f"{pad}</{tag}>"
