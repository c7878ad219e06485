"""The loop of CRC-32C over bytes, eight at a time (compiled)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel


@kernel
def updated(
    words: NDArray[np.uint64], rest: NDArray[np.uint8], tables: NDArray[np.uint64]
) -> np.uint64:
    """The register after (n,) little-endian words and (m,) bytes, from all ones; not inverted.

    Source: Kounavis and Berry, "A Systematic Approach to Building High Performance Software-based
    CRC Generators", 2005 ("slicing by 8").
    """
    byte = np.uint64(0xFF)
    crc = np.uint64(0xFFFFFFFF)
    for i in range(len(words)):
        word = words[i] ^ crc
        crc = (
            tables[7, word & byte]
            ^ tables[6, word >> np.uint64(8) & byte]
            ^ tables[5, word >> np.uint64(16) & byte]
            ^ tables[4, word >> np.uint64(24) & byte]
            ^ tables[3, word >> np.uint64(32) & byte]
            ^ tables[2, word >> np.uint64(40) & byte]
            ^ tables[1, word >> np.uint64(48) & byte]
            ^ tables[0, word >> np.uint64(56)]
        )
    for i in range(len(rest)):
        crc = tables[0, (crc ^ np.uint64(rest[i])) & byte] ^ crc >> np.uint64(8)
    return crc
