"""The right label of each picture, from a list that a person wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from quorate.client.answers import Label
from quorate.errors import FormatError
from quorate.storage import read_bytes

LINE = re.compile(r"(?P<file>.*?\S)\s*[,;\t]\s*(?P<label>\S.*)|(?P<path>\S+)\s+(?P<word>\S.*)")


class Truth:
    """Labels by picture; a line of the file is a picture and its label, or the label's number.

    Between them stands a comma, a semicolon, a tab or blanks. A picture is named by its path or by
    its file name alone.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    @classmethod
    def read(cls, path: str) -> Truth:
        """FormatError for a line that is no picture with its label, or a picture named twice."""
        labels: dict[str, str] = {}
        for number, line in enumerate(read_bytes(path).decode("utf-8-sig").splitlines(), 1):
            if not line.strip():
                continue
            found = LINE.fullmatch(line.strip())
            if found is None:
                raise FormatError(
                    f"{path}, line {number}: expected a picture and its label, found {line!r}."
                )
            file = found["file"] or found["path"]
            label = (found["label"] or found["word"]).strip()
            if labels.setdefault(file, label) != label:
                raise FormatError(f"{path}, line {number}: '{file}' has another label above.")
        return cls(labels)

    def of(self, picture: str) -> str | None:
        """The label of a picture; None where the list lacks it."""
        return self.labels.get(picture, self.labels.get(PurePath(picture).name))

    def right(self, picture: str, said: Label) -> bool | None:
        """Whether a label is the right one, by its name or its number; None where none is known."""
        label = self.of(picture)
        return None if label is None else label in (said.label, str(said.index))


def accuracy(rights: Sequence[bool | None]) -> float | None:
    """The share of right ones, 0..1, among those that are known; None where none is."""
    known = [one for one in rights if one is not None]
    return sum(known) / len(known) if known else None
