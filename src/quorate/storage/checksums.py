"""Digests of files, and whether the bytes that arrived are those that a store keeps."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from quorate.storage.tree import refuse


class _Crc32:
    """CRC-32 as `hashlib` has its digests."""

    def __init__(self, data: bytes = b"") -> None:
        self._value = zlib.crc32(data)

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_DIGESTS: dict[str, Callable[..., Any]] = {
    "ChecksumCRC32": _Crc32,
    "ChecksumSHA1": hashlib.sha1,
    "ChecksumSHA256": hashlib.sha256,
}


def sha256(path: Path) -> str:
    """The SHA-256 of a local file in hexadecimal digits; InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        refuse(str(path), error)


def fits(file: BinaryIO, about: Mapping[str, Any], part_size: Callable[[], int]) -> bool:
    """Whether a file has the length and the checksum that a store's answer tells of an object.

    The checksum of an upload in n parts is "CHECKSUM-n", that of its parts' checksums one after
    another: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html.
    True where the store keeps a checksum of another kind, or none.
    """
    size = file.seek(0, os.SEEK_END)
    if size != about["ContentLength"]:
        return False
    for name, digest in _DIGESTS.items():
        if name not in about:
            continue
        expected, _, parts = str(about[name]).partition("-")
        length = part_size() if parts else size
        if parts and -(-size // length) != int(parts):
            continue  # parts of unequal lengths: which bytes each had is not known
        file.seek(0)
        digests = [_digest(file, length, digest) for _ in range(int(parts or 1))]
        found = digest(b"".join(digests)).digest() if parts else digests[0]
        return expected == base64.b64encode(found).decode()
    return True


def _digest(file: BinaryIO, length: int, digest: Callable[..., Any]) -> bytes:
    """The digest of the next `length` bytes."""
    sum_ = digest()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        sum_.update(block)
        length -= len(block)
    return cast(bytes, sum_.digest())
