"""What every spec file has in common: its members, its nodes, who is told; how it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from quorate.errors import InputError, SpecError, did_you_mean, nearest_file
from quorate.spec import kubernetes
from quorate.spec.base import SpecModel, load_yaml, plain, spec_error
from quorate.spec.notify import Notifications, secret_keys
from quorate.spec.pods import Pool
from quorate.spec.text import Name
from quorate.spec.words import problem
from quorate.spec.workflow import WorkflowSettings

MostPixels = Annotated[
    int | None,
    Field(
        ge=1,
        description="Pictures of more pixels are left out; default: 89,478,485, Pillow's own.",
    ),
]
Pools = Annotated[
    dict[Name, Pool],
    Field(description="On a cluster: sets of nodes, by name.", examples=[{"gpu": {"gpus": 1}}]),
]
Place = tuple[int | str, ...]
"""The keys and numbers that lead to a part of a spec."""
E = TypeVar("E", bound=SpecModel)


class Whole(SpecModel):
    """The whole of one spec file: an ensemble, or a training. It has no fields of its own.

    members_field  the field that holds its members, which have names and may name a pool
    noun           what one of them is called
    title          what the whole is called
    """

    members_field: ClassVar[str]
    noun: ClassVar[str]
    title: ClassVar[str] = "ensemble"

    @field_validator("notify", check_fields=False)
    @classmethod
    def _secrets_fit(cls, targets: Notifications) -> Notifications:
        secret_keys(targets)
        return targets

    @model_validator(mode="after")
    def _pools_fit(self) -> Self:
        members = (
            ((self.members_field, i, "pool"), one.pool) for i, one in enumerate(self.members)
        )
        check_pools(getattr(self, "pools"), getattr(self, "workflow"), members)  # noqa: B009
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [member.name for member in self.members]
        for i, name in enumerate(names):
            if name in names[:i]:
                said = f"two {self.noun}s are called '{name}', give each a name of its own"
                raise problem("name", said, (self.members_field, i, "name"))
        return self

    @property
    def members(self) -> tuple[Any, ...]:
        """Its parts that have names."""
        found: tuple[Any, ...] = getattr(self, self.members_field)
        return found

    def member(self, name: str) -> Any:
        """The member of a name; InputError where there is none."""
        named = {one.name: one for one in self.members}
        if name not in named:
            raise InputError(
                f"The {self.title} has no {self.noun} '{name}'.",
                hint=did_you_mean(name, named) or f"it has {', '.join(named)}",
            )
        return named[name]

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a spec file; relative paths in it are taken from the file's own folder."""
        return read_spec(path, cls)

    def to_yaml(self) -> str:
        """The text of an equal spec file, without the fields that have their defaults."""
        return yaml.safe_dump(plain(self), sort_keys=False, allow_unicode=True)


def read_spec(path: str | Path, *models: type[E]) -> E:
    """Read a spec file as the one of `models` whose `kind` it says, or whose members it has.

    SpecError for a file that cannot be read, a spec that does not fit, and one of a kind of
    ensemble that is none of `models`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file.", hint=nearest_file(str(path))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as text ({error}).") from None
    value = load_yaml(text, origin=str(path))
    known = {model.model_fields["kind"].default: model for model in models}
    kind = value.get("kind", next((kind for kind, field in KINDS.items() if field in value), None))
    if kind in KINDS and kind not in known:
        raise SpecError(
            f"{path}: describes a {kind}; what was asked for takes a {' or a '.join(known)} alone.",
            hint=f"quorate train {path} --plan" if kind == "Training" else None,
        )
    model = known[kind] if kind in known else models[0]
    try:
        return model.parsed(value, context={"folder": path.parent})
    except ValidationError as error:
        raise spec_error(error, value, origin=str(path), text=text) from None


KINDS = {
    "DetectionEnsemble": "detectors",
    "ClassificationEnsemble": "classifiers",
    "Training": "trainers",
}
"""What the `kind` of a spec may be, and the field of its members."""


def check_known(place: Place, what: str, name: str, known: Collection[str], are: str) -> None:
    """Refuse a name in a spec that is none of the known ones."""
    if name not in known:
        hint = did_you_mean(name, known) or f"{are} {', '.join(known)}".rstrip()
        raise problem(what, f"no {what} is called '{name}', {hint}", place)


def check_pools(
    pools: Mapping[str, Pool],
    workflow: WorkflowSettings,
    members: Iterable[tuple[Place, str | None]],
) -> None:
    """Refuse a pool that is named and is not there, and fallbacks that lead in a circle."""
    named: list[tuple[Place, str | None]] = [
        (("workflow", "pool"), workflow.pool),
        *((("workflow", "steps", step, "pool"), name) for step, name in workflow.pools.items()),
        *members,
        *((("pools", name, "fallback"), pool.fallback) for name, pool in pools.items()),
    ]
    for place, name in named:
        if name is not None:
            known = "the pools are" if pools else "there is none"
            check_known(place, "pool", name, pools, known)
    for name in pools:
        chain, after = [name], pools[name].fallback
        while after is not None and after not in chain:
            chain, after = [*chain, after], pools[after].fallback
        if after is not None:
            said = f"it leads back to '{after}' ({', '.join([*chain, after])})"
            raise problem("pool", said, ("pools", name, "fallback"))


def published(schema: dict[str, Any]) -> dict[str, Any]:
    """A whole's JSON Schema, with its dialect and Kubernetes' types."""
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kubernetes.referred(schema),
    }
    made["$defs"] |= kubernetes.definitions()
    return made
