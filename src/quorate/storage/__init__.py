"""One face for local folders, ZIP archives and S3 prefixes.

A `Tree` is a root with files below it; a file's name is relative to the root, with '/' between
its folders, wherever the root is. Roots and locations are written as

    pictures/                   a local folder
    export.zip                  a local ZIP archive
    export.zip/images           a folder inside a ZIP archive
    s3://bucket/prefix/         an S3 prefix; the environment says who and where
                                (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_PROFILE, …)
    s3://bucket/export.zip      an archive in S3, fetched into a temporary file

A picture inside a TFRecord file is named `FILE/START-LENGTH.jpg`; see `records`.

`names` are in order of their code points, which is CVAT's default ("lexicographical") order of
pictures, and S3's own. No name leads outside its root: `..`, absolute names and links that leave
the root are refused, as is an archive that holds such a member or that unpacks to far more than
it weighs. Of a local folder a picture may be a link to anywhere, and links to folders are followed
once. Every tree may be read from several threads at once.

In the order to read: `tree` is what the three have in common, `folder`, `archive` and `s3` are
they, `records` are files of records and the pictures inside them (`checksum_kernel` is compiled),
`checksums` digests files and compares what came from S3; `whole` writes files that appear
whole or not at all, `owner` lets one process at a time write.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from quorate.errors import InputError, nearest_file
from quorate.storage import s3
from quorate.storage.archive import ZipTree, in_zip
from quorate.storage.checksums import sha256
from quorate.storage.folder import RESULTS, FolderTree
from quorate.storage.tree import PICTURES, Tree, join, refuse, safe_name
from quorate.storage.whole import remove_unfinished, whole_file

__all__ = [
    "PICTURES",
    "RESULTS",
    "Tree",
    "compile_kernels",
    "exists",
    "is_s3",
    "join",
    "local_copy",
    "open_file",
    "open_tree",
    "read_bytes",
    "remove_tree",
    "remove_unfinished",
    "safe_name",
    "sha256",
    "write_bytes",
    "writing",
]

_IN_ZIP = re.compile(
    r"(?P<archive>s3://[^/]+/.+?\.zip)(?:/+(?P<inside>.*))?$", re.IGNORECASE | re.DOTALL
)


def open_tree(root: str | os.PathLike[str]) -> Tree:
    """The tree at a root, as the module describes them.

    Raises InputError where there is nothing, FormatError for an archive that is not one or not
    safe, StorageError where S3 does not answer.
    """
    root = os.fspath(root)
    if is_s3(root):
        found = _IN_ZIP.match(root)
        if found:
            spool = s3.open_object(found["archive"])
            return ZipTree(root, found["archive"], spool, found["inside"] or "")
        return s3.S3Tree(root)
    if "://" in root:
        raise InputError(
            f"{root}: read are local folders, ZIP archives and s3://.",
            hint="download it first; other clouds have an address that speaks S3 "
            "(AWS_ENDPOINT_URL)",
        )
    if os.path.isdir(root):
        return FolderTree(root)
    local = in_zip(root)
    if local:
        archive, inside = local
        try:
            file = open(archive, "rb")  # noqa: SIM115  the tree closes it
        except OSError as error:
            refuse(archive, error)
        return ZipTree(root, archive, file, inside)
    if os.path.exists(root):
        raise InputError(f"{root}: neither a folder nor a ZIP archive.")
    raise InputError(f"{root}: there is no such folder or archive.", hint=nearest_file(root))


def read_bytes(location: str | os.PathLike[str]) -> bytes:
    """The bytes of one file: local, inside a ZIP archive, or in S3."""
    with open_file(location) as file:
        return file.read()


def open_file(location: str | os.PathLike[str]) -> BinaryIO:
    """One file to read from: local, inside a ZIP archive, or in S3."""
    location = os.fspath(location)
    if is_s3(location):
        return s3.open_object(location)
    try:
        return open(location, "rb")
    except (NotADirectoryError, FileNotFoundError) as error:
        found = in_zip(location)
        if not found or not found[1]:
            refuse(location, error, hint=nearest_file(location))
        with open_tree(found[0]) as tree:
            return io.BytesIO(tree.read(found[1]))
    except OSError as error:
        refuse(location, error)


@contextlib.contextmanager
def local_copy(location: str, *, wanted: Callable[[str], bool] | None = None) -> Iterator[Path]:
    """A file, or with '/' at its end the `wanted` files of a folder, here while the block runs.

    What is local already is not copied.
    """
    if os.path.exists(location):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        path = Path(folder) / (os.path.basename(location.rstrip("/")) or "files")
        if location.endswith("/"):
            path.mkdir()
            with open_tree(location) as tree:
                for name in filter(wanted, tree.names()):
                    with tree.open(name) as source, writing(path / name) as file:
                        shutil.copyfileobj(source, file, 1 << 20)
        else:
            with open_file(location) as source, writing(path) as file:
                shutil.copyfileobj(source, file, 1 << 20)
        yield path


def write_bytes(location: str | os.PathLike[str], data: bytes) -> None:
    """Write one file, local or in S3, so that it appears whole or not at all."""
    with writing(location) as file:
        file.write(data)


@contextlib.contextmanager
def writing(location: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that appears at `location` when the block ends, and not if it raises."""
    location = os.fspath(location)
    if is_s3(location):
        with tempfile.TemporaryFile() as spool:
            yield cast(BinaryIO, spool)
            spool.seek(0)
            s3.put(location, cast(BinaryIO, spool))
        return
    with whole_file(Path(location)) as file:
        yield file


def compile_kernels() -> None:
    """Compile the kernel of checksums now, or load it from the cache."""
    from quorate.storage.records import crc32c

    crc32c(b"123456789")


def remove_tree(root: str | os.PathLike[str]) -> None:
    """Remove a local folder, or every object below an S3 prefix; nothing where there is none."""
    root = os.fspath(root)
    if is_s3(root):
        s3.remove(root)
        return
    try:
        shutil.rmtree(root)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{root}: cannot be removed ({error.strerror or error}).") from None


def is_s3(location: str | os.PathLike[str]) -> bool:
    """Whether a location is in S3."""
    return os.fspath(location).startswith("s3://")


def exists(location: str | os.PathLike[str]) -> bool:
    """Whether there is a file, local or in S3, at a location."""
    if not is_s3(location):
        return os.path.isfile(location)
    return s3.exists(os.fspath(location))
