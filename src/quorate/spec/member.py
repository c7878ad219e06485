"""What every member of an ensemble has in common, and how a kind of member is found.

A kind is an entry point of a group: its name is the spec's `kind`, its object a subclass of
`Detector` or `Classifier` with a `kind` of that name, fields of its own, and `load`. The built-in
kinds are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from quorate.errors import did_you_mean
from quorate.labels import VOCABULARIES
from quorate.spec.base import SpecModel
from quorate.spec.text import Duration, Name
from quorate.spec.words import problem

M = TypeVar("M", bound=SpecModel)


class MemberHead(SpecModel):
    """What stands first in every member's part of a spec.

    Fields stand in the order in which classes are inherited: a kind of member takes `Member` first
    and its own class of further fields, made on this one, second.
    """

    name: Name = Field(description="What it is called.", examples=["yolo"])
    kind: str = Field(description="What reads it.", examples=["onnx"])
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="The detector's word: the data set's word.",
        examples=[{"vehicle": "car"}],
    )


class Member(MemberHead):
    """One voter of an ensemble, as described; `load` makes it ready to see pictures."""

    aside: ClassVar[frozenset[str]] = frozenset({"name", "weights", "pool", "timeout", "image"})
    """The fields whose text its answers do not depend on."""

    pool: Name | None = Field(None, description="Which of the ensemble's pools it runs on.")
    timeout: Duration | None = Field(
        None, description="How long a shard may take on a cluster before it is given up: 1h30m."
    )
    image: str | None = Field(
        None, min_length=1, description="The image it runs in on a cluster; default: ours."
    )

    @property
    def voters(self) -> tuple[str, ...]:
        """The names of its votes."""
        return (self.name,)

    @property
    def files(self) -> tuple[str, ...]:
        """The files, or folders of files, that its answers depend on."""
        names = getattr(self, "names", None)
        named = isinstance(names, str) and names not in VOCABULARIES
        found = getattr(self, "weights", None), names if named else None
        return tuple(location for location in found if location)

    def load(self) -> Any:
        """Read the weights and return what answers pictures; DetectorError where that fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")


def kinds(group: str) -> dict[str, EntryPoint]:
    """Every installed kind of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def of_its_kind(
    base: type[M], group: str, advice: Callable[[str], str | None] = lambda kind: None
) -> WrapValidator:
    """What makes of a mapping the member of the kind that it names.

    `advice` says what is meant by a wrong kind most likely, where it is like none that is known.
    """

    def made(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> M:
        if isinstance(value, base) and type(value) is not base:
            return value
        if not isinstance(value, dict) or "kind" not in value:
            checked: M = handler(value)
            return checked
        known = kinds(group)
        kind = value["kind"]
        if kind not in known:
            said = f"no kind of {base.__name__.lower()} is called '{kind}'"
            if hint := did_you_mean(str(kind), known):
                raise problem("unknown_kind", f"{said}, {hint}")
            there = f"there are {', '.join(sorted(known))}"
            raise problem("unknown_kind", f"{said}; {advice(str(kind)) or there}")
        model: type[M] = known[kind].load()
        return model.parsed(value, context=info.context)

    return WrapValidator(made)
