"""What every kind of detector has in common, and how a kind is found.

A kind is an entry point of the group `quorate.detectors`: its name is the spec's `kind`, its
object a subclass of `Detector` with a `kind` of that name, fields of its own, and `load`. The
built-in kinds are found in the same way.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from quorate.errors import did_you_mean
from quorate.spec.base import VOCABULARIES, SpecModel, problem
from quorate.spec.calibration import CalibrationField
from quorate.spec.tta import Tiles, Views
from quorate.spec.workflow import Duration, Name

if TYPE_CHECKING:
    from quorate.detectors.base import Predictor

ENTRY_POINTS = "quorate.detectors"


class Detector(SpecModel):
    """One voter of an ensemble, as described; `load` makes it ready to see pictures."""

    aside: ClassVar[frozenset[str]] = frozenset(
        {"name", "weights", "calibration", "pool", "timeout", "image"}
    )
    """The fields whose text its boxes do not depend on."""

    name: Name
    kind: str
    labels: dict[str, str] = Field(
        default_factory=dict, description="The detector's word: the data set's word."
    )
    min_score: float = Field(
        0.05, ge=0.0, le=1.0, description="Boxes that score less are not kept."
    )
    max_detections: int = Field(300, ge=1, description="Most boxes kept in one picture.")
    tta: Views = Field((), description="Test-time augmentation: views beside the picture as it is.")
    views: Literal["fuse", "vote"] = Field(
        "fuse", description="One vote for all views together (fuse), or one for each (vote)."
    )
    tiles: Tiles | None = Field(None, description="Cut large pictures into tiles.")
    calibration: CalibrationField | None = Field(
        None,
        description="From its score to the probability that a box is right, before boxes are "
        "fused.",
    )
    pool: Name | None = Field(None, description="Which of the ensemble's pools it runs on.")
    timeout: Duration | None = Field(
        None, description="How long a shard may take on a cluster before it is given up: 1h30m."
    )
    image: str | None = Field(
        None, min_length=1, description="The image it runs in on a cluster; default: ours."
    )

    @property
    def voters(self) -> tuple[str, ...]:
        """The names of its votes: its own, and with `views: vote` one for each further view."""
        further = self.tta if self.views == "vote" else ()
        return (self.name, *(f"{self.name}+{view}" for view in further))

    @property
    def files(self) -> tuple[str, ...]:
        """The files, or folders of files, that its boxes depend on."""
        names = getattr(self, "names", None)
        named = isinstance(names, str) and names not in VOCABULARIES
        found = getattr(self, "weights", None), names if named else None
        return tuple(location for location in found if location)

    def load(self) -> Predictor:
        """Read the weights and return what detects; DetectorError where that fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")


def detector_kinds() -> dict[str, EntryPoint]:
    """Every installed kind, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _of_its_kind(
    value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Detector:
    if isinstance(value, Detector) and type(value) is not Detector:
        return value
    if not isinstance(value, dict) or "kind" not in value:
        checked: Detector = handler(value)
        return checked
    kinds = detector_kinds()
    kind = value["kind"]
    if kind not in kinds:
        hint = did_you_mean(str(kind), kinds)
        known = f", {hint}" if hint else f"; installed are {', '.join(sorted(kinds))}"
        raise problem("unknown_kind", f"no kind of detector is called '{kind}'{known}")
    model: type[Detector] = kinds[kind].load()
    return model.model_validate(value, context=info.context)


DetectorField = Annotated[SerializeAsAny[Detector], WrapValidator(_of_its_kind)]
