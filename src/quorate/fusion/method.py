"""A fusion method and its numbers as plain values, without the spec that checks them.

`quorate fuse` on two small files takes less time than loading pydantic would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from quorate.masks.fusion import MaskRule
    from quorate.spec.fusion import CategoryFusion, Fusion

_OWN_IOU = {"wbf": 0.55}


@dataclass(frozen=True)
class Method:
    """The settings of all methods, as `quorate.spec.fusion` says them; others' are idle."""

    method: str
    iou: float
    min_score: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[str, CategoryFusion] = field(default_factory=dict)
    classes: str = "separate"
    overlap: str = "iou"
    masks: MaskRule | None = None
    confidence: str = "avg"
    min_votes: int = 1
    allows_overflow: bool = False
    decay: str = "gaussian"
    sigma: float = 0.5
    min_decayed_score: float = 0.001
    compatible: str | None = None

    @classmethod
    def named(cls, method: str, **settings: Any) -> Self:
        """A method with the given settings, which are not checked, and its own for the rest."""
        return cls(method, **{"iou": _OWN_IOU.get(method, 0.5), **settings})

    @classmethod
    def of(cls, fusion: Fusion | Method) -> Method:
        """What a spec says, or the same where it is one already."""
        if isinstance(fusion, Method):
            return fusion
        names = [one.name for one in fields(cls) if hasattr(fusion, one.name)]
        return cls(**{name: getattr(fusion, name) for name in names})
