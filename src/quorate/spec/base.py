"""What every part of the spec shares: strict models, and errors that say where and what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from quorate.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_SPEC_BYTES = 1 << 20


_WORDS: dict[str, str] = {}


def patterned(pattern: str, words: str) -> Any:
    """A field that must match a pattern; errors describe it in words: "expected …"."""
    _WORDS[pattern] = words
    return Field(pattern=pattern)


class SpecModel(BaseModel):
    """A strict, immutable part of the spec; the error of an unknown key suggests a known one."""

    # A model's validator is built when it is first used: most commands need few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for key in value:
            if key not in cls.model_fields:
                hint = did_you_mean(str(key), cls.model_fields)
                known = f", {hint}" if hint else f"; known are {', '.join(cls.model_fields)}"
                raise problem("unknown_key", f"unknown key '{key}'{known}")
        return value


def problem(kind: str, message: str) -> PydanticCustomError:
    """A problem whose message stands in errors as it is."""
    return PydanticCustomError(kind, "{message}", {"message": message})


def _from_the_specs_folder(value: str, info: ValidationInfo) -> str:
    folder: Path | None = (info.context or {}).get("folder")
    return value if folder is None or "://" in value else str(folder / value)


Location = Annotated[str, AfterValidator(_from_the_specs_folder)]
"""A path or URI; in a spec file, a relative path is taken from the file's own folder."""

VOCABULARIES = ("coco", "coco91", "voc", "objects365", "openimages", "lvis")


def _named(value: tuple[str, ...] | str, info: ValidationInfo) -> tuple[str, ...] | str:
    located = isinstance(value, str) and value not in VOCABULARIES
    return _from_the_specs_folder(str(value), info) if located else value


Names = Annotated[tuple[str, ...] | str, AfterValidator(_named)]
"""Labels in the order of their numbers; or a file of them; or a word of `VOCABULARIES`."""


class _Loader(yaml.SafeLoader):
    """Plain YAML only: a repeated key and an alias (the 'billion laughs') are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "a spec has no aliases (*name)", mark)
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
        raise SpecError(f"{where}: not valid YAML: {problem}.") from None
    except RecursionError:
        raise SpecError(f"{origin}: nested too deeply to be a spec.") from None
    if not isinstance(value, dict):
        raise SpecError(
            f"{origin}: expected a mapping with `kind: DetectionEnsemble`, "
            f"found {'nothing' if value is None else type(value).__name__}."
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


def spec_error(error: ValidationError, *, origin: str, text: str | None = None) -> SpecError:
    """One SpecError of all problems: file, line, path in the spec, what was expected."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["type"] == "too_short" and any(_within(one, problem) for one in problems):
            continue  # too few only because the wrong ones were not counted
        path = _path(problem["loc"])
        line = _line_of(text, problem["loc"]) if text else None
        where = f"{origin}:{line}" if line else origin
        message = _message(problem)
        lines.append(f"{where}: {path + ': ' if path else ''}{message[:1].lower()}{message[1:]}")
    return SpecError("\n".join(lines))


def _within(one: ErrorDetails, other: ErrorDetails) -> bool:
    """Whether one problem lies inside the place of another."""
    place = other["loc"]
    return len(one["loc"]) > len(place) and one["loc"][: len(place)] == place


def _message(problem: ErrorDetails) -> str:
    """Pydantic's message with the value that was given, and for a misspelt word the nearest."""
    message = problem["msg"].removeprefix("Value error, ")
    context: dict[str, Any] = problem.get("ctx") or {}
    given = problem.get("input")
    if problem["type"] == "string_pattern_mismatch":
        message = f"expected {_WORDS.get(context['pattern'], message)}"
    elif problem["type"] == "too_short":
        message = f"at least {context['min_length']} needed, found {context['actual_length']}"
    elif problem["type"] == "union_tag_invalid":
        message, given = f"expected one of {context['expected_tags']}", context["tag"]
    if isinstance(given, (str, int, float, bool)) and problem["type"] != "secret":
        message += f", not {given!r}"
    choices = re.findall("'([^']+)'", str(context.get("expected_tags") or context.get("expected")))
    hint = did_you_mean(str(given), choices)
    return f"{message}, {hint}" if hint else message


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
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                continue  # a union's tag in the path is no key
            key, node = pair
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
