"""A model on a server, as described in a spec; nothing here needs a client's library."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic import model_validator as validator_of_all

from quorate.spec.base import Location, SpecModel
from quorate.spec.words import problem

SCHEMES = ("http", "https", "grpc", "grpcs")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _named(headers: dict[str, str]) -> dict[str, str]:
    """Refuse what is no name of a variable; it may be the secret itself, so it is not repeated."""
    for header, variable in headers.items():
        if not _HEADER.fullmatch(header):
            raise problem("header", f"'{header}' is no header")
        if not _VARIABLE.fullmatch(variable):
            raise problem(
                "header_value",
                f"'{header}' must be given the name of an environment variable that holds its "
                "value, never the value itself",
            )
    return headers


class ModelServer(SpecModel):
    """Where a model is, on a server that speaks the Open Inference Protocol, and how it is asked.

    connection  the fields that a model's answers do not depend on
    """

    connection: ClassVar[frozenset[str]] = frozenset(
        {"request_timeout", "retries", "concurrency", "headers", "tls_verify", "tls_ca"}
    )

    url: str = Field(
        description="Where the server is: http://, https://, grpc:// or grpcs://, and what stands "
        "before /v2 in its paths."
    )
    model: str = Field(min_length=1, description="The model's name on the server.")
    version: str | None = Field(
        None, min_length=1, description="The model's version; default: the server's choice."
    )
    binary: Literal["auto"] | bool = Field(
        "auto",
        description="Over HTTP, send tensors as bytes rather than JSON; auto: where the server "
        "announces that it takes them.",
        examples=["auto", False],
    )
    request_timeout: PositiveFloat = Field(60, description="Seconds for a whole answer.")
    retries: NonNegativeInt = Field(
        5, description="How often a request is made again where the server is busy or away."
    )
    concurrency: PositiveInt = Field(8, description="Most requests under way at once.")
    headers: Annotated[dict[str, str], AfterValidator(_named)] = Field(
        default_factory=dict,
        description="Header: the environment variable that holds its value.",
        examples=[{"Authorization": "MODEL_SERVER_AUTHORIZATION"}],
        repr=False,
    )
    tls_verify: bool = Field(True, description="Check the server's certificate.")
    tls_ca: Location | None = Field(
        None, description="A PEM file of authorities to trust instead of the system's."
    )

    @validator_of_all(mode="after")
    def _address(self) -> Self:
        """For the whole, so that an address with a password in it is not repeated in the error."""
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            wrong = f"`url` must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}"
        elif parts.username is not None or parts.password is not None:
            wrong = "`url` holds a password; give it through `headers`, from the environment"
        elif parts.query or parts.fragment:
            wrong = "`url` goes on after '?' or '#'; give what stands before /v2"
        elif self.rpc and parts.path.strip("/"):
            wrong = "`url` has a path, which gRPC has no place for"
        elif self.rpc and not self.tls_verify:
            wrong = "`tls_verify: false` is not to be had with gRPC; name a `tls_ca` instead"
        else:
            return self
        raise problem("url", wrong)

    @property
    def rpc(self) -> bool:
        """Whether the server is spoken to over gRPC."""
        return self.url.startswith("grpc")

    @property
    def origin(self) -> str:
        """The model as errors name it."""
        return f"{self.model} at {self.url.rstrip('/')}"
