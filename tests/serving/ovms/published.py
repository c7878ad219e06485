"""The schema that OpenVINO Model Server holds its configuration against.

`config_schema.json` is MODELS_CONFIG_SCHEMA of src/schema.cpp, with the parts it is made of, in
https://github.com/openvinotoolkit/model_server, commit 7e4df0c7 of August 2026 (Copyright Intel
Corporation, Apache-2.0).
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

SCHEMA = Path(__file__).with_name("config_schema.json")


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(json.loads(SCHEMA.read_text()))


def problems(configuration: Any) -> list[str]:
    """What that server would refuse, each with its place."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in _validator().iter_errors(configuration)
    ]
