"""Small pieces of HTML. Every text that is not ours passes through `text`."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence

# Control characters are not allowed in HTML, and those that turn the direction of writing can
# make a name look like another; both are shown, not obeyed.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

QUORUM = "quorum"


def plain(value: object) -> str:
    """Any value as text that shows all it holds; not escaped, for data that a script reads."""
    return _UNSHOWN.sub("�", str(value))


def text(value: object) -> str:
    """Any value as text that is safe in an element and in a quoted attribute."""
    return html.escape(plain(value), quote=True)


def coded(sentence: str) -> str:
    """A sentence whose commands stand between backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text(sentence))


def name(value: object) -> str:
    """A name of the user's, kept apart from the direction of the writing around it."""
    return f"<bdi>{text(value)}</bdi>"


def short(value: str, most: int) -> str:
    """Plain text of at most `most` characters, not yet escaped."""
    return value if len(value) <= most else value[: most - 1] + "…"


def count(number: int) -> str:
    """1234567 -> 1,234,567."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """2, 'picture' -> 2 pictures."""
    plural = noun + ("es" if noun.endswith(("x", "s", "ch")) else "s")
    return f"{count(number)} {noun if number == 1 else plural}"


def figure(value: float | None) -> str:
    """A share of one, to three places; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def percent(part: float, whole: float) -> str:
    """A share in whole percents, in one piece."""
    return f"{100 * part / whole:.0f}\N{NO-BREAK SPACE}%" if whole else "–"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def series(position: int | None) -> str:
    """The class that gives a detector its colour and dash; None is the quorum."""
    return "s-q" if position is None else f"s-{position % 8}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, classes: str = "") -> str:
    """A table of cells that are markup already; the first column names the row."""
    first, *others = head
    lines = [
        f'<div class="scroll {classes}"><table><thead><tr><th scope="col">{first}</th>',
        *(f'<th scope="col" class="n">{cell}</th>' for cell in others),
        "</tr></thead><tbody>",
    ]
    for first, *others in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    return "".join(lines)


def heat(value: float | None, *, best: bool = False) -> str:
    """A table cell of a share of one, tinted by it."""
    if value is None or math.isnan(value):
        return '<td class="none">–</td>'
    tone = f'<td class="heat{" best" if best else ""}" style="--v:{value:.3f}">'
    return f"{tone}{value:.3f}</td>"


def section(anchor: str, title: str, lead: str, body: str) -> str:
    """A part of the page: its title, a sentence or two on how to read it, its figures."""
    return f'<section id="{anchor}"><header><h2>{title}</h2><p>{lead}</p></header>{body}</section>'
