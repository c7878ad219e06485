"""What every kind of classifier has in common.

A kind is an entry point of the group `quorate.classifiers`: see `quorate.spec.member`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SerializeAsAny

from quorate.spec.member import Member, kinds, of_its_kind

if TYPE_CHECKING:
    from quorate.classifiers.base import ClassPredictor

ENTRY_POINTS = "quorate.classifiers"


class Classifier(Member):
    """One voter of a classification ensemble, as described; `load` makes it ready.

    Several of its labels may be renamed to one of the data set's: their probabilities add up.
    """

    labels: dict[str, str] = Field(
        default_factory=dict,
        description="The classifier's word: the data set's word.",
        examples=[{"tabby": "cat"}],
    )

    def load(self) -> ClassPredictor:
        """Read the weights and return what classifies; DetectorError where that fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")


def classifier_kinds() -> dict[str, EntryPoint]:
    """Every installed kind, by name."""
    return kinds(ENTRY_POINTS)


ClassifierField = Annotated[SerializeAsAny[Classifier], of_its_kind(Classifier, ENTRY_POINTS)]
