"""What an administrator says of the companion: a YAML file, and options of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from quorate.errors import InputError, file_error
from quorate.spec.base import Location, SpecModel, load_yaml
from quorate.spec.text import Name
from quorate.spec.words import patterned
from quorate.storage import is_s3


def _alone(value: str) -> str:
    """An address without a path: the companion's links begin at `/`."""
    return value.rstrip("/")


Site = Annotated[
    str,
    patterned(
        r"^https?://[A-Za-z0-9.\[\]:_-]+/?$",
        "an address without a path, such as https://cvat.example.org",
    ),
    AfterValidator(_alone),
]


class Cluster(SpecModel):
    """Where templates are looked for, and runs are submitted to."""

    namespace: Name | None = Field(None, description="Default: that of the kubeconfig or pod.")
    server: str | None = Field(None, description="argo-server as HOST:PORT; else Kubernetes' API.")


class Settings(SpecModel):
    """All settings; what is not said here is asked of nobody."""

    cvat: Site = Field(description="CVAT's address, the only one that is ever asked.")
    cvat_shown: Site | None = Field(
        None, description="CVAT's address for people's browsers, where it is another."
    )
    url: Site | None = Field(
        None, description="The address under which people reach the companion, where it is https."
    )
    state: Location | None = Field(
        None, description="Folder of runs and their files; default: ~/.local/state/quorate."
    )
    specs: tuple[Location, ...] = Field((), description="Specs that are run on this machine.")
    cluster: Cluster | None = Field(None, description="Where WorkflowTemplates are run.")
    storage: str | None = Field(
        None, description="Where tasks are handed over to a cluster: s3://BUCKET/FOLDER."
    )
    few_shapes: int = Field(
        100, ge=0, description="Fewer shapes in a task than this are asked about before training."
    )

    @classmethod
    def read(cls, file: str | None, **given: object) -> Self:
        """A settings file, changed by what is given besides; CVAT_URL stands in for `cvat`.

        Raises SpecError for what is wrong in it, InputError where it cannot be read.
        """
        said: dict[str, object] = {}
        folder = Path.cwd()
        if file is not None:
            path = Path(file)
            try:
                text = path.read_text(encoding="utf-8")
            except OSError as error:
                raise file_error(error) or InputError(f"{file}: is not there.") from None
            except UnicodeDecodeError:
                raise InputError(f"{file}: is no text in UTF-8.") from None
            said, folder = load_yaml(text, origin=file), path.parent.resolve()
        said |= {name: value for name, value in given.items() if value not in (None, (), {})}
        if "cvat" not in said:
            if not os.environ.get("CVAT_URL"):
                raise InputError(
                    "No CVAT server is named.",
                    hint="--cvat https://cvat.example.org, CVAT_URL, or `cvat:` in the settings",
                )
            said["cvat"] = os.environ["CVAT_URL"]
        settings = cls.model_validate(said, context={"folder": folder})
        if not settings.specs and settings.cluster is None:
            raise InputError(
                "There is nothing to start: neither specs nor a cluster are named.",
                hint="--spec street.yaml runs an ensemble here; --namespace NAME looks for "
                "WorkflowTemplates of a cluster",
            )
        if settings.storage is not None and not is_s3(settings.storage):
            raise InputError(f"{settings.storage}: is no place in S3.", hint="s3://BUCKET/FOLDER")
        if settings.cluster is not None and settings.storage is None:
            raise InputError(
                "Nothing says where tasks are handed over to the cluster.",
                hint="--storage s3://BUCKET/FOLDER, or `storage:` in the settings",
            )
        return settings

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        if self.state is not None:
            return Path(self.state)
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "quorate" / "companion"
