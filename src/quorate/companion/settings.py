"""What an administrator says of the companion: a YAML file, and options of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from quorate.errors import AccessError, InputError, file_error
from quorate.spec.base import Location, SpecModel, load_yaml
from quorate.spec.text import Name
from quorate.spec.words import patterned
from quorate.storage import is_s3

OWN_SECRET, OWN_TOKEN = "QUORATE_WEBHOOK_SECRET", "QUORATE_CVAT_TOKEN"
"""What the environment has for webhooks: secrets do not stand in files of settings."""
SHORTEST = 16


Site = Annotated[
    str,
    patterned(
        r"^https?://[A-Za-z0-9.\[\]:_-]+/?$",
        "an address without a path, such as https://cvat.example.org",
    ),
    AfterValidator(lambda address: address.rstrip("/")),  # the companion's links begin at `/`
]


def site(address: str) -> str:
    """An address without a path; InputError where it is none."""
    try:
        return TypeAdapter(Site).validate_python(address)
    except ValidationError:
        raise InputError(
            f"{address}: is no address without a path, such as https://quorate.example.org."
        ) from None


def webhook_secret() -> str:
    """The secret that webhooks are signed with; AccessError where the environment has none."""
    secret = os.environ.get(OWN_SECRET, "").strip()
    if len(secret) < SHORTEST:
        raise AccessError(
            f"Webhooks need a secret of {SHORTEST} characters or more in {OWN_SECRET}.",
            hint="such as that of `openssl rand -hex 32`",
        )
    return secret


def own_token() -> str:
    """The token of the companion's own account; AccessError where the environment has none."""
    token = os.environ.get(OWN_TOKEN, "").strip()
    if not token:
        raise AccessError(
            f"Webhooks need a token in {OWN_TOKEN}.",
            hint="a personal access token of an account of CVAT's that is the companion's own",
        )
    return token


class Cluster(SpecModel):
    """Where templates are looked for, and runs are submitted to."""

    namespace: Name | None = Field(None, description="Default: that of the kubeconfig or pod.")
    server: str | None = Field(None, description="argo-server as HOST:PORT; else Kubernetes' API.")


class When(SpecModel):
    """What a job has to reach; what is not said may be anything."""

    stage: Literal["annotation", "validation", "acceptance"] | None = Field(
        None, description="The job's stage."
    )
    state: Literal["new", "in progress", "completed", "rejected"] | None = Field(
        None, description="The job's state."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.stage is None and self.state is None:
            raise PydanticCustomError("when", "say a stage or a state, such as {state: completed}")
        return self


class StageRule(SpecModel):
    """A run that begins when a job reaches a stage or a state."""

    when: When = Field(description="What the job has to reach.")
    run: str = Field(description="The template, by its name.")
    project: int | None = Field(None, ge=1, description="Jobs of this project alone.")
    values: dict[str, str] = Field(
        {}, description="Answers to the template's form; default: its own."
    )


class Hooks(SpecModel):
    """What is done about CVAT's webhooks; see also `OWN_TOKEN` and `OWN_SECRET`."""

    links: bool = Field(
        False, description="Make the companion the link of new tasks that have none."
    )
    comments: bool = Field(True, description="Take /run NAME in comments on issues.")
    rules: tuple[StageRule, ...] = Field((), description="Runs when jobs reach a stage or state.")


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
    hooks: Hooks | None = Field(None, description="What is done about CVAT's webhooks.")
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
        if settings.hooks is not None and settings.hooks.links and settings.url is None:
            raise InputError(
                "`hooks: {links: true}` needs the address that the links lead to.",
                hint="--url https://quorate.example.org, or `url:` in the settings",
            )
        return settings

    def link(self, task: int) -> str:
        """The companion's page of a task, for browsers."""
        return f"{self.url}/tasks/{task}"

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        if self.state is not None:
            return Path(self.state)
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "quorate" / "companion"
