"""The file: what may stand in it, as that server's own schema has it.

What cannot be served here (libraries of custom nodes, MediaPipe graphs, custom loaders) is refused
with its name, never left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator

from quorate.errors import SpecError, nearest_file
from quorate.spec.base import Location, SpecModel, spec_error
from quorate.spec.words import problem

REQUEST = "request"
"""The node that the inputs of a pipeline come from."""
MODEL = "DL model"
MOST_BYTES = 16 << 20

Setting = str | bool | int | float


class Source(SpecModel):
    """What an input is taken from."""

    node_name: str
    data_item: str


Sources = dict[str, Source]
"""One name, and where it is taken from."""


class Given(SpecModel):
    """An output of a node, and what the pipeline calls it."""

    data_item: str
    alias: str


class Node(SpecModel):
    """One model, or a custom node, in a pipeline."""

    name: str = Field(validation_alias=AliasChoices("name", "node_name"))
    type: Literal["DL model", "custom"]
    model_name: str | None = None
    library_name: str | None = None
    version: int | None = Field(None, ge=1)
    inputs: tuple[Sources, ...]
    outputs: tuple[Given, ...]
    params: dict[str, str] = Field({})
    demultiply_count: int | None = Field(None, ge=-1, le=10000)
    gather_from_node: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        wants, other = ("model_name", "library_name")[:: 1 if self.type == MODEL else -1]
        if getattr(self, wants) is None or getattr(self, other) is not None:
            raise problem("node", f"a node of type '{self.type}' has a {wants}, and no {other}")
        return self


class Pipeline(SpecModel):
    """A graph of nodes, asked by one name."""

    name: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Sources, ...]
    demultiply_count: int | None = Field(None, ge=-1, le=10000)


class Latest(SpecModel):
    """Some of the newest versions."""

    num_versions: int = Field(ge=1)


class Specific(SpecModel):
    """Versions by their numbers."""

    versions: tuple[int, ...]


class Nothing(SpecModel):
    """No setting."""


class Versions(SpecModel):
    """Which versions are served: one of the three."""

    all: Nothing | None = None
    latest: Latest | None = None
    specific: Specific | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise problem("versions", "say all, latest or specific, one of them")
        return self


class Model(SpecModel):
    """A model: its folder of versions, or its file, and what is changed about it."""

    name: str
    base_path: Location | None = None
    batch_size: int | str | None = None
    shape: str | dict[str, str] | None = None
    layout: str | dict[str, str] | None = None
    model_version_policy: Versions = Versions(latest=Latest(num_versions=1))
    target_device: str = "CPU"
    nireq: int | None = Field(None, ge=0)
    plugin_config: dict[str, Setting] = Field({})
    allow_cache: bool = False
    custom_loader_options: dict[str, Any] | None = None
    graph_path: str | None = None
    subconfig: str | None = None


class ModelEntry(SpecModel):
    """An entry of the list of models."""

    config: Model


class Library(SpecModel):
    """A library of a custom node."""

    name: str
    base_path: str


class Configuration(SpecModel):
    """The whole file; `origin` is its path."""

    model_config_list: tuple[ModelEntry, ...]
    pipeline_config_list: tuple[Pipeline, ...] = ()
    custom_node_library_config_list: tuple[Library, ...] = ()
    mediapipe_config_list: tuple[dict[str, Any], ...] = ()
    custom_loader_config_list: tuple[dict[str, Any], ...] = ()
    monitoring: dict[str, Any] | None = None
    origin: str = Field("config.json", exclude=True, repr=False)

    @property
    def names(self) -> list[str]:
        """Those of the models, then those of the pipelines."""
        models = [one.config.name for one in self.model_config_list]
        return models + [one.name for one in self.pipeline_config_list]

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read a file; relative paths in it are taken from its folder.

        Raises:
            SpecError: there is no such file, it is no JSON, does not keep that server's schema, or
                asks for what is not served here.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise SpecError(f"{path}: larger than {MOST_BYTES >> 20} MiB, so no configuration.")
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SpecError(
                f"{path}: there is no such file.", hint=nearest_file(str(path))
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read as text ({error}).") from None
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path}: not valid JSON: {error or 'nested too deeply'}.") from None
        if not isinstance(value, dict) or "origin" in value:
            raise SpecError(f"{path}: is no configuration of OpenVINO Model Server.")
        try:
            found = cls.parsed(value | {"origin": str(path)}, context={"folder": path.parent})
        except ValidationError as error:
            raise spec_error(error, value, origin=str(path)) from None
        found.check()
        return found

    def check(self) -> None:
        """SpecError where something is asked for that cannot be served here."""
        libraries = {one.name: one.base_path for one in self.custom_node_library_config_list}
        for pipeline in self.pipeline_config_list:
            for node in pipeline.nodes:
                if node.library_name is not None:
                    library = libraries.get(node.library_name, "which is in no list of the file")
                    raise SpecError(
                        f"{self.origin}: the node '{node.name}' of the pipeline '{pipeline.name}' "
                        f"is a custom node of the library '{node.library_name}' ({library}): a "
                        "library of machine code for that server, which cannot be loaded here.",
                        hint="put what it computes into a model (ONNX has sums, argmax, resizing, "
                        "non-maximum suppression) and make the node a 'DL model'",
                    )
        for field, what in (
            ("mediapipe_config_list", "MediaPipe graphs"),
            ("custom_loader_config_list", "custom loaders of models"),
        ):
            if getattr(self, field):
                raise SpecError(f"{self.origin}: {field}: {what} cannot be served here.")
        for entry in self.model_config_list:
            one = entry.config
            if one.custom_loader_options or one.graph_path or one.subconfig:
                raise SpecError(
                    f"{self.origin}: the model '{one.name}' asks for a custom loader or a "
                    "MediaPipe graph, which cannot be served here."
                )
            if one.base_path is None:
                raise SpecError(f"{self.origin}: the model '{one.name}' has no base_path.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice")
    return found
