"""How the learning rate goes: lengths in epochs, heights as shares of the trainer's rate.

`quorate.training.schedules` computes the values, and needs no trainer for it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from quorate.spec.base import SpecModel
from quorate.spec.words import problem

Epochs = Annotated[float, Field(ge=0.0, le=100_000.0, allow_inf_nan=False)]
Height = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Warmed(SpecModel):
    warmup: Epochs | None = Field(
        None,
        description="Epochs in which the rate rises from nothing, in a straight line; default: a "
        "twentieth of all, at most one.",
        examples=[2],
    )

    def rise(self, epochs: float) -> float:
        """Epochs of the warm-up, of so many in all."""
        return min(epochs / 20, 1.0) if self.warmup is None else self.warmup


class Constant(_Warmed):
    """The same rate to the end."""

    method: Literal["constant"] = "constant"


class Cosine(_Warmed):
    """Half a cosine down to `floor`, and there it stays while it cools down.

    Annealing: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts. Weights averaged over
    a tail of low rates: Izmailov et al. 2018, arXiv:1803.05407.
    """

    method: Literal["cosine"] = "cosine"
    floor: Height = Field(0.01, description="The share of the rate that is left in the end.")
    cooldown: Epochs = Field(
        0.0, description="Epochs at the end that stay at the floor.", examples=[5]
    )
    average: bool = Field(
        True, description="Take the mean of the weights of all steps of the cool-down."
    )


class Step(_Warmed):
    """Times `factor` after each of these epochs, as DETR and torchvision's recipes have it."""

    method: Literal["step"] = "step"
    at: tuple[Epochs, ...] = Field(
        min_length=1, max_length=64, description="After which epochs.", examples=[[30, 40]]
    )
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1, description="What is left of the rate each time."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for i, (one, after) in enumerate(pairwise(self.at)):
            if after <= one:
                raise problem("at", f"{after:g} stands after {one:g}", ("at", i + 1))
        return self


class OneCycle(SpecModel):
    """Up and down once, both as half a cosine (Smith and Topin 2018, arXiv:1708.07120)."""

    method: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.3, description="The share of all steps in which it rises."
    )
    start: Height = Field(0.04, description="The share of the rate that it begins with.")
    floor: Height = Field(4e-6, description="The share of the rate that is left in the end.")


Schedule = Cosine | Step | OneCycle | Constant
SCHEDULES: tuple[str, ...] = tuple(
    kind.model_fields["method"].default for kind in get_args(Schedule)
)


def _by_method(value: Any) -> Any:
    """`schedule: cosine` is short for `schedule: {method: cosine}`; `one-cycle` is `one_cycle`."""
    value = {"method": value} if isinstance(value, str) else value
    if isinstance(value, dict) and isinstance(value.get("method"), str):
        return value | {"method": value["method"].lower().replace("-", "_")}
    return value


_WRITTEN: Any = Annotated[Schedule, Field(discriminator="method")] | str
ScheduleField = Annotated[
    Annotated[Schedule, Field(discriminator="method")],
    BeforeValidator(_by_method, json_schema_input_type=_WRITTEN),
]


def check_length(schedule: Schedule, epochs: int) -> None:
    """Refuse, as a problem of the field `schedule`, what is longer than all the epochs.

    The parts of `OneCycle` are shares, so they always fit.
    """
    whole = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if isinstance(schedule, Step) and schedule.at[-1] >= epochs:
        said = f"a step after epoch {schedule.at[-1]:g} never comes: there are {whole}"
        raise problem("schedule", said, ("schedule", "at"))
    words = {"warmup": "warm-up", "cooldown": "cool-down"}
    given = {name: getattr(schedule, name, None) for name in words}
    parts = {name: length for name, length in given.items() if length}
    if sum(parts.values()) > epochs or parts.get("warmup", 0.0) >= epochs:
        told = " and ".join(f"a {words[name]} of {length:g}" for name, length in parts.items())
        said = f"{told} {'do' if len(parts) > 1 else 'does'} not fit into {whole}"
        raise problem("schedule", said, ("schedule", next(iter(parts))))
