"""What every part of the spec shares: strict models, and errors that say where and what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from quorate.display import of_field
from quorate.errors import SpecError
from quorate.labels import VOCABULARIES
from quorate.spec.words import NO_MAPPING, in_words

MAX_SPEC_BYTES = 1 << 20


class SpecModel(BaseModel):
    """A strict, immutable part of the spec; what is wrong with it is a SpecError in plain words."""

    # A model's validator is built when it is first used: most commands need few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise spec_error(error, settings, origin=type(self).__name__) from None

    # Only who makes one by hand goes through it; parts of a whole keep the library's own way.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """One from a mapping; SpecError where it is none, or does not fit."""
        try:
            return cls.parsed(obj, **how)
        except ValidationError as error:
            raise spec_error(error, obj, origin=cls.__name__) from None

    @classmethod
    def parsed(cls, value: Any, **how: Any) -> Self:
        """Likewise with pydantic's error, which says where in a whole it belongs."""
        return super().model_validate(value, **how)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another with some settings changed, which are checked: SpecError where one is wrong."""
        if not update:
            return super().model_copy(deep=deep)
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate(said | dict(update))

    def __repr__(self) -> str:
        said = self.model_fields_set | {"kind", "method"}
        fields = [n for n, field in type(self).model_fields.items() if n in said and field.repr]
        shown = ", ".join(f"{name}={of_field(getattr(self, name))}" for name in fields)
        return f"{type(self).__name__}({shown})"

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            [first, *_] = error.errors()
            if first["type"] in NO_MAPPING and not first["loc"]:
                raise  # whoever holds it knows what is meant
            told = in_words(error, cls, value)
            raise ValidationError.from_exception_data(cls.__name__, told) from None


def _from_the_specs_folder(value: str, info: ValidationInfo) -> str:
    folder: Path | None = (info.context or {}).get("folder")
    return value if folder is None or "://" in value else str(folder / value)


Location = Annotated[str, AfterValidator(_from_the_specs_folder)]
"""A path or URI; in a spec file, a relative path is taken from the file's own folder."""


def _named(value: tuple[str, ...] | str, info: ValidationInfo) -> tuple[str, ...] | str:
    located = isinstance(value, str) and value not in VOCABULARIES
    return _from_the_specs_folder(str(value), info) if located else value


Names = Annotated[tuple[str, ...] | str, AfterValidator(_named)]
"""Labels in the order of their numbers; or a file of them; or a word of `VOCABULARIES`."""


def method_name(word: str) -> str:
    """A method's name however it is written: `Soft-NMS` is `soft_nms`."""
    return word.lower().replace("-", "_")


def by_method(methods: Any) -> BeforeValidator:
    """What lets a field of a union, told apart by `method`, be the method's name alone.

    `fusion: wbf` is short for `fusion: {method: wbf}`; `soft-nms` is `soft_nms`.
    """

    def whole(value: Any) -> Any:
        value = {"method": value} if isinstance(value, str) else value
        if isinstance(value, dict) and isinstance(value.get("method"), str):
            return value | {"method": method_name(value["method"])}
        return value

    written: Any = Annotated[methods, Field(discriminator="method")] | str
    return BeforeValidator(whole, json_schema_input_type=written)


class _Loader(yaml.SafeLoader):
    """Plain YAML only: a repeated key and an alias (the 'billion laughs') are refused.

    As in YAML 1.2, `no`, `yes`, `on` and `off` are words: labels are called so.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, 'a spec has no aliases (*name); a glob stands in quotes: "*.jpg"', mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key_node.value}' stands twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_FOUND = {type(None): "nothing", list: "a list"}
_YAML_HINTS = (
    ("'\\t'", "indent with spaces; YAML takes no tabs"),
    ("mapping values", "text with ': ' in it stands in quotes; is the line above indented alike?"),
    ("expected ':'", "a colon and a space stand after each key"),
    ("block end", "is it indented like the lines above?"),
    ("expected ','", "is a bracket not closed, or a comma missing?"),
    ("unexpected end of stream", "is a quote not closed?"),
)
"""A part of what the reader of YAML says: what to look for."""
_TRUTH = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _TRUTH or first in "tTfF"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str, *, origin: str) -> dict[str, Any]:
    """Parse the YAML of a spec; SpecError, with the line, where it is no plain mapping."""
    if len(text) > MAX_SPEC_BYTES:
        raise SpecError(f"{origin}: larger than {MAX_SPEC_BYTES >> 20} MiB, so not a spec.")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, made stricter
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        problem = getattr(error, "problem", None) or str(error)
        hint = next((said for sign, said in _YAML_HINTS if sign in problem), None)
        raise SpecError(f"{where}: not valid YAML: {problem}.", hint=hint) from None
    except RecursionError:
        raise SpecError(f"{origin}: nested too deeply to be a spec.") from None
    if not isinstance(value, dict):
        raise SpecError(
            f"{origin}: expected keys with values, found {_FOUND.get(type(value), 'a word')}.",
            hint="a spec begins with `name: …`, and has `detectors:`",
        )
    return value


def plain(value: Any) -> Any:
    """A value as YAML has it: the fields that were given, and those that tell models apart."""
    if isinstance(value, SpecModel):
        said = value.model_fields_set | {"kind", "method"}
        return {
            name: plain(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name in said and not field.exclude
        }
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def spec_error(
    error: ValidationError, value: Any, *, origin: str, text: str | None = None
) -> SpecError:
    """One SpecError of all problems of a `value`: file, line, path in the spec, what was meant."""
    problems = [
        (_place(one["loc"], value, missing=one["type"].type == "missing"), one["type"])
        for one in in_words(error, None, value)
        if isinstance(one["type"], PydanticCustomError)
    ]
    lines = []
    for place, what in problems:
        inside = any(len(one) > len(place) and one[: len(place)] == place for one, _ in problems)
        if what.type == "too_short" and inside:
            continue  # too few only because the wrong ones were not counted
        line = _line_of(text, place) if text else None
        where = f"{origin}:{line}" if line else origin
        path = _path(place)
        lines.append(f"{where}: {path + ': ' if path else ''}{what.message()}")
    return SpecError("\n".join(lines))


def _place(loc: Sequence[int | str], value: Any, *, missing: bool) -> tuple[int | str, ...]:
    """The keys and numbers that lead to a problem, without the names of a union's branches."""
    place: list[int | str] = []
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if not (missing and part is loc[-1]):
                continue
        place.append(part)
    return tuple(place)


def _path(loc: Iterable[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _line_of(text: str, loc: Iterable[int | str]) -> int | None:
    """The 1-based line of a path in the YAML text, or of the nearest node above it."""
    node = yaml.compose(text, Loader=_Loader)
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            key, node = pair
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
