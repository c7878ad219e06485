"""What every ensemble's spec has in common, whatever its members say of a picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from quorate.errors import SpecError, did_you_mean, nearest_file
from quorate.spec import kubernetes
from quorate.spec.base import Location, SpecModel, load_yaml, plain, spec_error
from quorate.spec.calibration import Calibration
from quorate.spec.member import Member
from quorate.spec.notify import Notifications, secret_keys
from quorate.spec.pods import Pool
from quorate.spec.text import Name
from quorate.spec.words import patterned, problem
from quorate.spec.workflow import WorkflowSettings

_FOLDER = r"^([^/\\.][^/\\]*(/[^/\\.][^/\\]*)*/?)?$"
Folder = Annotated[
    str,
    patterned(_FOLDER, "a folder such as street/day"),
    Field(
        description="In the CVAT and COCO files, before the names of the pictures: where a task "
        "of CVAT has them below a folder of its share or cloud storage.",
        examples=["street/day"],
    ),
]
Share = Annotated[
    float, Field(gt=0.0, le=1.0, description="The most such pictures, as a share of all.")
]
Place = tuple[int | str, ...]
"""The keys and numbers that lead to a part of a spec."""
E = TypeVar("E", bound=SpecModel)


class EnsembleHead(SpecModel):
    """What stands first in every spec.

    Fields stand in the order in which classes are inherited: a kind of ensemble takes `Ensemble`
    first and its own class of members and fusion, made on this one, second.
    """

    kind: str
    name: Name = Field(description="What it is called.", examples=["street"])
    data: Location | None = Field(
        None,
        description="Folder of pictures, COCO or CVAT data set, ZIP; relative to this file.",
        examples=["pictures"],
    )
    labels: tuple[str, ...] = Field(
        (), description="Default: the data set's own.", examples=[["car", "person"]]
    )


class Ensemble(EnsembleHead):
    """The whole of one spec file; `EnsembleSpec` and `ClassificationSpec` say who votes, and how.

    members_field  the field that holds its members
    noun           what one of them is called
    """

    members_field: ClassVar[str]
    noun: ClassVar[str]

    quorum: int | None = Field(
        None, ge=1, description="Detectors that must finish; default: more than half."
    )
    publish: Any
    max_pixels: int | None = Field(
        None,
        ge=1,
        description="Pictures of more pixels are left out; default: 89,478,485, Pillow's own.",
    )
    pools: dict[Name, Pool] = Field(
        default_factory=dict,
        description="On a cluster: sets of nodes, by name.",
        examples=[{"gpu": {"gpus": 1}}],
    )
    workflow: WorkflowSettings = Field(
        WorkflowSettings(),
        description="On a cluster: what its workflows share.",
        examples=[{"namespace": "vision"}],
    )
    notify: Notifications = Field(
        (),
        description="Who is told how a run went.",
        examples=[[{"kind": "slack", "url": {"secret": "quorate-notify", "key": "slack"}}]],
    )

    @field_validator("notify")
    @classmethod
    def _secrets_fit(cls, targets: Notifications) -> Notifications:
        secret_keys(targets)
        return targets

    @model_validator(mode="after")
    def _pools_fit(self) -> Self:
        members = (
            ((self.members_field, i, "pool"), one.pool) for i, one in enumerate(self.members)
        )
        check_pools(self.pools, self.workflow, members)
        return self

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        names = [member.name for member in self.members]
        for i, name in enumerate(names):
            if name in names[:i]:
                said = f"two {self.noun}s are called '{name}', give each a name of its own"
                raise problem("name", said, (self.members_field, i, "name"))
        if self.quorum is not None and self.quorum > len(names):
            said = f"a quorum of {self.quorum} of {len(names)} {self.noun}s cannot be had"
            raise problem("quorum", said, ("quorum",))
        for i, member in enumerate(self.members if self.labels else ()):
            for theirs, name in member.labels.items():
                place = (self.members_field, i, "labels", theirs)
                check_known(place, "label", name, self.labels, "labels are")
        return self

    @property
    def members(self) -> tuple[Member, ...]:
        """Who votes."""
        found: tuple[Member, ...] = getattr(self, self.members_field)
        return found

    @property
    def rule(self) -> Any:
        """How they decide: the field `fusion`, whatever its type."""
        return getattr(self, "fusion")  # noqa: B009 - declared beside the members

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """The calibration of each voter whose member has one."""
        return {}

    @property
    def needed(self) -> int:
        """How many members must finish: the quorum, by default more than half of them."""
        return len(self.members) // 2 + 1 if self.quorum is None else self.quorum

    def where(self) -> str:
        """Where the pictures are; SpecError where the spec does not say it."""
        if self.data is None:
            raise SpecError(
                "No data: the spec does not say where the pictures are.",
                hint="add `data: FOLDER` to the spec, or name it on the command line",
            )
        return self.data

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


def schema_of(model: type[Ensemble], kinds: Mapping[str, EntryPoint]) -> dict[str, Any]:
    """The JSON Schema of specs, with the installed kinds of members, and Kubernetes' types."""
    schema = model.model_json_schema()
    definitions = schema["$defs"]
    choices = []
    for name, point in sorted(kinds.items()):
        kind = point.load().model_json_schema()
        definitions |= kind.pop("$defs", {})
        definitions[kind["title"]] = kind
        choices.append({"$ref": f"#/$defs/{kind['title']}"})
        kind.setdefault("required", []).append("kind")
        kind["properties"]["kind"] = {"const": name, "title": "Kind"}
    schema["properties"][model.members_field]["items"] = {"oneOf": choices}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kubernetes.referred(schema),
    }
    schema["$defs"] |= kubernetes.definitions()
    return schema
