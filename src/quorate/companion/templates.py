"""A WorkflowTemplate of the cluster as something to start: its parameters as fields of a form.

Argo's parameters have a name, a value, a description and an `enum`. What a form wants besides
stands in one annotation of the template, `quorate/form`: YAML or JSON, for each parameter what
differs:

    quorate/form: |
      cvat-finetune-checkpoint:
        displayName: Go on from
        hint: A checkpoint in the bucket.
        type: text            # text, number, textarea, select, nodepool, checkbox
        visibility: public    # public is asked for; private and internal are not
        required: true
      pool: {type: nodepool, label: gpu-pool}

It decides what people see, never what is run: a value of another type, and a parameter that the
template does not have, are an error that names the annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from quorate.argo.names import FORM
from quorate.argo.runs.submit import DATA, OUT
from quorate.companion import forms
from quorate.companion.forms import Field, Template
from quorate.cvat.cluster.dag import CHECKPOINT, CLASSES, FORMAT, TASK
from quorate.errors import SpecError, did_you_mean
from quorate.spec.base import load_yaml
from quorate.spec.workflow import Visibility, Widget

Json = Mapping[str, Any]
USED_BY = ("used-by", "cvat")
"""The label of templates that are shown."""
TITLE, DESCRIPTION = "workflows.argoproj.io/title", "workflows.argoproj.io/description"
FILLED = (DATA, OUT, CLASSES, TASK)
"""Parameters that are filled in and never asked for."""
REPLACE, TRACKS = "@replace", "@tracks"
"""The fields that are not the template's; no parameter of Argo's can have such a name."""
LABELS = {
    FORMAT: "Format that CVAT exports the task in",
    CHECKPOINT: "Checkpoint to go on from",
    "ensemble-option": "Which boxes count",
    "one-pod": "Pictures that one pod does alone",
    "shard-size": "Pictures in a shard",
}
"""What parameters are called that many templates share, where the template does not say."""
_KEYS = {"displayName", "hint", "type", "label", "visibility", "required", "options", "value"}
Pools = Callable[[str | None], tuple[str, ...]]
"""The pools of nodes; with a label, its values."""


def is_offered(template: Json) -> bool:
    """Whether a template is for people who label."""
    return (template["metadata"].get("labels") or {}).get(USED_BY[0]) == USED_BY[1]


def of(template: Json, pools: Pools) -> Template:
    """A WorkflowTemplate as something to start.

    Raises SpecError where its annotation is wrong: the sentence names it.
    """
    metadata = template["metadata"]
    name, notes = str(metadata["name"]), metadata.get("annotations") or {}
    listed = (template["spec"].get("arguments") or {}).get("parameters") or ()
    parameters = {str(one["name"]): one for one in listed}
    said = _forms(str(notes.get(FORM, "")), parameters, f"{name}: the annotation {FORM}")
    fields = [_field(one, said.get(key, {}), pools) for key, one in parameters.items()]
    fields += [replace(forms.REPLACE, name=REPLACE), replace(forms.TRACKS, name=TRACKS)]
    return Template(
        name=name,
        title=str(notes.get(TITLE) or name),
        description=str(notes.get(DESCRIPTION) or ""),
        runner="cluster",
        fields=tuple(fields),
        trains=bool({CHECKPOINT, CLASSES} & parameters.keys()),
    )


def _forms(text: str, parameters: Json, where: str) -> dict[str, dict[str, Any]]:
    """What the annotation says, by parameter."""
    if not text.strip():
        return {}
    forms = load_yaml(text, origin=where)
    for name, said in forms.items():
        if name not in parameters:
            hint = did_you_mean(name, parameters) or f"there are {', '.join(parameters)}"
            raise SpecError(f"{where} names a parameter '{name}' that is not there.", hint=hint)
        if not isinstance(said, dict):
            raise SpecError(f"{where}: '{name}' has no keys such as hint.")
        for key in said.keys() - _KEYS:
            hint = did_you_mean(str(key), _KEYS) or f"there are {', '.join(sorted(_KEYS))}"
            raise SpecError(f"{where}: '{name}' has an unknown key '{key}'.", hint=hint)
        for key, choices in (("type", get_args(Widget)), ("visibility", get_args(Visibility))):
            # The types of old forms have two parts: input.text, select.nodepool.
            word = str(said.get(key, choices[0])).rpartition(".")[2]
            if word not in choices:
                raise SpecError(
                    f"{where}: '{name}' has the {key} '{said[key]}'.",
                    hint=f"there are {', '.join(choices)}",
                )
            if key in said:
                said[key] = word
    return forms


def _field(one: Json, form: Json, pools: Pools) -> Field:
    name = str(one["name"])
    given = one.get("value", one.get("default"))
    value = str(form["value"]) if "value" in form else "" if given is None else str(given)
    options = tuple(map(str, form.get("options") or one.get("enum") or ()))
    widget: Widget = form.get("type") or (
        "select" if options else "textarea" if "\n" in value else "text"
    )
    if widget == "nodepool":
        label = form.get("label")
        options = pools(None if label is None else str(label))
    visibility: Visibility = "internal" if name in FILLED else form.get("visibility", "public")
    return Field(
        name,
        str(form.get("displayName") or LABELS.get(name, "")),
        str(form.get("hint") or one.get("description") or ""),
        widget=widget,
        value=value,
        options=options if widget in ("select", "nodepool") else (),
        # What has no value of its own must be said by somebody.
        required=form.get("required", given is None) is True,
        visibility=visibility,
    )
