"""Fields of Kubernetes in a spec: free, checked against what Kubernetes publishes, and merged.

`kubernetes.json` holds the types that a pod is made of, each with its fields. A field is a word
(`text`, `whole`, `truth`, `quantity`, `number or text`), the name of another type, or one of

    {"one of": [WORD, …]}
    {"keys": FIELD}                  a mapping whose keys are free
    {"list": FIELD, "by": KEY}       items that are told apart by KEY; without it, one whole

tests/cluster/test_schema.py writes it from what a cluster says of itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from quorate.errors import did_you_mean
from quorate.spec.words import problem

FILE = Path(__file__).with_suffix(".json")

Form = str | Mapping[str, Any]
Place = tuple[int | str, ...]

POD, CONTAINER, CLAIM = "Pod", "Container", "PersistentVolumeClaim"
METADATA = {"labels": {"keys": "text"}, "annotations": {"keys": "text"}}
ADDED = ("envFrom", "tolerations")
"""Lists without a key, of which both parts are meant; of any other the later one is."""
ONE_SOURCE = ("Volume", "EnvVar")
"""Types that have a name and one source: another source takes the place of the first."""
OURS = {"main": "`container: …`", "init": "`workflow: {steps: {executor: {container: …}}}`",
        "wait": "`workflow: {steps: {executor: {container: …}}}`"}  # fmt: skip
_QUANTITY = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_QUANTITIES = "a quantity such as 500m, 4 or 8Gi"
_WORDS: dict[str, tuple[str, tuple[type, ...], tuple[str, ...]]] = {
    "text": ("text", (str,), ("string", "number", "boolean")),
    "whole": ("a whole number", (int,), ("integer",)),
    "truth": ("true or false", (bool,), ("boolean",)),
    "quantity": (_QUANTITIES, (str, int, float), ("string", "number")),
    "number or text": ("a number or text", (int, str), ("integer", "string")),
}
"""A field that is a word: what is meant, what it may be in Python, and in a JSON Schema's words."""
_PREFIX, _MARK = "Kubernetes", "kubernetes"


@cache
def types() -> dict[str, dict[str, Any]]:
    """Every type by name: its `fields`, and those that are `required`.

    `Pod` is our own: what a pod's spec says, and in `metadata` its labels and annotations.
    """
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["types"]
    pod = {**found["PodSpec"]["fields"], "metadata": "PodMetadata"}
    found["PodMetadata"] = {"fields": METADATA, "required": []}
    found[POD] = {"fields": pod, "required": []}
    return found


def definitions() -> dict[str, Any]:
    """Every type as a definition of a JSON Schema that `referred` leads to.

    It takes all that `checked` takes of a part that is merged, and some that it refuses: which
    fields must be there, and how a quantity is written, it does not say.
    """
    return {
        _PREFIX + name: {
            "type": ["object", "null"],
            "properties": {key: _schema(form) for key, form in one["fields"].items()},
            "additionalProperties": False,
        }
        for name, one in types().items()
        if name != "PodSpec"
    }


def referred(schema: Any) -> Any:
    """A JSON Schema in which fields that hold a type of Kubernetes refer to its definition."""
    if isinstance(schema, list):
        return [referred(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get(_MARK), str):
        said = {key: one for key, one in schema.items() if key not in (_MARK, "type")}
        return {"$ref": f"#/$defs/{_PREFIX}{name}", **said}
    return {key: referred(one) for key, one in schema.items()}


def _schema(form: Form) -> dict[str, Any]:
    if isinstance(form, str):
        if form in _WORDS:
            return {"type": [*_WORDS[form][2], "null"]}
        return {"$ref": f"#/$defs/{_PREFIX}{form}"}
    if "one of" in form:
        return {
            "anyOf": [{"enum": [*form["one of"], None]}, {"pattern": r"\{\{", "type": "string"}]
        }
    if "keys" in form:
        return {"type": ["object", "null"], "additionalProperties": _schema(form["keys"])}
    return {"type": ["array", "null"], "items": _schema(form["list"])}


def checked(value: Any, form: Form, *, whole: bool = True, place: Place = ()) -> Any:
    """The value as Kubernetes takes it; PydanticCustomError where it does not.

    A part that is merged into another (`whole` is false) may lack fields that must be there.
    """
    if value is None and not whole:
        return None  # takes away what it is merged into
    if isinstance(form, str) and form in _WORDS:
        return _word(value, form, place)
    if isinstance(form, str):
        return _fields(value, form, whole, place)
    if "one of" in form:
        if value not in form["one of"] and "{{" not in str(value):
            near = did_you_mean(str(value), form["one of"])
            said = f"expected {' or '.join(form['one of'])}, not {value!r}"
            raise problem("kubernetes", f"{said}, {near}" if near else said, place)
        return value
    if "keys" in form:
        pairs = _mapping(value, place).items()
        return {
            str(k): checked(v, form["keys"], whole=whole, place=(*place, str(k))) for k, v in pairs
        }
    if not isinstance(value, list | tuple):
        raise problem("kubernetes", f"expected a list, not {_shown(value)}", place)
    by, items = form.get("by"), list(value)
    for i, one in enumerate(items):
        if by and isinstance(one, dict) and by not in one:
            raise problem("kubernetes", f"it has no '{by}', by which it is found", (*place, i))
    partly = not whole and by is not None
    return [
        checked(one, form["list"], whole=not partly, place=(*place, i))
        for i, one in enumerate(items)
    ]


def merged(base: Any, over: Any, form: Form) -> Any:
    """`over` laid over `base`, as Kubernetes merges a patch strategically.

    Mappings are merged key by key, and a null takes the key away. Items of lists are found by
    their keys, and new ones come after those that are there.
    """
    if over is None or (isinstance(form, str) and form in _WORDS) or "one of" in form:
        return over
    if isinstance(form, str):
        another = form in ONE_SOURCE and base and not over.keys() <= base.keys()
        fields = types()[form]["fields"]
        return _merged_keys({} if another or not base else base, over, fields.__getitem__)
    if "keys" in form:
        return _merged_keys(base or {}, over, lambda key: form["keys"])
    by = form.get("by")
    if by is None:
        return over
    found = {one[by]: one for one in base or ()}
    for one in over:
        found[one[by]] = merged(found.get(one[by]), one, form["list"])
    return list(found.values())


def patch(whole: Any, part: Any, form: Form) -> Any:
    """What makes the `whole` of the `part` when it is merged into it; None where they are equal."""
    if whole == part:
        return None
    if part is None or (isinstance(form, str) and form in _WORDS) or "one of" in form:
        return whole
    if isinstance(form, str) or "keys" in form:
        fields = types()[form]["fields"] if isinstance(form, str) else {}
        found = {
            key: patch(whole[key], part.get(key), fields.get(key) or form["keys"])  # type: ignore[index]
            for key in whole
        }
        gone: dict[str, Any] = dict.fromkeys(part.keys() - whole.keys())
        return {key: value for key, value in found.items() if value is not None} | gone
    by = form.get("by")
    if by is None:
        return whole
    had = {one[by]: one for one in part}
    items = [(one[by], patch(one, had.get(one[by]), form["list"])) for one in whole]
    return [{by: name, **change} for name, change in items if change is not None]


def _merged_keys(
    base: Mapping[str, Any], over: Mapping[str, Any], form: Callable[[str], Form]
) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        if value is None:
            found.pop(key, None)
        elif key in ADDED and key in found:
            found[key] = [*found[key], *(one for one in value if one not in found[key])]
        else:
            found[key] = merged(found.get(key), value, form(key))
    return found


def _fields(value: Any, name: str, whole: bool, place: Place) -> dict[str, Any]:
    given, kind = _mapping(value, place), types()[name]
    fields = kind["fields"]
    for key in given:
        if key not in fields:
            raise problem("kubernetes", _unknown(str(key), name), (*place, key))
    for key in kind["required"] if whole else ():
        if given.get(key) is None:
            raise problem("kubernetes", f"it has no '{key}', which Kubernetes asks for", place)
    return {
        key: checked(one, fields[key], whole=whole, place=(*place, key))
        for key, one in given.items()
    }


def _unknown(key: str, name: str) -> str:
    """That a field is unknown, and which is meant: `node_selector` is nodeSelector."""
    fields = types()[name]["fields"]
    plain = {one.lower(): one for one in fields}
    same = plain.get(key.replace("_", "").replace("-", "").lower())
    said = f"Kubernetes' {'PodSpec' if name == POD else name} has no field of that name"
    near = f"did you mean '{same}'?" if same else did_you_mean(key, fields)
    if not near and name in (POD, CONTAINER):
        other, where = (CONTAINER, "container") if name == POD else (POD, "pod")
        near = f"write it below `{where}:`" if key in types()[other]["fields"] else None
    return f"{said}, {near or 'there are ' + ', '.join(fields)}"


def _mapping(value: Any, place: Place) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise problem("kubernetes", f"expected keys with values, not {_shown(value)}", place)
    return value


def _word(value: Any, form: str, place: Place) -> Any:
    meant, kinds, _ = _WORDS[form]
    if form == "text" and isinstance(value, bool | int | float):
        return json.dumps(value)  # as YAML writes it: true, 2
    ok = isinstance(value, kinds) and (form == "truth" or not isinstance(value, bool))
    if ok and form == "quantity" and "{{" not in str(value):
        ok = _QUANTITY.fullmatch(str(value)) is not None
    if not ok:
        raise problem("kubernetes", f"expected {meant}, not {_shown(value)}", place)
    return str(value) if form == "quantity" else value


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:78] + " …"


def _part(name: str, value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = checked(value, name, whole=False)
    for kind in ("containers", "initContainers") if name == POD else ():
        for i, one in enumerate(found.get(kind) or ()):
            if one["name"] in OURS:
                said = f"'{one['name']}' is not yours to make, write {OURS[one['name']]}"
                raise problem("kubernetes", said, (kind, i, "name"))
    return found


def _shown_as(name: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "object", _MARK: name})


Pod = Annotated[dict[str, Any], AfterValidator(partial(_part, POD)), _shown_as(POD)]
"""Fields of a pod's spec, and `metadata` with labels and annotations; merged into ours."""
MainContainer = Annotated[
    dict[str, Any], AfterValidator(partial(_part, CONTAINER)), _shown_as(CONTAINER)
]
"""Fields of a container; merged into ours."""
Claim = Annotated[dict[str, Any], AfterValidator(partial(checked, form=CLAIM)), _shown_as(CLAIM)]
"""A PersistentVolumeClaim, whole."""
