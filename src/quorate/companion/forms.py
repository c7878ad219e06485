"""What can be started and what it asks of a person; answers of a form, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from quorate.errors import InputError, did_you_mean
from quorate.spec.workflow import Visibility, Widget

LONGEST, LINE = 20_000, 1_000
"""Characters of one answer, and of one that is a single line."""


class FormError(InputError):
    """Answers that cannot be taken: a sentence for each field by its name."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__(" ".join(wrong.values()))
        self.wrong = dict(wrong)


@dataclass(frozen=True)
class Field:
    """One parameter.

    label, hint  what a person reads; text, never markup
    value        what it is where nobody says otherwise
    options      of a select: each value, in order
    visibility   only public ones are asked for; the value of the others is submitted as it is
    least, most  of a number; None: no limit
    pattern      of a text: a regular expression, and what it means
    """

    name: str
    label: str = ""
    hint: str = ""
    widget: Widget = "text"
    value: str = ""
    options: tuple[str, ...] = ()
    required: bool = False
    visibility: Visibility = "public"
    least: float | None = None
    most: float | None = None
    pattern: tuple[str, str] | None = None

    @property
    def shown(self) -> str:
        """Its label, or its name where it has none."""
        return self.label or self.name

    def wrong(self, value: str) -> str | None:
        """What is wrong with an answer, in a sentence."""
        if not value:
            return f"{self.shown}: is needed." if self.required else None
        most = LONGEST if self.widget == "textarea" else LINE
        if len(value) > most:
            return f"{self.shown}: is longer than {most:,} characters."
        if self.widget in ("select", "nodepool") and self.options and value not in self.options:
            near = did_you_mean(value, self.options) or "choose one of the list."
            return f"{self.shown}: '{value[:80]}' is not among what there is; {near}"
        if self.widget == "number":
            return self._no_number(value)
        if self.widget != "textarea" and ("\n" in value or "\r" in value):
            return f"{self.shown}: is one line."
        if self.pattern and not re.fullmatch(self.pattern[0], value, re.ASCII):
            return f"{self.shown}: '{value[:80]}' is not {self.pattern[1]}."
        return None

    def _no_number(self, value: str) -> str | None:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not value.isascii() or "_" in value:
            return f"{self.shown}: '{value[:80]}' is no number."
        if self.least is not None and number < self.least:
            return f"{self.shown}: is at least {self.least:g}."
        if self.most is not None and number > self.most:
            return f"{self.shown}: is at most {self.most:g}."
        return None


REPLACE = Field(
    "replace",
    "Let boxes of earlier runs make way",
    "Only those that nobody has touched since. What people drew stays in any case.",
    widget="checkbox",
)
TRACKS = Field(
    "tracks",
    "Join the boxes of a video to tracks",
    "For tasks of a video.",
    widget="checkbox",
)


@dataclass(frozen=True)
class Template:
    """Something that can be started.

    name     as it stands in addresses
    runner   who carries it out: "here", or "cluster"
    trains   whether it learns from the task's own shapes
    wrong    why it cannot be started, for who wrote it
    """

    name: str
    title: str
    description: str
    runner: Literal["here", "cluster"]
    fields: tuple[Field, ...] = field(default=())
    trains: bool = False
    wrong: str = ""

    @property
    def asked(self) -> list[Field]:
        """The fields that a person sees, in the template's order."""
        return [one for one in self.fields if one.visibility == "public"]

    def defaults(self) -> dict[str, str]:
        """Every field's own value."""
        return {one.name: one.value for one in self.fields}

    def checked(self, given: Mapping[str, str]) -> dict[str, str]:
        """All values of a run: what was given, and of the rest its own.

        Raises FormError for a name that is not asked for, and for values that do not fit.
        """
        asked = {one.name: one for one in self.asked}
        values = self.defaults() | {
            name: value.replace("\r\n", "\n").strip() for name, value in given.items()
        }
        wrong = {
            name: f"{self.title} has no field '{name[:80]}'."
            for name in given.keys() - asked.keys()
        }
        for name, one in asked.items():
            said = one.wrong(values[name])
            if said:
                wrong[name] = said
        if wrong:
            raise FormError(wrong)
        return values
