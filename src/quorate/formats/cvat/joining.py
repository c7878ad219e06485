"""The quick way to write CVAT XML: the text of many boxes joined column by column, by pyarrow.

The bytes are those of `writing`, which does the same one shape at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quorate.annotations import Annotations
from quorate.formats.cvat.meta import attribute_text


def pictures_of_boxes(
    part: Annotations,
    heads: Sequence[str],
    bounds: NDArray[np.int64],
    labels: Mapping[int, str],
    attributes: Sequence[tuple[list[str], NDArray[np.int64]]],
    decimals: int,
) -> bytes:
    """The `<image>` elements of a part of the pictures.

    Args:
        part: their boxes, in the pictures' order; at least one.
        heads: the opening tags.
        bounds: (pictures + 1,) where the boxes of each begin.
        labels: quoted, by category id.
        attributes: of each column the different texts, and each box's.
        decimals: of the coordinates.
    """
    before, behind = _between(heads, bounds, len(part))
    pieces: list[Any] = [before, *_opening(part, labels)]
    for side, corner in zip(("xtl", "ytl", "xbr", "ybr"), part.xyxy.T, strict=True):
        pieces += [_constant(f' {side}="'), *_fixed(corner, decimals), _constant('"')]
    pieces += [_closing(part)]
    pieces += [_taken(texts, codes) for texts, codes in attributes]
    pieces += [_constant("    </box>\n")]
    joined = pc.binary_join_element_wise(*pieces, _constant(""))
    return b"".join((memoryview(joined.buffers()[2]), behind.encode()))


def _between(heads: Sequence[str], bounds: NDArray[np.int64], n: int) -> tuple[pa.Array, str]:
    """What stands before each box (where a picture begins, its head), and behind the last."""
    texts = [""]
    codes = np.zeros(n, dtype=np.int64)
    pending = ""
    for head, start, end in zip(heads, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        pending += head
        if end > start:
            codes[start] = len(texts)
            texts.append(pending)
            pending = ""
        pending += "  </image>\n"
    return _taken(texts, codes), pending


def _opening(part: Annotations, labels: Mapping[int, str]) -> list[Any]:
    categories, label = np.unique(part.category_id, return_inverse=True)
    sources = [attribute_text(source) for source in part.sources]
    return [
        _taken([f"    <box label={labels[i]}" for i in categories.tolist()], label),
        _taken([f" source={source}" for source in sources], part.source),
        _taken([f' occluded="{flag}"' for flag in (0, 1)], part.occluded),
    ]


def _closing(part: Annotations) -> pa.Array:
    different, codes = (
        np.unique(
            np.stack([part.rotation, part.z_order, part.group], axis=1), axis=0, return_inverse=True
        )
        if part.rotation.any() or part.z_order.any() or part.group.any()
        else (
            np.zeros((1, 3)),
            np.zeros(len(part), dtype=np.int64),
        )
    )
    texts = [
        (f' rotation="{rotation:.2f}"' if rotation else "")
        + f' z_order="{int(z_order)}"'
        + (f' group_id="{int(group)}"' if group else "")
        + ">\n"
        for rotation, z_order, group in different.tolist()
    ]
    return _taken(texts, codes.reshape(-1))


def _constant(text: str) -> Any:
    return pa.scalar(text, pa.large_string())


def _taken(texts: Sequence[str], codes: NDArray[Any]) -> pa.Array:
    return pa.array(texts, pa.large_string()).take(pa.array(codes.astype(np.int64)))


def _fixed(values: NDArray[np.float64], decimals: int) -> list[Any]:
    """Numbers as Python's `%.2f` writes them, in pieces: sign, whole part, rest."""
    scaled = rounded(np.abs(values), decimals)
    whole, rest = np.divmod(scaled, 10**decimals)
    pieces = [pc.cast(pa.array(whole), pa.large_string())]
    if np.signbit(values).any():
        pieces.insert(0, _taken(["", "-"], np.signbit(values)))
    if decimals:
        different, codes = np.unique(rest, return_inverse=True)
        pieces.append(_taken([f".{i:0{decimals}d}" for i in different.tolist()], codes))
    return pieces


def rounded(values: NDArray[np.float64], decimals: int) -> NDArray[np.int64]:
    """`values * 10**decimals`, rounded as their exact binary value asks, halves to even.

    The product's rounding error is computed (Dekker 1971), for it decides near a half.
    """
    factor = float(10**decimals)
    product = values * factor
    split = values * 134217729.0
    high = split - (split - values)
    error = (high * factor - product) + (values - high) * factor
    floor = np.floor(product)
    over = product - floor
    odd = np.mod(floor, 2) == 1
    up = (over > 0.5) | ((over == 0.5) & ((error > 0) | ((error == 0) & odd)))
    result: NDArray[np.int64] = (floor + up).astype(np.int64)
    return result
