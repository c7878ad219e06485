"""XML that nobody vouches for, parsed; and XML elements as lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import defusedxml.ElementTree as ET  # noqa: N817  its usual name
from defusedxml import DefusedXmlException

from quorate.errors import FormatError, InputError
from quorate.formats.base import Source

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def parsed(source: Source, name: str, tag: str) -> Any:
    """The root element of a file; FormatError where it is no whole XML, or has another tag."""
    data, place = source.tree.read(name), source.place(name)
    if not data.strip():
        raise FormatError(f"{place}: the file is empty.")
    try:
        root = ET.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise FormatError(f"{place}: a DOCTYPE, which may hide a bomb.") from None
    except (ET.ParseError, UnicodeDecodeError, LookupError, ValueError) as error:
        raise FormatError(f"{place}: not whole XML ({error}).") from None
    if root.tag != tag:
        raise FormatError(f"{place}: the root is <{root.tag}>, not <{tag}>.")
    return root


def once(element: Any, tag: str, place: str) -> None:
    """FormatError for an element that stands twice, of which one would be lost."""
    if len(element.findall(tag)) > 1:
        raise FormatError(f"{place}: has more than one <{tag.rpartition('/')[2]}>.")


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


def document(tag: str, inside: Any) -> bytes:
    """A file of one element, as `element` has it."""
    return "\n".join([*element(tag, inside, 0), ""]).encode()


def element(tag: str, inside: Any, depth: int) -> Iterator[str]:
    """The lines of an element and of all below it, two spaces deeper with each level.

    `inside` is its text; or its children: a mapping by their tags, a tuple of pairs (tag, inside),
    or a list of what is inside each, whose tag is this one without its "s".
    """
    pad = "  " * depth
    children: Iterable[tuple[str, Any]]
    if isinstance(inside, Mapping):
        children = inside.items()
    elif isinstance(inside, tuple):
        children = inside
    elif isinstance(inside, list):
        children = [(tag.removesuffix("s"), one) for one in inside]
    else:
        yield f"{pad}<{tag}>{escape(sayable(str(inside), 'the value'))}</{tag}>"
        return
    yield f"{pad}<{tag}>"
    for child, within in children:
        yield from element(child, within, depth + 1)
    yield f"{pad}</{tag}>"
