"""What KServe publishes of its objects, to hold what is rendered for it against.

`kserve.json.gz` has the schemas in KServe's own resource definitions of InferenceGraph and
InferenceService, config/crd/full of https://github.com/kserve/kserve, commit aaac4e29
(August 2026; Copyright The KServe Authors, Apache-2.0), without their descriptions. As a script it
writes that file anew: `python -m tests.serving.published DEFINITION.yaml ...`
"""

from __future__ import annotations

import gzip
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.argo.published import closed, plain

SCHEMAS = Path(__file__).with_name("kserve.json.gz")


@cache
def _validator(kind: str) -> Draft202012Validator:
    schema = closed(json.loads(gzip.decompress(SCHEMAS.read_bytes()))[kind])
    # Of an object's metadata a definition says nothing: it is the same for all kinds.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return Draft202012Validator(schema)


def problems(manifest: Any) -> list[str]:
    """What the API server's strict validation would refuse, each with its place."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in _validator(manifest["kind"]).iter_errors(manifest)
    ]


if __name__ == "__main__":
    found = {}
    for file in sys.argv[1:]:
        definition = yaml.safe_load(Path(file).read_text())
        found[definition["spec"]["names"]["kind"]] = plain(definition)
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    SCHEMAS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
