"""How values show themselves: on a line that fits a screen, and as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDE = 80
"""Most characters of one field."""
ROWS = 10
"""Most rows of a table."""


def merged(remarks: Iterable[str]) -> list[str]:
    """Each remark `who: what` once; of several that say the same, one: `who, who: what`."""
    told: dict[str, list[str]] = {}
    for remark in dict.fromkeys(remarks):
        who, colon, what = remark.partition(": ")
        told.setdefault(what if colon else remark, []).append(who)
    return [
        what if names == [what] else f"{', '.join(names)}: {what}" for what, names in told.items()
    ]


def brief(value: object) -> str:
    """The repr of a dataclass, a struct or a named tuple; it stands there as `__repr__ = brief`.

    Of an array it has the type and the shape, of another long field how many there are.
    """
    kinds = ("__struct_fields__", "__dataclass_fields__", "_fields")
    fields: Iterable[str] = next(getattr(value, kind) for kind in kinds if hasattr(value, kind))
    said = (f"{name}={of_field(getattr(value, name))}" for name in fields if name[0] != "_")
    return f"{type(value).__name__}({', '.join(said)})"


def of_field(value: Any) -> str:
    """A field of such a repr."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{value.dtype} {' × '.join(f'{length:,}' for length in value.shape)}>"
    text = repr(value)
    if len(text) <= WIDE:
        return text
    if isinstance(value, str):
        return f"{text[: WIDE - 1]}…"
    if isinstance(value, Mapping):
        return f"<{len(value):,} entries>"
    if isinstance(value, Sequence | set | frozenset):
        kinds = {type(one).__name__ for one in value}
        return f"<{len(value):,} × {' | '.join(sorted(kinds))}>"
    return f"<{type(value).__name__}{f' of {len(value):,}' if hasattr(value, '__len__') else ''}>"


def html_table(title: str, rows: Iterable[Mapping[str, object]], more: int = 0) -> str:
    """A table for a notebook; `more` rows are there that are not shown."""
    rows = [*rows]
    head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row.values())}</tr>"
        for row in rows
    )
    rest = f"<p>… and {more:,} more</p>" if more else ""
    return f"<p><b>{escape(title)}</b></p><table><tr>{head}</tr>{body}</table>{rest}"


def cell(value: object) -> str:
    """A value as tables show it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
