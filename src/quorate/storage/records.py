"""TFRecord files: records one after another, each with checksums; and pieces of such files.

A record is its length (8 bytes, little-endian), the masked CRC-32C of these, the bytes, and their
masked CRC-32C. A picture inside one has the name `FILE/START-LENGTH.jpg`: that many bytes of the
file from there on.

Sources: tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details; RFC 3720, B.4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.errors import FormatError

ENDING = r"\.(?:tfrecords?|record)(?:-\d+-of-\d+)?"
"""How a file of records is called; large ones lie in numbered parts."""
RECORDS = re.compile(rf"(?i:{ENDING})$")
_PIECE = re.compile(
    rf"^(?P<file>.+(?i:{ENDING}))/(?P<start>\d{{1,18}})-(?P<length>\d{{1,18}})\.\w+$"
)
MOST_BYTES = 1 << 27
"""A record of more is refused: it would have to be in memory at once."""
_AT_ONCE = 1 << 20
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_MASK = 0xA282EAD8


class Piece(NamedTuple):
    """Some bytes of a file."""

    file: str
    start: int
    length: int


def piece_of(name: str) -> Piece | None:
    """The piece of a file of records that a name stands for; None for any other name."""
    found = _PIECE.match(name)
    return found and Piece(found["file"], int(found["start"]), int(found["length"]))


def name_of(piece: Piece, ending: str) -> str:
    """The inverse of `piece_of`."""
    return f"{piece.file}/{piece.start}-{piece.length}{ending}"


def records(file: BinaryIO, place: str) -> Iterator[tuple[int, bytes]]:
    """Each record's position in the file, and its bytes; one at a time is in memory.

    Raises FormatError for a file that is cut short, a checksum that is wrong, or a record of more
    than `MOST_BYTES`.
    """
    at, number = 0, 1
    while head := file.read(12):
        where = f"{place}: record {number} (byte {at:,})"
        if at == 0 and head[:2] == b"\x1f\x8b":
            raise FormatError(
                f"{place}: is compressed as a whole.", hint="unpack it: gunzip, or gzip -d"
            )
        if len(head) < 12:
            raise FormatError(f"{where} is cut short.", hint=_DAMAGED)
        length, checksum = struct.unpack("<QI", head)
        if masked_crc(head[:8]) != checksum:
            hint = _DAMAGED if number > 1 else f"this is no TFRecord, or {_DAMAGED}"
            raise FormatError(f"{where}: the checksum of its length is wrong.", hint=hint)
        if length > MOST_BYTES:
            raise FormatError(f"{where}: {length:,} bytes, where {MOST_BYTES:,} are read at most.")
        data = _exactly(file, length + 4)
        if len(data) < length + 4:
            raise FormatError(f"{where} is cut short.", hint=_DAMAGED)
        if masked_crc(data[:length]) != struct.unpack("<I", data[length:])[0]:
            raise FormatError(f"{where}: the checksum of its bytes is wrong.", hint=_DAMAGED)
        yield at + 12, data[:length]
        at, number = at + 12 + len(data), number + 1


_DAMAGED = "the file is damaged: copy it again, or make it anew"


def _exactly(file: BinaryIO, length: int) -> bytes:
    """So many bytes, or all that are left; never memory for more than there are."""
    parts = []
    while length and (part := file.read(min(length, _AT_ONCE))):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def framed(data: bytes) -> bytes:
    """A record as it stands in a file."""
    head = struct.pack("<Q", len(data))
    return b"".join(
        (head, struct.pack("<I", masked_crc(head)), data, struct.pack("<I", masked_crc(data)))
    )


def masked_crc(data: bytes) -> int:
    """The CRC-32C of bytes, turned as TFRecord has it, 32 bits."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of bytes."""
    from quorate.storage.checksum_kernel import updated

    whole = len(data) // 8
    words = np.frombuffer(data, "<u8", whole)
    rest = np.frombuffer(data, np.uint8, offset=8 * whole)
    return int(updated(words, rest, _tables())) ^ 0xFFFFFFFF


@cache
def _tables() -> NDArray[np.uint64]:
    """(8, 256): what a byte does to the checksum, so many bytes before the end of eight."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    tables = [table.astype(np.uint32)]
    for _ in range(7):
        tables.append(tables[0][tables[-1] & 0xFF] ^ tables[-1] >> 8)
    return np.stack(tables).astype(np.uint64)
