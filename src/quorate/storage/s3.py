"""Files in S3, and what is wrong when it does not give them.

The environment says who and where, as boto3 reads it: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_PROFILE, …, or the identity of the machine or pod.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from quorate.errors import AccessError, InputError, QuorateError, StorageError
from quorate.storage.checksums import fits
from quorate.storage.records import piece_of
from quorate.storage.tree import Tree, join, safe_name, whole_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HEADER = 64 << 10
"""Bytes fetched at once when a file is opened rather than read."""
CONNECTIONS = 64
"""Most requests at once."""
REQUESTS = 5
"""Times that boto3 sends a request which is not answered."""
TRIES = 4
"""Times that a file is asked for whose bytes break off or are wrong, which boto3 leaves to us."""
CONNECT_SECONDS, ANSWER_SECONDS = 5, 15
"""How long one try waits for a connection, and for the next bytes of an answer."""
TELL_SECONDS = 5
"""Between two notes that a store does not answer."""

log = logging.getLogger("quorate.storage")

T = TypeVar("T")

_MISSING = {"404", "NoSuchKey", "NotFound"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_REFUSED = {
    *("401", "403", "AccessDenied", "AccountProblem", "AllAccessDisabled", "InvalidToken"),
    *("AuthorizationHeaderMalformed", "InvalidAccessKeyId", "InvalidClientTokenId"),
    *("SignatureDoesNotMatch", "UnrecognizedClientException"),
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
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"mode": "standard", "total_max_attempts": REQUESTS},
        max_pool_connections=CONNECTIONS,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
    )
    collects = gc.isenabled()
    gc.disable()  # to look through all that is read of S3's API would take as long as reading it
    try:
        # Nobody here asks for a time, and to parse one for each object is two thirds of a listing.
        asked = botocore.session.get_session()
        parsers = asked.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=str)
        made = boto3.session.Session(botocore_session=asked).client("s3", config=config)
        made.meta.events.register_first("needs-retry.s3", _Told())
        return made
    except (BotoCoreError, ValueError) as error:
        raise InputError(
            f"S3 cannot be used: {str(error).rstrip('.')}.",
            hint="check AWS_ENDPOINT_URL, AWS_REGION and AWS_PROFILE",
        ) from None
    finally:
        if collects:
            gc.enable()


class _RedirectedError(Exception):
    """A store answers every request with another address."""


class _Told:
    """Says, as long as a store does not answer, how often it was asked; boto3 itself is silent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = self._last = float("-inf")
        self._failed = 0

    def __call__(
        self, *, response: Any, caught_exception: Any, **_: Any
    ) -> None:  # None leaves to boto3 whether it tries again
        status = response[0].status_code if response else 0
        if 300 <= status < 400 and "x-amz-bucket-region" not in response[0].headers:
            raise _RedirectedError  # else boto3 asks for the bucket's region for ever
        if caught_exception is None and status < 500:
            self._failed = 0
            return
        why = f"it answered {status}" if status else " ".join(str(caught_exception).split())
        with self._lock:
            now = time.monotonic()
            if not self._failed:
                self._first = now
            self._failed += 1
            if now - self._last < TELL_SECONDS:
                return
            self._last = now
            since = f" in {now - self._first:.0f} s" if self._failed > 1 else ""
            log.warning(
                f"S3 does not answer ({why.rstrip('.')}): {self._failed} failed requests{since}; "
                f"each is sent {REQUESTS} times"
            )


@contextlib.contextmanager
def s3_errors(location: str) -> Iterator[None]:
    """What boto3 raises: AccessError or InputError where trying again is vain, or StorageError."""
    from boto3.exceptions import S3UploadFailedError
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError
    from s3transfer.exceptions import RetriesExceededError

    try:
        yield
    except boto.ClientError as error:
        raise _answered(location, error) from None
    except _RedirectedError:
        raise InputError(
            f"{location}: the store sends every request on to another address.",
            hint="check AWS_ENDPOINT_URL and AWS_REGION",
        ) from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise AccessError(f"{location}: {_sentence(error)}", hint=_REMEDY) from None
    except (boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError) as error:
        raise AccessError(f"{location}: {_sentence(error)}", hint="log in again") from None
    except (boto.NoRegionError, boto.ParamValidationError) as error:
        raise InputError(f"{location}: {_sentence(error)}") from None
    except boto.EndpointConnectionError as error:
        at = urlsplit(error.kwargs["endpoint_url"])
        raise StorageError(
            f"{location}: the store at {at.scheme}://{at.netloc} cannot be reached.",
            hint="is the store up, and AWS_ENDPOINT_URL its address?",
        ) from None
    except RetriesExceededError as error:
        raise StorageError(f"{location}: {_sentence(error.last_exception)}") from None
    except (boto.BotoCoreError, ResponseParserError, S3UploadFailedError) as error:
        raise StorageError(f"{location}: {_sentence(error)}") from None


class _MissingError(InputError):
    """There is no such object, or no such bucket."""


def _answered(location: str, error: Any) -> QuorateError:
    """What the store's refusal means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _MISSING:
        return _MissingError(f"{location}: there is no such file.")
    if code == "NoSuchBucket":
        return _MissingError(f"{location}: there is no such bucket.")
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
    if code in ("PreconditionFailed", "412"):
        return StorageError(f"{location}: was replaced while it was being read.")
    if code == "400":
        # The answer to a HEAD has no body to say more; mostly it is a token that has expired.
        return AccessError(f"{location}: S3 refused the request ({code}).", hint=_REMEDY)
    return StorageError(f"{location}: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    return f"{' '.join(str(error).split()).rstrip('.')}."


def exists(location: str) -> bool:
    """Whether there is such an object."""
    bucket, key = split(location)
    try:
        with s3_errors(location):
            client().head_object(Bucket=bucket, Key=key)
    except _MissingError:
        return False
    return True


def fetch(location: str, file: BinaryIO) -> None:
    """Write an object into an empty file, in several parts at once where it is large.

    The whole is compared with the checksum that the store keeps of it (boto3 gives one with each
    upload). Parts have none of their own. What does not fit is fetched again.
    """
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    bucket, key = split(location)

    def first_part() -> int:
        return client().head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"]

    def get() -> None:
        try:
            about = client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError:
            client().get_object(Bucket=bucket, Key=key)  # a refusal of HEAD cannot say why
            raise
        file.seek(0)
        file.truncate()
        once = TransferConfig(num_download_attempts=1)  # what breaks off is our care
        client().download_fileobj(bucket, key, file, Config=once)
        if not fits(file, about, first_part):
            raise _WrongBytesError(f"{location}: its bytes do not fit the checksum kept of them.")

    _patiently(location, get)


class _WrongBytesError(StorageError):
    """What arrived is not what is stored."""


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


def open_object(location: str) -> BinaryIO:
    """An object to read from, seekable: all of it, checked, in a temporary file."""
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  the caller closes it
    try:
        fetch(location, spool)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


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
        asked = tuple(names)
        tags = {whole_name(name): "" for name in asked}
        tags.update((name, tag) for name, tag in self._listed() if name in tags)
        return tuple(tags[whole_name(name)] for name in asked)

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Each file's name and ETag."""
        pages = self._client.get_paginator("list_objects_v2")
        with s3_errors(self.root):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    name = item["Key"][len(self._prefix) :]
                    if name and not name.endswith("/"):
                        yield name, item.get("ETag", "").strip('"')

    def exists(self, name: str) -> bool:
        """See `Tree`."""
        return exists(join(self.root, whole_name(name)))

    def read(self, name: str) -> bytes:
        """See `Tree`."""
        if piece_of(name):
            return super().read(name)
        key = self.key(name)

        def get() -> bytes:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

        return _patiently(f"s3://{self._bucket}/{key}", get)

    def open_whole(self, name: str) -> BinaryIO:
        """See `Tree`."""
        raw = _Object(self._bucket, self.key(name), HEADER)
        return cast(BinaryIO, io.BufferedReader(raw, HEADER))

    def key(self, name: str) -> str:
        """The object's key in its bucket."""
        return self._prefix + safe_name(name, origin=self.root)


def _patiently(location: str, get: Callable[[], T]) -> T:
    """Ask again where the bytes of an answer break off or are wrong; boto3 leaves that to us."""
    from botocore import exceptions as boto
    from s3transfer.exceptions import RetriesExceededError

    broken = (boto.FlexibleChecksumError, boto.IncompleteReadError, boto.ResponseStreamingError)
    again = (*broken, boto.ReadTimeoutError, RetriesExceededError, _WrongBytesError)
    with s3_errors(location):
        for left in reversed(range(TRIES)):
            try:
                return get()
            except again as error:
                if not left:
                    raise
                log.warning(f"{location}: asked for again ({' '.join(str(error).split())})")
    raise AssertionError("unreachable")


class _Object(io.RawIOBase):
    """A seekable object in S3, fetched by ranges; the first of them when it is opened.

    All ranges are of one version of it: StorageError where it is replaced meanwhile.
    """

    def __init__(self, bucket: str, key: str, block: int) -> None:
        self._bucket, self._key = bucket, key
        self._position = 0
        self._size = block  # until the first answer says better
        self._version: dict[str, Any] = {}
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
                    Bucket=self._bucket,
                    Key=self._key,
                    Range=f"bytes={start}-{end - 1}",
                    **self._version,
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("InvalidRange", "416"):
                    raise
                self._size = 0  # the only file without a first byte
                return b""
            self._version = {"IfMatch": answer["ETag"]} if answer.get("ETag") else {}
            self._size = int(
                answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
            )
            return answer["Body"].read()

        return _patiently(f"s3://{self._bucket}/{self._key}", get)
