"""Test-time augmentation as a spec describes it: views of a picture, and tiles.

A view is written as its name and its numbers, joined by dashes: `hflip`, `scale-1.25`,
`translate-0.1--0.05`, where the second dash of `--` is a minus. Missing numbers have the defaults
below. `quorate.tta` says what a view does to pixels and boxes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, PositiveInt

from quorate.errors import did_you_mean
from quorate.spec.base import SpecModel


class Number(NamedTuple):
    """One number of a view: its name, default, and the range it must lie in, ends included."""

    name: str
    default: float
    low: float
    high: float
    whole: bool = False
    idle: float | None = None
    """The value that would not change the picture; it is refused."""


_POWER = Number("power", 0.9, 0.1, 10, idle=1)

GEOMETRIC: dict[str, tuple[Number, ...]] = {
    "hflip": (),
    "vflip": (),
    "hvflip": (),
    "transpose": (),
    "transverse": (),
    "rotate": (Number("degrees", 10, -359, 359, idle=0),),
    "scale": (Number("factor", 0.8, 0.1, 4, idle=1),),
    "translate": (Number("x", 0.1, -0.9, 0.9), Number("y", 0.1, -0.9, 0.9)),
    "shear-x": (Number("degrees", 10, -60, 60, idle=0),),
    "shear-y": (Number("degrees", 10, -60, 60, idle=0),),
    "crop": (Number("share", 0.8, 0.1, 0.99), Number("x", 0.5, 0, 1), Number("y", 0.5, 0, 1)),
    "elastic": (Number("share", 0.02, 0.001, 0.05),),
}
PHOTOMETRIC: dict[str, tuple[Number, ...]] = {
    "average-blur": (Number("radius", 2, 0.1, 50),),
    "gaussian-blur": (Number("sigma", 1.1, 0.1, 50),),
    "median-blur": (Number("side", 3, 3, 5, whole=True),),
    "bilateral-blur": (Number("radius", 2, 1, 10, whole=True), Number("sigma", 30, 1, 255)),
    "motion-blur": (Number("length", 9, 3, 99, whole=True), Number("degrees", 0, -180, 180)),
    "sharpen": (Number("factor", 2, 0, 10, idle=1),),
    "gaussian-noise": (Number("sigma", 10, 0.1, 128),),
    "salt-and-pepper": (Number("share", 0.02, 0.0001, 0.9),),
    "dropout": (Number("share", 0.05, 0.0001, 0.9),),
    "brightness": (Number("factor", 1.2, 0, 10, idle=1),),
    "contrast": (Number("factor", 1.3, 0, 10, idle=1),),
    "gamma": (Number("gamma", 1.5, 0.1, 10, idle=1),),
    "autocontrast": (Number("percent", 1, 0, 45),),
    "equalise": (),
    "clahe": (Number("limit", 2, 1, 100), Number("tiles", 8, 1, 64, whole=True)),
    "saturation": (Number("factor", 1.4, 0, 10, idle=1),),
    "hue": (Number("degrees", 18, -180, 180, idle=0),),
    "raise-red": (_POWER,),
    "raise-green": (_POWER,),
    "raise-blue": (_POWER,),
    "raise-hue": (_POWER,),
    "raise-saturation": (_POWER,),
    "raise-value": (_POWER,),
    "channel-shift": (
        Number("red", 20, -255, 255),
        Number("green", -20, -255, 255),
        Number("blue", 20, -255, 255),
    ),
    "channel-shuffle": (Number("order", 3, 1, 5, whole=True),),
    "hsv": (),
    "lab": (),
    "grey": (),
    "invert": (),
    "posterise": (Number("bits", 4, 1, 7, whole=True),),
    "solarise": (Number("threshold", 128, 0, 255, whole=True),),
    "jpeg": (Number("quality", 50, 1, 95, whole=True),),
}
NUMBERS = {**GEOMETRIC, **PHOTOMETRIC}
_WRITTEN = re.compile(r"([a-z]+(?:-[a-z]+)*)((?:--?[0-9]+(?:\.[0-9]+)?)*)")
_NUMBER = re.compile(r"-(-?[0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class View:
    """The description of one view: the name of what is done, and all of its numbers."""

    name: str
    numbers: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> View:
        """Parse a view as a spec writes it; a ValueError says what is wrong with it."""
        if text == "identity":
            raise ValueError("the picture as it is, is always the first view; leave 'identity' out")
        if (match := _WRITTEN.fullmatch(text)) is None:
            name = re.split(r"-+[0-9.]", text)[0]
            known = did_you_mean(name, NUMBERS)
            like = f", {known}" if known else "; a view is a name and numbers, such as scale-1.25"
            raise ValueError(f"'{text}' is no view{like}")
        name, given = match[1], [float(number) for number in _NUMBER.findall(match[2])]
        if name not in NUMBERS:
            hint = did_you_mean(name, NUMBERS) or f"there are {', '.join(sorted(NUMBERS))}"
            raise ValueError(f"no view is called '{name}', {hint}")
        numbers = NUMBERS[name]
        if len(given) > len(numbers):
            takes = ", ".join(n.name for n in numbers)
            raise ValueError(f"'{name}' takes {takes or 'no number'}, '{text}' has {len(given)}")
        for number, value in zip(numbers, given, strict=False):
            _check(name, number, value)
        view = cls(name, (*given, *(n.default for n in numbers[len(given) :])))
        if name in ("translate", "channel-shift") and not any(view.numbers):
            raise ValueError(f"'{text}' would leave the picture as it is")
        return view


def _check(name: str, number: Number, value: float) -> None:
    within = number.low <= value <= number.high
    if not within or (number.whole and value != math.floor(value)):
        wanted = f"{'a whole number ' * number.whole}between {number.low:g} and {number.high:g}"
        raise ValueError(f"'{name}': {number.name} must be {wanted}, not {value:g}")
    if name == "median-blur" and value % 2 == 0:
        raise ValueError("'median-blur': side must be 3 or 5, not 4")
    if value == number.idle:
        raise ValueError(f"'{name}': {number.name} {value:g} would leave the picture as it is")


def _view(text: str) -> str:
    View.parse(text)
    return text


def _told_apart(texts: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[View, str] = {}
    for text in texts:
        other = seen.setdefault(View.parse(text), text)
        if other is not text:
            raise ValueError(f"'{other}' and '{text}' are the same view")
    return texts


_Written = Annotated[str, AfterValidator(_view), Field(examples=["hflip", "scale-0.8"])]
Views = Annotated[tuple[_Written, ...], AfterValidator(_told_apart)]
"""The views in addition to the unchanged picture, as the spec writes them."""


class Tiles(SpecModel):
    """Cut a large picture into overlapping tiles, so that small objects stay large enough."""

    size: PositiveInt | tuple[PositiveInt, PositiveInt] = Field(
        640,
        description="Pixels of a tile's side, or [height, width].",
        examples=[640, [480, 640]],
    )
    overlap: float = Field(
        0.2, ge=0.0, le=0.75, description="Least overlap of neighbours, as a share of a tile."
    )
    whole: bool = Field(
        True, description="Show the whole picture too, for objects larger than a tile."
    )

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of a tile."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
