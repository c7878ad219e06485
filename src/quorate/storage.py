"""One face for local folders, ZIP archives and S3 prefixes.

A `Tree` is a root with files below it; a file's name is relative to the root, with '/' between
its folders, wherever the root is. Roots and locations are written as

    pictures/                   a local folder
    export.zip                  a local ZIP archive
    export.zip/images           a folder inside a ZIP archive
    s3://bucket/prefix/         an S3 prefix; the environment says who and where
                                (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_PROFILE, …)
    s3://bucket/export.zip      an archive in S3, fetched into a temporary file

`names` are in order of their code points, which is CVAT's default ("lexicographical") order of
pictures, and S3's own. No name leads outside its root: `..`, absolute names and links that leave
the root are refused, as is an archive that holds such a member or that unpacks to far more than
it weighs. Every tree may be read from several threads at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Self, cast

from quorate.errors import FormatError, InputError, QuorateError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ZIP_RATIO = 200
"""An archive may unpack to this many times its own size …"""
ZIP_FLOOR = 256 << 20
"""… or to this many bytes, whichever is more; beyond, it is taken for a bomb."""
HEADER = 64 << 10
"""Bytes fetched at once from S3 when a file is opened rather than read."""

_OUTSIDE = re.compile(r"(?:^|/)\.\.(?:/|$)|^/|^[A-Za-z]:|[\\\x00]")
_IN_ZIP = re.compile(r"(?P<archive>.+?\.zip)(?:/+(?P<inside>.*))?$", re.IGNORECASE | re.DOTALL)


class Tree(ABC):
    """Files below one root. Use it as a context manager; see the module for names and order."""

    root: str

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Every file below the root, by rising code points; no folders."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file to read from; seekable, and cheap when only its first bytes are wanted."""

    def read(self, name: str) -> bytes:
        """A file's bytes; InputError where there is no such file."""
        with self.open(name) as file:
            return file.read()

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            self.open(name).close()
        except InputError:
            return False
        return True

    def close(self) -> None:  # noqa: B027  most trees hold nothing open
        """Release what the tree holds open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tree(root: str | os.PathLike[str]) -> Tree:
    """The tree at a root, as the module describes them.

    Raises InputError where there is nothing, FormatError for an archive that is not one or not
    safe, StorageError where S3 does not answer.
    """
    root = os.fspath(root)
    if is_s3(root):
        bucket, prefix = _s3_split(root)
        found = _IN_ZIP.match(prefix)
        if found:
            archive = f"s3://{bucket}/{found['archive']}"
            spool = tempfile.TemporaryFile()  # noqa: SIM115  the tree closes it
            with _s3_errors(archive):
                _s3().download_fileobj(bucket, found["archive"], spool)
            return _ZipTree(root, archive, spool, found["inside"] or "")
        return _S3Tree(root, bucket, prefix)
    if os.path.isdir(root):
        return _FolderTree(root)
    local = _in_zip(root)
    if local:
        archive, inside = local
        try:
            file = open(archive, "rb")  # noqa: SIM115  the tree closes it
        except OSError as error:
            _refuse(archive, error)
        return _ZipTree(root, archive, file, inside)
    if os.path.exists(root):
        raise InputError(f"{root}: neither a folder nor a ZIP archive.")
    raise InputError(f"{root}: there is no such folder or archive.")


def read_bytes(location: str | os.PathLike[str]) -> bytes:
    """The bytes of one file: local, inside a ZIP archive, or in S3."""
    with open_file(location) as file:
        return file.read()


def open_file(location: str | os.PathLike[str]) -> BinaryIO:
    """One file to read from: local, inside a ZIP archive, or in S3 (as a stream, not seekable)."""
    location = os.fspath(location)
    if is_s3(location):
        bucket, key = _s3_split(location)
        with _s3_errors(location):
            return cast(BinaryIO, _s3().get_object(Bucket=bucket, Key=key)["Body"])
    try:
        return open(location, "rb")
    except (NotADirectoryError, FileNotFoundError) as error:
        found = _in_zip(location)
        if not found or not found[1]:
            _refuse(location, error)
        with open_tree(found[0]) as tree:
            return io.BytesIO(tree.read(found[1]))
    except OSError as error:
        _refuse(location, error)


def write_bytes(location: str | os.PathLike[str], data: bytes) -> None:
    """Write one file, local or in S3, so that it appears whole or not at all."""
    with writing(location) as file:
        file.write(data)


@contextlib.contextmanager
def writing(location: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that appears at `location` when the block ends, and not if it raises."""
    location = os.fspath(location)
    if is_s3(location):
        bucket, key = _s3_split(location)
        with tempfile.TemporaryFile() as spool:
            yield cast(BinaryIO, spool)
            spool.seek(0)
            with _s3_errors(location):
                _s3().upload_fileobj(spool, bucket, key)
        return
    path = Path(location)
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(unfinished, path)
        unfinished = None
    except OSError as error:
        raise InputError(f"{location}: cannot be written ({error.strerror or error}).") from None
    finally:
        if unfinished:
            os.unlink(unfinished)


def is_s3(location: str | os.PathLike[str]) -> bool:
    """Whether a location is in S3."""
    return os.fspath(location).startswith("s3://")


def exists(location: str | os.PathLike[str]) -> bool:
    """Whether there is a file, local or in S3, at a location."""
    if not is_s3(location):
        return os.path.isfile(location)
    bucket, key = _s3_split(os.fspath(location))
    try:
        with _s3_errors(os.fspath(location)):
            _s3().head_object(Bucket=bucket, Key=key)
    except InputError:
        return False
    return True


def join(root: str | os.PathLike[str], *names: str) -> str:
    """The location of a name below a root, of whichever kind the root is."""
    root = os.fspath(root)
    parts = [name.strip("/") for name in names if name.strip("/")]
    return "/".join([root.rstrip("/") or root[:1], *parts]) if parts else root


def safe_name(name: str, *, origin: str) -> str:
    """`name` as it is, or InputError, naming its `origin`, where it leads outside its root."""
    if not name or _OUTSIDE.search(name):
        raise InputError(f"{origin}: the name {name!r} leads outside its root.")
    return name


class _FolderTree(Tree):
    def __init__(self, root: str) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def names(self) -> Iterator[str]:
        found = []
        for folder, _, files in os.walk(self._real, followlinks=False):
            relative = os.path.relpath(folder, self._real).replace(os.sep, "/")
            prefix = "" if relative == "." else f"{relative}/"
            found += [prefix + file for file in files]
        for name in found:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{self.root}: the file name {name!r} is not UTF-8.") from None
        return iter(sorted(found))

    def open(self, name: str) -> BinaryIO:
        path = os.path.realpath(os.path.join(self._real, safe_name(name, origin=self.root)))
        if os.path.commonpath((path, self._real)) != self._real:
            raise InputError(f"{self.root}: '{name}' is a link that leads outside its root.")
        try:
            return open(path, "rb")
        except OSError as error:
            _refuse(join(self.root, name), error)


class _ZipTree(Tree):
    def __init__(self, root: str, archive: str, file: BinaryIO, inside: str) -> None:
        self.root = root
        self._file = file
        self._prefix = f"{inside.strip('/')}/" if inside.strip("/") else ""
        try:
            self._zip = zipfile.ZipFile(file)
            self._members = _checked(archive, self._zip, os.fstat(file.fileno()).st_size)
        except (zipfile.BadZipFile, UnicodeDecodeError, OSError, NotImplementedError) as error:
            file.close()
            raise FormatError(f"{archive}: not a readable ZIP archive ({error}).") from None
        except QuorateError:
            file.close()
            raise
        if self._prefix and not any(name.startswith(self._prefix) for name in self._members):
            file.close()
            raise InputError(f"{archive}: there is no folder '{inside}' inside.")

    def names(self) -> Iterator[str]:
        cut = len(self._prefix)
        return iter(sorted(n[cut:] for n in self._members if n.startswith(self._prefix)))

    def exists(self, name: str) -> bool:
        return self._prefix + name in self._members

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._open(name))

    def read(self, name: str) -> bytes:
        try:
            with self._open(name) as file:
                data: bytes = file.read()
                return data
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, _zlib_error()) as error:
            raise FormatError(f"{join(self.root, name)}: cannot be unpacked ({error}).") from None

    def _open(self, name: str) -> Any:
        member = self._members.get(self._prefix + safe_name(name, origin=self.root))
        if member is None:
            raise InputError(f"{join(self.root, name)}: there is no such file.")
        try:
            return self._zip.open(member)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise FormatError(f"{join(self.root, name)}: cannot be unpacked ({error}).") from None

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _S3Tree(Tree):
    def __init__(self, root: str, bucket: str, prefix: str) -> None:
        self.root = root
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = _s3()

    def names(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2")
        with _s3_errors(self.root):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    name = item["Key"][len(self._prefix) :]
                    if name and not name.endswith("/"):
                        yield name

    def exists(self, name: str) -> bool:
        return exists(join(self.root, name))

    def read(self, name: str) -> bytes:
        location = f"s3://{self._bucket}/{self._key(name)}"
        with _s3_errors(location):
            return self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()

    def open(self, name: str) -> BinaryIO:
        raw = _S3File(self._client, self._bucket, self._key(name))
        return cast(BinaryIO, io.BufferedReader(raw, HEADER))

    def _key(self, name: str) -> str:
        return self._prefix + safe_name(name, origin=self.root)


class _S3File(io.RawIOBase):
    """A seekable object in S3, fetched by ranges."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client, self._bucket, self._key = client, bucket, key
        self._position = 0
        with _s3_errors(f"s3://{bucket}/{key}"):
            self._size = client.head_object(Bucket=bucket, Key=key)["ContentLength"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        with _s3_errors(f"s3://{self._bucket}/{self._key}"):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={self._position}-{end - 1}"
            )
            data = answer["Body"].read()
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _checked(archive: str, opened: zipfile.ZipFile, weight: int) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name; FormatError for one that is not to be trusted."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        if _OUTSIDE.search(member.orig_filename) or not member.filename:
            raise FormatError(f"{archive}: its member {member.orig_filename!r} leads outside it.")
        if member.is_dir():
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            raise FormatError(f"{archive}: its member '{member.filename}' is a link.")
        if member.flag_bits & 1:
            raise FormatError(f"{archive}: its member '{member.filename}' is encrypted.")
        if member.filename in members:
            raise FormatError(f"{archive}: holds two members named '{member.filename}'.")
        members[member.filename] = member
    total = sum(member.file_size for member in members.values())
    if total > max(ZIP_FLOOR, ZIP_RATIO * weight):
        raise FormatError(
            f"{archive}: would unpack to {total:,} bytes from {weight:,}; it is taken for a bomb.",
            hint="unpack it yourself where you trust it, and give the folder",
        )
    return members


def _in_zip(location: str) -> tuple[str, str] | None:
    """The archive and the name inside it, where a location leads into a local ZIP archive."""
    path, inside = location.rstrip("/"), ""
    while path and path != os.path.dirname(path):
        if os.path.isfile(path):
            return (path, inside) if zipfile.is_zipfile(path) or path.endswith(".zip") else None
        path, name = os.path.split(path)
        inside = f"{name}/{inside}" if inside else name
    return None


def _refuse(location: str, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise InputError(f"{location}: there is no such file.") from None
    if isinstance(error, IsADirectoryError):
        raise InputError(f"{location}: is a folder, not a file.") from None
    raise InputError(f"{location}: cannot be read ({error.strerror or error}).") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _zlib_error() -> type[Exception]:
    import zlib

    return zlib.error


def _s3_split(location: str) -> tuple[str, str]:
    bucket, _, key = location[len("s3://") :].partition("/")
    if not bucket:
        raise InputError(f"{location}: names no bucket.")
    return bucket, key


@cache
def _s3() -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32)
    return boto3.client("s3", config=config)


@contextlib.contextmanager
def _s3_errors(location: str) -> Iterator[None]:
    """What boto3 raises, as InputError where trying again is vain, else as StorageError."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
    )

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in {"404", "NoSuchKey", "NotFound"}:
            raise InputError(f"{location}: there is no such file.") from None
        if code == "NoSuchBucket":
            raise InputError(f"{location}: there is no such bucket.") from None
        if code in {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
            raise InputError(f"{location}: S3 refused access ({code}).") from None
        raise StorageError(f"{location}: {error}.") from None
    except (NoCredentialsError, ParamValidationError) as error:
        raise InputError(f"{location}: {error}.") from None
    except (BotoCoreError, S3UploadFailedError) as error:
        raise StorageError(f"{location}: {error}.") from None
