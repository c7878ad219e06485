"""Maps from a detector's score to the probability that its box is right: a few plain numbers.

Every map rises, so a detector's boxes keep their order, and its AP stays the same. `quorate
calibrate` fits them; `quorate.fusion.calibrate` applies them before boxes are fused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-100.0, le=100.0, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]

LEAST_APART = 5e-7  # scores have six decimals: closer ones are equal


class Temperature(SpecModel):
    """One number divides the score's logit (Guo et al. 2017, arXiv:1706.04599)."""

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(ge=0.01, le=100.0, examples=[1.5])


class Beta(SpecModel):
    """logit(p) = a ln(s) - b ln(1 - s) + c (Kull et al. 2017); with a = b it is Platt's map."""

    method: Literal["beta"] = "beta"
    a: Exponent = Field(examples=[1.1])
    b: Exponent = Field(examples=[0.9])
    c: Number = Field(examples=[0.2])

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.a + self.b == 0:
            raise ValueError("with a = b = 0 every score would be the same")
        return self


class Isotonic(SpecModel):
    """Straight lines between knots [score, probability] (Zadrozny and Elkan 2002).

    Outside the first and the last knot the probability is theirs.
    """

    method: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[Share, Share], ...] = Field(
        min_length=2,
        max_length=256,
        description="Scores and their probabilities.",
        examples=[[[0, 0], [0.5, 0.3], [1, 1]]],
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for (score, probability), (next_score, next_probability) in pairwise(self.knots):
            if next_score - score < LEAST_APART or next_probability < probability:
                raise ValueError(
                    f"knots must rise: [{next_score:g}, {next_probability:g}] stands after "
                    f"[{score:g}, {probability:g}]"
                )
        return self


ScoreMap = Annotated[Temperature | Beta | Isotonic, Field(discriminator="method")]


class _WithLabels(SpecModel):
    categories: dict[str, ScoreMap] = Field(
        default_factory=dict,
        description="Label: a map of its own.",
        examples=[{"car": {"method": "temperature", "temperature": 1.5}}],
    )


class TemperatureCalibration(_WithLabels, Temperature):
    """A temperature for all labels, save those with a map of their own."""


class BetaCalibration(_WithLabels, Beta):
    """A beta map for all labels, save those with a map of their own."""


class IsotonicCalibration(_WithLabels, Isotonic):
    """Knots for all labels, save those with a map of their own."""


Calibration = TemperatureCalibration | BetaCalibration | IsotonicCalibration
CalibrationField = Annotated[Calibration, Field(discriminator="method")]
