"""Forms of text that a cluster takes: names, labels, quantities, durations."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from quorate.spec.words import patterned

_BUCKET = r"^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$"
_CONFIG_MAP = r"^[a-z0-9][-a-z0-9.]*(/[-A-Za-z0-9_.]+)?$"
# RFC 1123's label: it can name a folder, a task of a DAG and the value of a Kubernetes label.
_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_NAME = rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL}$"
_TIME = r"^([1-9]\d*h(\d+m)?(\d+s)?|[1-9]\d*m(\d+s)?|[1-9]\d*s)$"
_QUANTITY = r"^(\d*[1-9]\d*(\.\d+)?|0+\.\d*[1-9]\d*)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_PARAMETER = r"^[A-Za-z0-9][-A-Za-z0-9_]*$"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(duration: str) -> int:
    """How long `1h30m` is, in seconds."""
    found = _DURATION.fullmatch(duration)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return (hours * 60 + minutes) * 60 + rest


def _as_yaml_writes_it(value: Any) -> Any:
    """Kubernetes takes only text here; YAML reads `true` and `2` as other types."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Word = Annotated[
    str, BeforeValidator(_as_yaml_writes_it, json_schema_input_type=str | bool | int | float)
]
Name = Annotated[str, patterned(_NAME, "at most 63 of a-z, 0-9 and -, the first and the last no -")]
Bucket = Annotated[str, patterned(_BUCKET, "a bucket's name: a-z, 0-9, - and .")]
ConfigMap = Annotated[str, patterned(_CONFIG_MAP, "CONFIGMAP or CONFIGMAP/KEY")]
Duration = Annotated[str, patterned(_TIME, "a duration such as 90s, 10m or 1h30m")]
Quantity = Annotated[Word, patterned(_QUANTITY, "a quantity such as 500m, 4 or 8Gi")]
_VALUE = "a label's value: at most 63 of letters, digits, -, _ and ."
LabelValue = Annotated[Word, patterned(rf"^({_LABEL})?$", _VALUE)]
_KEY = "a label's name such as gpu or nvidia.com/gpu.present"
LabelName = Annotated[str, patterned(_LABEL_NAME, _KEY)]
Templated = Annotated[
    Word,
    patterned(
        rf"^(({_LABEL})?|.*\{{\{{.+\}}\}}.*)$", f"{_VALUE}, or {{{{workflow.parameters.…}}}}"
    ),
]
ParameterName = Annotated[str, patterned(_PARAMETER, "letters, digits, - and _")]
