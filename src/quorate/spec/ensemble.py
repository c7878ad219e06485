"""What every ensemble's spec has in common, whatever its members say of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from quorate.errors import SpecError
from quorate.spec.base import Location
from quorate.spec.calibration import Calibration
from quorate.spec.member import Member
from quorate.spec.notify import Notifications
from quorate.spec.text import Name
from quorate.spec.whole import MostPixels, Pools, Whole, check_known, published
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
ENSEMBLE = "ensemble"
"""The quorum's own results, among those of its members, in tables, reports and files."""
Share = Annotated[
    float, Field(gt=0.0, le=1.0, description="The most such pictures, as a share of all.")
]


class EnsembleHead(Whole):
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
    """What votes: `EnsembleSpec` and `ClassificationSpec` say who, and how."""

    quorum: int | None = Field(
        None, ge=1, description="Detectors that must finish; default: more than half."
    )
    publish: Any
    max_pixels: MostPixels = None
    pools: Pools = Field(default_factory=dict)
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

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        if self.quorum is not None and self.quorum > len(self.members):
            said = f"a quorum of {self.quorum} of {len(self.members)} {self.noun}s cannot be had"
            raise problem("quorum", said, ("quorum",))
        for i, member in enumerate(self.members):
            if member.name == ENSEMBLE:
                said = f"'{ENSEMBLE}' is what the quorum's own results are called"
                said += f", give this {self.noun} another name"
                raise problem("name", said, (self.members_field, i, "name"))
        for i, member in enumerate(self.members if self.labels else ()):
            for theirs, name in member.labels.items():
                place = (self.members_field, i, "labels", theirs)
                check_known(place, "label", name, self.labels, "labels are")
        return self

    @property
    def members(self) -> tuple[Member, ...]:
        """Who votes."""
        found: tuple[Member, ...] = super().members
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
    return published(schema)
