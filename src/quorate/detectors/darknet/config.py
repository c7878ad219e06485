"""darknet's .cfg: sections of `key=value`, read as darknet's parser.c reads them, but strictly.

Blanks count nowhere, `#` and `;` begin comments, a section may stand any number of times, the
first of two equal keys in a section wins, and a key that nobody asks for is passed over. What
darknet lets pass as 0 (`filters=abc`) is an error here, with its line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from quorate.errors import DetectorError, did_you_mean

MAX_BYTES = 1 << 20
MAX_SECTIONS = 2000
MAX_NUMBERS = 1000
"""Numbers in one list; YOLOv4 has 18 anchors' sides in one, DenseNet-like routes some dozens."""

_INTEGER = re.compile(r"[+-]?\d{1,9}")
_NUMBER = re.compile(r"[+-]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,3})?")


@dataclass(frozen=True)
class Section:
    """One `[name]` with its options, and where it stands.

    options  key: (value without blanks, line)
    """

    name: str
    line: int
    origin: str
    options: dict[str, tuple[str, int]] = field(default_factory=dict)

    def integer(self, key: str, default: int, *, least: int, most: int) -> int:
        """A whole number within bounds; DetectorError with its line where it is none."""
        given = self.options.get(key)
        return self._integer(key, given[0], least, most) if given else default

    def integers(self, key: str, *, least: int, most: int) -> tuple[int, ...]:
        """A list of whole numbers, () where there is none; likewise."""
        return tuple(self._integer(key, text, least, most) for text in self._list(key))

    def number(self, key: str, default: float, *, least: float, most: float) -> float:
        """A number within bounds; likewise."""
        given = self.options.get(key)
        return self._number(key, given[0], least, most) if given else default

    def numbers(self, key: str, *, least: float, most: float) -> tuple[float, ...]:
        """A list of numbers, () where there is none; likewise."""
        return tuple(self._number(key, text, least, most) for text in self._list(key))

    def word(self, key: str, default: str, known: Collection[str]) -> str:
        """One of the known words; likewise."""
        text = self.options[key][0] if key in self.options else default
        if text not in known:
            raise self.error(
                f"{key}={text} is not known here; {', '.join(known)} are",
                key=key,
                hint=did_you_mean(text, known),
            )
        return text

    def refuse(self, *keys: str, harmless: str = "0") -> None:
        """DetectorError where one of the keys, which would change the result, is set."""
        for key in keys:
            if key in self.options and self.options[key][0] != harmless:
                raise self.error(f"{key}={self.options[key][0]} is not supported", key=key)

    def error(
        self, problem: str, *, key: str | None = None, hint: str | None = None
    ) -> DetectorError:
        """One sentence with file, line and section."""
        line = self.options[key][1] if key in self.options else self.line
        return DetectorError(f"{self.origin}:{line}: [{self.name}]: {problem}.", hint=hint)

    def _list(self, key: str) -> list[str]:
        text = self.options[key][0] if key in self.options else ""
        if text.count(",") > MAX_NUMBERS:
            raise self.error(f"{key} lists more than {MAX_NUMBERS} numbers", key=key)
        # YOLOv2's own files end lists in a comma.
        return text.removesuffix(",").split(",") if text else []

    def _integer(self, key: str, text: str, least: int, most: int) -> int:
        if not _INTEGER.fullmatch(text):
            raise self.error(f"{key}={_short(text)} is not a whole number", key=key)
        if not least <= (value := int(text)) <= most:
            raise self.error(f"{key}={value} is outside {least}..{most}", key=key)
        return value

    def _number(self, key: str, text: str, least: float, most: float) -> float:
        if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
            raise self.error(f"{key}={_short(text)} is not a number", key=key)
        if not least <= value <= most:
            raise self.error(f"{key}={value:g} is outside {least:g}..{most:g}", key=key)
        return value


def read_config(data: bytes | bytearray, *, origin: str) -> list[Section]:
    """The sections of a .cfg file in their order, the first `net`; DetectorError with the line."""
    if len(data) > MAX_BYTES or b"\0" in data:
        raise DetectorError(
            f"{origin}: not a darknet cfg, which is a short text.",
            hint="are `cfg` and `weights` swapped?",
        )
    sections: list[Section] = []
    for line, text in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        text = "".join(re.split(r"[#;]", text, maxsplit=1)[0].split())
        if not text:
            continue
        if text.startswith("["):
            if not re.fullmatch(r"\[\w+\]", text):
                raise DetectorError(f"{origin}:{line}: {_short(text)} is not a [section].")
            sections.append(Section(text[1:-1].lower(), line, origin))
            if len(sections) > MAX_SECTIONS:
                raise DetectorError(f"{origin}:{line}: more than {MAX_SECTIONS} sections.")
            continue
        key, equals, value = text.partition("=")
        if not equals or not sections:
            raise DetectorError(
                f"{origin}:{line}: {_short(text)} is neither a [section] nor a key=value in one."
            )
        sections[-1].options.setdefault(key, (value, line))
    if not sections:
        raise DetectorError(f"{origin}: not a darknet cfg: there is no [section] in it.")
    if sections[0].name not in ("net", "network"):
        raise sections[0].error("the first section of a cfg is [net]")
    return sections


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
