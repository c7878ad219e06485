"""What is wrong with a spec, in words: what is meant, what was written, an example.

The library that validates has words of its own ("Input should be a valid dictionary"), which no
message repeats: `in_words` puts ours in their place, model by model, from the inside out.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from quorate.errors import did_you_mean

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

LONGEST = 80
"""Most characters of what was written that a message repeats."""

_PATTERNS: dict[str, str] = {}

NO_MAPPING = ("model_type", "model_attributes_type")
_KEYS = "keys with values"
_MEANT = {
    "string_type": "text",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "some text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is not infinite",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "dict_type": _KEYS,
    **dict.fromkeys(NO_MAPPING, _KEYS),
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "at least {min_length} in the list",
    "too_long": "at most {max_length} in the list",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "union_tag_not_found": "keys with values, {discriminator} among them",
}
"""What is meant where the library reports a kind of problem; its numbers fill the gaps."""

_ELSEWHERE = {
    "min_score": "conf conf_thres conf_thresh conf_threshold confidence score "
    "score_thr score_thresh score_threshold skip_box_thr threshold "
    "min_confidence confidence_threshold",
    "iou": "iou_thr iou_thres iou_thresh iou_threshold nms nms_thr overlap_threshold",
    "nms_iou": "iou iou_thr iou_thres iou_threshold nms_thr nms_threshold",
    "weights": "model model_path path file checkpoint ckpt onnx weight",
    "names": "classes class_names labelmap categories",
    "labels": "classes class_names categories names label_map mapping",
    "kind": "type format framework backend",
    "data": "source images image_dir dataset input path pictures folder",
    "detectors": "models voters members",
    "image_size": "imgsz img_size input_size size shape",
    "channels": "color colour colors mode bgr rgb",
    "max_detections": "max_det max_boxes top_k topk",
    "publish": "output outputs out export",
    "fusion": "ensemble method fuse strategy",
    "min_votes": "votes min_models quorum",
    "tta": "augment augmentations views",
    "batch": "batch_size",
    "formats": "format to",
    "method": "kind type name",
    "learning_rate": "lr lr0 base_lr max_lr",
    "backbone_learning_rate": "lr_backbone backbone_lr",
    "epochs": "max_epochs num_epochs num_train_epochs",
    "batch_size": "ims_per_batch train_batch_size bs",
    "checkpoint": "weights pretrained pretrained_weights model_name_or_path load_from",
    "optimiser": "optimizer optim",
    "schedule": "scheduler lr_scheduler lr_scheduler_type param_scheduler",
    "clip": "max_grad_norm grad_clip gradient_clip_val clip_max_norm clip_grad",
    "precision": "amp fp16 bf16 half mixed_precision",
    "patience": "early_stopping early_stopping_patience",
    "evaluate_every": "val_interval eval_interval eval_strategy val_period",
    "checkpoint_every": "save_period save_steps save_interval",
    "processes": "gpus num_gpus nproc_per_node",
    "queries": "num_queries",
    "split": "val validation val_split test",
}
"""A field: what other tools call the like."""


def problem(kind: str, message: str, place: tuple[int | str, ...] = ()) -> PydanticCustomError:
    """A problem whose message stands in errors as it is.

    `place` leads from the model that finds it to the field that is to blame, where one is.
    """
    return PydanticCustomError(kind, "{message}", {"message": message, "place": place})


def patterned(pattern: str, words: str, **settings: Any) -> Any:
    """A field that must match a pattern; errors describe it in words: "expected …"."""
    _PATTERNS[pattern] = words
    return Field(pattern=pattern, **settings)


def in_words(
    error: ValidationError, model: type[BaseModel] | None, given: object
) -> list[InitErrorDetails]:
    """The problems of a `model` that was `given` something, each with a message for people.

    What the branches of a union say of one place is one problem, and a key that stands there
    misspelt is not missing as well.
    """
    fields = model.model_fields if model else {}
    found = error.errors(include_url=False)
    unknown = [str(one["loc"][-1]) for one in found if one["type"] == "extra_forbidden"]
    misspelt = {name for key in unknown for name in (meant_key(key, fields),) if name}
    told: list[InitErrorDetails] = []
    for place, together in groupby(found, lambda one: one["loc"][:1]):
        name = str(place[0]) if place else ""
        field = fields.get(name)
        if field is not None and _is_union(field.annotation) and isinstance(given, Mapping):
            message = f"expected {_forms(name, field)}{_not(given.get(name), field)}"
            told.append(_detail("union", place, message))
            continue
        for one in together:
            if one["type"] == "missing" and one["loc"][-1] in misspelt:
                continue
            blamed = (*one["loc"], *(one.get("ctx") or {}).get("place", ()))
            told.append(_detail(one["type"], blamed, _message(one, model, field)))
    return told


def _detail(kind: str, loc: tuple[int | str, ...], message: str) -> InitErrorDetails:
    return {"type": problem(kind, message), "loc": loc, "input": None}


def _message(one: ErrorDetails, model: type[BaseModel] | None, field: FieldInfo | None) -> str:
    """The message of one problem."""
    kind, context, given = one["type"], one.get("ctx") or {}, one.get("input")
    key = str(one["loc"][-1]) if one["loc"] else ""
    if "message" in context:  # in our words already
        return str(context["message"])
    if kind == "value_error":
        return one["msg"].removeprefix("Value error, ")
    if kind in ("extra_forbidden", "invalid_key") and model is not None:
        return _unknown(key, model)
    name = str(one["loc"][0]) if one["loc"] else ""
    example = f"; for example {_example(name, field)}" if field and field.examples else ""
    if kind == "missing":
        about = f" ({field.description.rstrip('.')})" if field and field.description else ""
        return f"it is missing{about}{example}"
    pattern = context.get("pattern")
    if kind == "string_type" and field is not None and not isinstance(given, str | None):
        # In quotes it would be of the wrong form all the same: `timeout: 30`.
        own = {*_patterns(field), *_patterns(field.annotation)}
        pattern = next((one for one in own if not re.search(one, _yaml(given))), None)
    if pattern is not None:
        meant, kind = _PATTERNS[pattern], "string_pattern_mismatch"
    elif kind in _MEANT:
        meant = _MEANT[kind].format(**{key: _bare(value) for key, value in context.items()})
    else:
        return one["msg"]
    words = re.findall("'([^']+)'", str(context.get("expected_tags") or context.get("expected")))
    if kind == "union_tag_invalid":
        given = context["tag"]
    near = did_you_mean(str(given), words)
    how = "" if kind == "tuple_type" and field and field.examples else _how(kind, given, name)
    hint = f", {near}" if near else f"; {how}" if how else example
    return f"expected {meant}{_not(given, field)}{hint}"


def _bare(value: Any) -> Any:
    """A list of words without the library's quotes, the last after `or`: `cvat, coco or voc`."""
    if not isinstance(value, str):
        return value
    words = re.split(", | or ", value.replace("'", ""))
    return " or ".join([part for part in (", ".join(words[:-1]), words[-1]) if part])


def _how(kind: str, given: Any, name: str) -> str | None:
    """What a person who wrote this most likely has to do."""
    if kind == "string_type":
        if given is None:
            return "fill it in, or leave the line out"
        if isinstance(given, bool | int | float | datetime.date):
            return f"put it in quotes: '{_yaml(given)}'"
    if kind.startswith("float") and isinstance(given, str):
        point = given.replace(",", ".")
        if re.fullmatch(r"-?\d+\.\d+", point):
            return f"write a point: {point}"
    if kind == "tuple_type" and isinstance(given, str | int | float) and name:
        return f"write `{name}: [{_yaml(given)}]`"
    return None


def _not(given: Any, field: FieldInfo | None) -> str:
    """What was written, cut to what can be read; nothing of a field that may hold a secret."""
    if field is not None and not field.repr:
        return ""
    text = repr(given) if isinstance(given, str) else _yaml(given)
    return f", not {text if len(text) <= LONGEST else text[: LONGEST - 2] + ' …'}"


def _yaml(value: Any) -> str:
    """A value on one line, as a spec has it."""
    if value is None:
        return "nothing"
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    except yaml.YAMLError:  # an object of Python
        text = repr(value)
    return text.removesuffix("...\n").strip()


def _example(name: str, field: FieldInfo) -> str:
    """The field's examples as they stand in a spec."""
    return " or ".join(f"`{_yaml({name: one})[1:-1]}`" for one in field.examples or ())


def _forms(name: str, field: FieldInfo) -> str:
    """What a field may be that may be of several forms, each with its example."""
    about = (field.description or "").rstrip(".").split(";")[0]
    forms = [one for one in (f"{about[:1].lower()}{about[1:]}", _example(name, field)) if one]
    return ": ".join(forms) or "something else"


def _patterns(form: Any) -> Iterator[str]:
    """The patterns of a field, or of its annotation."""
    for part in (*getattr(form, "metadata", ()), *getattr(form, "__metadata__", ())):
        if pattern := getattr(part, "pattern", None):
            yield pattern
        yield from _patterns(part)
    for part in get_args(form):
        if get_origin(part) is not None:
            yield from _patterns(part)


def _is_union(annotation: Any) -> bool:
    """Whether a field may be of several forms that are told apart by nothing but trying."""
    if get_origin(annotation) is Annotated:
        return _is_union(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return False
    branches = [one for one in get_args(annotation) if one is not type(None)]
    models = [isinstance(one, type) and issubclass(one, BaseModel) for one in branches]
    return len(branches) > 1 and not all(models)


def meant_key(key: str, fields: Iterable[str]) -> str | None:
    """The field that a key is most likely meant for."""
    known = [*fields]
    plain = key.lower().replace("-", "_")
    for name in known:
        if plain == name or plain in _ELSEWHERE.get(name, "").split():
            return name
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    return near[0] if near else None


def _unknown(key: str, model: type[BaseModel]) -> str:
    """There is no such key: the one that is meant, the place where it belongs, or all there are."""
    if name := meant_key(key, model.model_fields):
        return f"there is no such key, did you mean '{name}'?"
    for name, field in model.model_fields.items():
        for part in _models(field.annotation):
            if key in part.model_fields:
                return f"there is no such key here; write `{name}: {{{key}: …}}`"
    return f"there is no such key; there are {', '.join(model.model_fields)}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
