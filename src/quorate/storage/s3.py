"""Files in S3, and what is wrong when it does not give them.

The environment says who and where, as boto3 reads it: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_PROFILE, …, or the identity of the machine or pod.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from quorate.errors import AccessError, InputError, QuorateError, StorageError
from quorate.storage.tree import Tree, join, safe_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HEADER = 64 << 10
"""Bytes fetched at once when a file is opened rather than read."""
BLOCK = 8 << 20
"""Bytes fetched at once of a file that is read from its beginning to its end."""
CONNECTIONS = 64
"""Most requests at once."""
TRIES = 4
"""Times that a file is asked for whose bytes break off; boto3 itself tries what comes before."""

T = TypeVar("T")

_MISSING = {"404", "NoSuchKey", "NotFound"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_REFUSED = {
    "401",
    "403",
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_REMEDY = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a cluster, the Secret they come from), "
    "and that they may use this bucket"
)


def split(location: str) -> tuple[str, str]:
    """The bucket and the key of `s3://bucket/key`."""
    bucket, _, key = location[len("s3://") :].partition("/")
    if not bucket:
        raise InputError(f"{location}: names no bucket.")
    return bucket, key


@cache
def client() -> S3Client:
    """The one client, which many threads may use; InputError where the environment is wrong."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=CONNECTIONS
    )
    try:
        return boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise InputError(
            f"S3 cannot be used: {str(error).rstrip('.')}.",
            hint="check AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE",
        ) from None


@contextlib.contextmanager
def s3_errors(location: str) -> Iterator[None]:
    """What boto3 raises: AccessError or InputError where trying again is vain, or StorageError."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
        PartialCredentialsError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )

    try:
        yield
    except ClientError as error:
        raise _answered(location, error) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessError(f"{location}: {_sentence(error)}", hint=_REMEDY) from None
    except (TokenRetrievalError, UnauthorizedSSOTokenError) as error:
        raise AccessError(f"{location}: {_sentence(error)}", hint="log in again") from None
    except (NoRegionError, ParamValidationError) as error:
        raise InputError(f"{location}: {_sentence(error)}") from None
    except EndpointConnectionError as error:
        at = urlsplit(error.kwargs["endpoint_url"])
        raise StorageError(
            f"{location}: the store at {at.scheme}://{at.netloc} cannot be reached.",
            hint="is the store up, and AWS_ENDPOINT_URL its address?",
        ) from None
    except (BotoCoreError, S3UploadFailedError) as error:
        raise StorageError(f"{location}: {_sentence(error)}") from None


def _answered(location: str, error: Any) -> QuorateError:
    """What the store's refusal means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _MISSING:
        return InputError(f"{location}: there is no such file.")
    if code == "NoSuchBucket":
        return InputError(f"{location}: there is no such bucket.")
    if code in _EXPIRED:
        return AccessError(
            f"{location}: the credentials for S3 have expired ({code}).",
            hint="get new ones: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN "
            "(in a cluster, the Secret they come from)",
        )
    if code == "RequestTimeTooSkewed":
        return AccessError(f"{location}: S3 refused access ({code}).", hint="set the clock")
    if code in _REFUSED:
        return AccessError(f"{location}: S3 refused access ({code}).", hint=_REMEDY)
    if code == "400":
        # The answer to a HEAD has no body to say more; mostly it is a token that has expired.
        return AccessError(f"{location}: S3 refused the request ({code}).", hint=_REMEDY)
    return StorageError(f"{location}: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    return f"{' '.join(str(error).split()).rstrip('.')}."


def exists(location: str) -> bool:
    """Whether there is such an object."""
    bucket, key = split(location)
    try:
        with s3_errors(location):
            client().head_object(Bucket=bucket, Key=key)
    except InputError:
        return False
    return True


def fetch(location: str, file: BinaryIO) -> None:
    """Write an object into a file, in several parts at once where it is large."""
    bucket, key = split(location)
    with s3_errors(location):
        client().download_fileobj(bucket, key, file)


def put(location: str, file: BinaryIO) -> None:
    """Make an object of what can be read from a file."""
    bucket, key = split(location)
    with s3_errors(location):
        client().upload_fileobj(file, bucket, key)


def remove(location: str) -> None:
    """Remove every object below a prefix."""
    bucket, _ = split(location)
    with S3Tree(location) as tree:
        for name in list(tree.names()):
            with s3_errors(location):
                client().delete_object(Bucket=bucket, Key=tree.key(name))


def open_object(location: str, *, block: int = BLOCK) -> BinaryIO:
    """An object to read from, fetched by blocks; seekable."""
    return cast(BinaryIO, io.BufferedReader(_Object(*split(location), block), block))


class S3Tree(Tree):
    """The objects below a prefix."""

    remote = True

    def __init__(self, root: str) -> None:
        self.root = root
        self._bucket, prefix = split(root)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = client()

    def names(self) -> Iterator[str]:
        """See `Tree`."""
        return (name for name, _ in self._listed())

    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """See `Tree`."""
        tags = dict(self._listed())
        return tuple(tags.get(name, "") for name in names)

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Each file's name and ETag."""
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors(self.root):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    name = item["Key"][len(self._prefix) :]
                    if name and not name.endswith("/"):
                        yield name, item["ETag"].strip('"')

    def exists(self, name: str) -> bool:
        """See `Tree`."""
        return exists(join(self.root, name))

    def read(self, name: str) -> bytes:
        """See `Tree`."""
        key = self.key(name)

        def get() -> bytes:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

        return _patiently(f"s3://{self._bucket}/{key}", get)

    def open(self, name: str) -> BinaryIO:
        """See `Tree`."""
        raw = _Object(self._bucket, self.key(name), HEADER)
        return cast(BinaryIO, io.BufferedReader(raw, HEADER))

    def key(self, name: str) -> str:
        """The object's key in its bucket."""
        return self._prefix + safe_name(name, origin=self.root)


def _patiently(location: str, get: Callable[[], T]) -> T:
    """Ask again where the bytes of an answer break off, which boto3 leaves to its caller."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    with s3_errors(location):
        for _ in range(TRIES - 1):
            with contextlib.suppress(IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                return get()
        return get()


class _Object(io.RawIOBase):
    """A seekable object in S3, fetched by ranges; the first of them when it is opened."""

    def __init__(self, bucket: str, key: str, block: int) -> None:
        self._bucket, self._key = bucket, key
        self._position = 0
        self._size = block  # until the first answer says better
        self._first = b""
        self._first = self._range(0, block)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._range(self._position, self._position + len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._range(self._position, self._size)
        while self._position + len(data) < self._size:
            data += self._range(self._position + len(data), self._size)
        self._position += len(data)
        return data

    def _range(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, or fewer, but some where there are some."""
        if start < len(self._first):
            return self._first[start:end]
        end = min(end, self._size)
        if end <= start:
            return b""
        from botocore.exceptions import ClientError

        def get() -> bytes:
            try:
                answer = client().get_object(
                    Bucket=self._bucket, Key=self._key, Range=f"bytes={start}-{end - 1}"
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("InvalidRange", "416"):
                    raise
                self._size = 0  # the only file without a first byte
                return b""
            self._size = int(
                answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
            )
            return answer["Body"].read()

        return _patiently(f"s3://{self._bucket}/{self._key}", get)
