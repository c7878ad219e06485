"""What a network says of itself: its inputs and outputs, and the names of its labels."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from quorate.errors import DetectorError

NAMES_KEYS = ("names", "id2label", "labels", "classes", "class_names")
MAX_NAMES_CHARACTERS = 1 << 20
MAX_NAMES = 100_000
Arrays = Mapping[str, NDArray[Any]]
"""Tensors by the names of inputs or outputs."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output; a size that is open is None, and a rank that is unknown is ()."""

    name: str
    shape: tuple[int | None, ...]
    kind: str  # onnxruntime's word for the type of its elements: "float", "float16", "int64"

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return "int" in self.kind

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.kind}({sizes})"


@dataclass(frozen=True, slots=True)
class Graph:
    """A model's signature; `selects`: whether it has a TopK inside, None where nobody says."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    selects: bool | None = None

    def output(self, *names: str) -> Tensor | None:
        """The first output that has one of these names, in any case of letters."""
        return next((t for name in names for t in self.outputs if t.name.lower() == name), None)

    def input(self, *names: str) -> Tensor | None:
        """Likewise for inputs."""
        return next((t for name in names for t in self.inputs if t.name.lower() == name), None)

    def __str__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"inputs {inputs}; outputs {', '.join(map(str, self.outputs))}"


class Network(Protocol):
    """Who runs a graph: onnxruntime in this process, or a server. Calls come from any thread."""

    @property
    def graph(self) -> Graph:
        """Its signature."""

    def run(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """The named outputs for these inputs; DetectorError where the network fails on them."""


def tensor(name: str, shape: Sequence[Any], kind: str) -> Tensor:
    """From what onnxruntime says: open sizes are names or None there."""
    sizes = tuple(s if isinstance(s, int) and s > 0 else None for s in shape)
    return Tensor(name, sizes, kind.removeprefix("tensor(").removesuffix(")"))


def names_of(metadata: Mapping[str, str], *, origin: str) -> tuple[str, ...] | None:
    """The labels that a model carries in its metadata, in the order of their numbers.

    Ultralytics writes `names` as a Python literal, `{0: 'person', 1: 'car'}`; others write a
    list, or JSON. Nothing is evaluated but literals. None where there is nothing of the kind;
    DetectorError where there is something that cannot be understood.
    """
    for key in NAMES_KEYS:
        if text := metadata.get(key, "").strip():
            return _parsed(text, f"{origin}: the metadata's '{key}'")
    return None


def _parsed(text: str, what: str) -> tuple[str, ...]:
    if len(text) > MAX_NAMES_CHARACTERS:
        raise DetectorError(f"{what} has {len(text)} characters, too many to be names of labels.")
    try:
        value = json.loads(text) if text.startswith(('{"', '["')) else ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        if text[:1] in "{[(":
            raise DetectorError(
                f"{what} is neither a Python literal nor JSON: {text[:80]!r}.",
                hint="give the labels in the spec, for example `names: [car, person]`",
            ) from None
        value = [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]
    return listed_names(value, what)


def listed_names(value: Any, what: str) -> tuple[str, ...]:
    """A list of names, or a mapping from 0.. to names, as a tuple; DetectorError for all else."""
    text = repr(value)
    if isinstance(value, dict):
        try:
            numbers = [int(str(number)) for number in value]
        except ValueError:
            raise DetectorError(f"{what} has keys that are no numbers: {text[:80]!r}.") from None
        if sorted(numbers) != list(range(len(numbers))):
            raise DetectorError(
                f"{what} does not number its labels 0..{len(value) - 1}: {text[:80]!r}.",
                hint="give the labels in the spec, for example `names: [car, person]`",
            )
        value = [name for _, name in sorted(zip(numbers, map(str, value.values()), strict=True))]
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= MAX_NAMES:
        raise DetectorError(f"{what} is not a list of labels: {text[:80]!r}.")
    names = tuple(str(name) for name in value)
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        raise DetectorError(f"{what} has names that are no text: {text[:80]!r}.") from None
    return names
