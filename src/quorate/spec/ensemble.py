"""The ensemble as a user writes it: its detectors, how they are fused, what is published."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from quorate.errors import SpecError, did_you_mean, nearest_file
from quorate.spec import kubernetes
from quorate.spec.base import Location, SpecModel, load_yaml, plain, spec_error
from quorate.spec.calibration import Calibration
from quorate.spec.detector import DetectorField, detector_kinds
from quorate.spec.fusion import Consensus, Fusion, FusionField
from quorate.spec.notify import Notifications, secret_keys
from quorate.spec.pods import Pool
from quorate.spec.text import Name
from quorate.spec.words import patterned, problem
from quorate.spec.workflow import WorkflowSettings

_FOLDER = r"^([^/\\.][^/\\]*(/[^/\\.][^/\\]*)*/?)?$"
Folder = Annotated[str, patterned(_FOLDER, "a folder such as street/day")]
Place = tuple[int | str, ...]
"""The keys and numbers that lead to a part of a spec."""


class Publish(SpecModel):
    """What is written when the quorum has decided."""

    formats: tuple[Literal["cvat", "coco", "voc", "yolo"], ...] = Field(
        ("cvat", "coco"), description="What is written.", examples=[["cvat", "coco"]]
    )
    attributes: tuple[Literal["votes", "score", "agreement", "detectors"], ...] = Field(
        ("votes", "score"),
        examples=[["votes", "score"]],
        description="What each CVAT box carries as label attributes; CVAT calls the score "
        "'confidence'.",
    )
    min_score: float = Field(
        0.25, ge=0.0, le=1.0, description="Boxes that score less are not written for a person."
    )
    masks: Literal["mask", "polygon", "box"] = Field(
        "mask",
        description="A detection with a mask is written as its mask, as a polygon, or as a box.",
    )
    tolerance: float = Field(
        1.5,
        ge=0.0,
        le=100.0,
        description="Pixels that a polygon's outline may stray from its mask's; 0 follows each.",
    )
    renumber: bool = Field(
        False, description="COCO's categories are numbered anew from 1, without gaps."
    )
    folder: Folder = Field(
        "",
        description="In the CVAT and COCO files, before the names of the pictures: where a task "
        "of CVAT has them below a folder of its share or cloud storage.",
        examples=["street/day"],
    )
    review: Literal["disagreement"] | None = Field(
        None,
        description="Tag the pictures a person should look at first; in a task, open an issue.",
    )
    review_share: float = Field(
        0.2, gt=0.0, le=1.0, description="The most such pictures, as a share of all."
    )
    report: bool = Field(True, description="Write report.html.")


class EnsembleSpec(SpecModel):
    """A detection ensemble: the whole of one spec file."""

    kind: Literal["DetectionEnsemble"] = "DetectionEnsemble"
    name: Name = Field(description="What it is called.", examples=["street"])
    data: Location | None = Field(
        None,
        description="Folder of pictures, COCO or CVAT data set, ZIP; relative to this file.",
        examples=["pictures"],
    )
    labels: tuple[str, ...] = Field(
        (), description="Default: the data set's own.", examples=[["car", "person"]]
    )
    detectors: tuple[DetectorField, ...] = Field(
        min_length=1,
        description="Who votes.",
        examples=[[{"name": "yolo", "kind": "onnx", "weights": "yolo.onnx"}]],
    )
    fusion: FusionField = Field(
        Consensus(), description="How they decide.", examples=[{"method": "wbf", "iou": 0.6}]
    )
    quorum: int | None = Field(
        None, ge=1, description="Detectors that must finish; default: more than half."
    )
    publish: Publish = Field(
        Publish(), description="What is written.", examples=[{"formats": ["cvat"]}]
    )
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
        named: list[tuple[Place, str | None]] = [
            (("workflow", "pool"), self.workflow.pool),
            *(
                (("workflow", "steps", step, "pool"), name)
                for step, name in self.workflow.pools.items()
            ),
            *((("detectors", i, "pool"), one.pool) for i, one in enumerate(self.detectors)),
            *((("pools", name, "fallback"), pool.fallback) for name, pool in self.pools.items()),
        ]
        for place, name in named:
            if name is not None:
                known = "the pools are" if self.pools else "there is none"
                _check_known(place, "pool", name, self.pools, known)
        for name in self.pools:
            chain, after = [name], self.pools[name].fallback
            while after is not None and after not in chain:
                chain, after = [*chain, after], self.pools[after].fallback
            if after is not None:
                said = f"it leads back to '{after}' ({', '.join([*chain, after])})"
                raise problem("pool", said, ("pools", name, "fallback"))
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [detector.name for detector in self.detectors]
        for i, name in enumerate(names):
            if name in names[:i]:
                said = f"two detectors are called '{name}', give each a name of its own"
                raise problem("name", said, ("detectors", i, "name"))
        if self.quorum is not None and self.quorum > len(names):
            said = f"a quorum of {self.quorum} of {len(names)} detectors cannot be had"
            raise problem("quorum", said, ("quorum",))
        voters = [voter for detector in self.detectors for voter in detector.voters]
        own = self.fusion.categories
        weighted: list[tuple[Place, str]] = [
            *((("weights", name), name) for name in self.fusion.weights),
            *((("categories", c, "weights", n), n) for c, one in own.items() for n in one.weights),
        ]
        for place, name in weighted:
            _check_known(("fusion", *place), "detector", name, voters, "the detectors are")
        used: dict[str, Place] = {name: ("fusion", "categories", name) for name in own}
        for i, detector in enumerate(self.detectors):
            for name in detector.calibration.categories if detector.calibration else ():
                used.setdefault(name, ("detectors", i, "calibration", "categories", name))
            for theirs, name in detector.labels.items():
                used.setdefault(name, ("detectors", i, "labels", theirs))
        for name, place in used.items() if self.labels else ():
            _check_known(place, "label", name, self.labels, "labels are")
        return self

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """The calibration of each voter whose detector has one."""
        return {
            voter: detector.calibration
            for detector in self.detectors
            if detector.calibration is not None
            for voter in detector.voters
        }

    @property
    def voting(self) -> Fusion:
        """The fusion; a view with a vote of its own has the weight of its detector."""

        def spread(weights: dict[str, float]) -> dict[str, float]:
            given = {
                voter: weights[detector.name]
                for detector in self.detectors
                if detector.name in weights
                for voter in detector.voters
            }
            return given | weights

        fusion = self.fusion
        own = {
            label: what.model_copy(update={"weights": spread(what.weights)})
            for label, what in fusion.categories.items()
        }
        return fusion.model_copy(update={"weights": spread(fusion.weights), "categories": own})

    @property
    def needed(self) -> int:
        """How many detectors must finish: the quorum, by default more than half of them."""
        return len(self.detectors) // 2 + 1 if self.quorum is None else self.quorum

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
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SpecError(
                f"{path}: there is no such file.", hint=nearest_file(str(path))
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read as text ({error}).") from None
        value = load_yaml(text, origin=str(path))
        try:
            return cls.parsed(value, context={"folder": path.parent})
        except ValidationError as error:
            raise spec_error(error, value, origin=str(path), text=text) from None

    def to_yaml(self) -> str:
        """The text of an equal spec file, without the fields that have their defaults."""
        return yaml.safe_dump(plain(self), sort_keys=False, allow_unicode=True)


def _check_known(place: Place, what: str, name: str, known: Collection[str], are: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or f"{are} {', '.join(known)}".rstrip()
        raise problem(what, f"no {what} is called '{name}', {hint}", place)


def json_schema(model: type[EnsembleSpec] = EnsembleSpec) -> dict[str, Any]:
    """The JSON Schema of specs, with the installed kinds of detectors, and Kubernetes' types."""
    schema = model.model_json_schema()
    definitions = schema["$defs"]
    choices = []
    for name, point in sorted(detector_kinds().items()):
        kind = point.load().model_json_schema()
        definitions |= kind.pop("$defs", {})
        definitions[kind["title"]] = kind
        choices.append({"$ref": f"#/$defs/{kind['title']}"})
        kind.setdefault("required", []).append("kind")
        kind["properties"]["kind"] = {"const": name, "title": "Kind"}
    schema["properties"]["detectors"]["items"] = {"oneOf": choices}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kubernetes.referred(schema),
    }
    schema["$defs"] |= kubernetes.definitions()
    return schema
