"""Fields of Argo 4.1 that Hera's models, made for Argo 4.0, do not have.

Hera drops a field that its models lack, in `build()` and in `from_yaml`. So such a field is kept
beside the template, and written where the workflow becomes plain values: `to_dict` and `to_yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from hera.workflows import Container, WorkflowTemplate


@dataclass(kw_only=True)
class Newer(Container):
    """A container template with fields of Argo 4.1.

    pending_timeout  how long a pod may wait for a node. Argo ignores it where a template has a
                     retryStrategy, and counts the time that a pod waits for a semaphore.
    """

    pending_timeout: str | None = None


@dataclass(kw_only=True)
class Template(WorkflowTemplate):
    """A WorkflowTemplate whose `to_dict` and `to_yaml` know fields of Argo 4.1."""

    kind: str | None = "WorkflowTemplate"  # Hera's default is the name of the class

    def to_dict(self) -> Any:
        """Plain values, as Kubernetes takes them."""
        found = super().to_dict()
        waits = {
            template.name: template.pending_timeout
            for template in self.templates
            if isinstance(template, Newer) and template.pending_timeout
        }
        for template in found["spec"]["templates"]:
            if template["name"] in waits:
                template["pendingTimeout"] = waits[template["name"]]
        return found

    def to_yaml(self, *args: Any, **kwargs: Any) -> str:
        """The manifest: block style, a text of several lines as one."""
        return yaml.dump(
            self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
        )


class _Dumper(yaml.SafeDumper):
    """YAML as a person writes it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value.rstrip("\n") or value.endswith("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
