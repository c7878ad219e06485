"""darknet's .weights: a header, then the numbers of each convolution in the order of the cfg.

int32 major, minor, revision; then how many pictures were seen, in 64 bits from version 0.2 on
and in 32 before; then float32, little-endian. Of a convolution: biases; when it is normalised
also scales, means and variances; then its kernels (load_convolutional_weights in parser.c).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.darknet.layers import Convolution
from quorate.detectors.darknet.network import Network
from quorate.errors import DetectorError

EPSILON = 1e-5
"""Added to a variance, as darknet does on GPUs and AlexeyAB's does everywhere."""
MAX_FLOATS = 500_000_000
"""What fits an ONNX file, which ends at 2 GiB; the largest of the YOLOs has 100 million."""


class Filters(NamedTuple):
    """What a convolution multiplies with and adds, its normalisation folded in.

    kernels  float32 (filters, channels of a group, size, size)
    biases   float32 (filters,)
    """

    kernels: NDArray[np.float32]
    biases: NDArray[np.float32]


def read_floats(data: bytes | bytearray, network: Network, *, origin: str) -> NDArray[np.float32]:
    """The numbers of a .weights file; DetectorError unless they are as many as its cfg asks for.

    Nothing but the file's own size decides how much memory is taken.
    """
    if len(data) < 16:
        raise DetectorError(f"{origin}: not a darknet .weights file: only {len(data)} bytes.")
    major, minor = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (0, 4))
    # Above 1000, darknet means that fully connected layers are transposed, of which there is none.
    header = 20 if major * 10 + minor >= 2 and major < 1000 and minor < 1000 else 16
    wanted = sum(layer.floats for layer in network.convolutions.values())
    found, rest = divmod(max(len(data) - header, 0), 4)
    if found != wanted or rest:
        problem = "cut short" if found < wanted else "too long"
        extra = f" and {rest} bytes" if rest else ""
        raise DetectorError(
            f"{origin}: {problem} for {network.origin}: the layers need {wanted:,} numbers, "
            f"the file has {found:,}{extra}.",
            hint="is the cfg the one that these weights were trained with, and is the file whole?",
        )
    if wanted > MAX_FLOATS:
        raise DetectorError(f"{origin}: {wanted:,} numbers are more than an ONNX file can hold.")
    return np.frombuffer(data, dtype="<f4", offset=header)


def read_filters(
    floats: NDArray[np.float32], network: Network, *, origin: str
) -> dict[int, Filters]:
    """Each convolution's filters, by the number of its layer.

    DetectorError where a number is NaN or infinite, or a variance is negative, as happens where a
    file of the right length belongs to another cfg.
    """
    filters, position = {}, 0
    for number, layer in network.convolutions.items():
        part = floats[position : position + layer.floats]
        position += layer.floats
        filters[number] = _filters(part, layer, origin=f"{origin}: layer {number}")
    return filters


def _filters(floats: NDArray[np.float32], layer: Convolution, *, origin: str) -> Filters:
    count, size = layer.shape[0], math.prod(layer.kernel)
    kernels = floats[len(floats) - size :].reshape(layer.kernel)
    biases = floats[:count]
    if layer.normalised:
        scales, means, variances = floats[count : 4 * count].reshape(3, count).astype(np.float64)
        if not (variances >= 0).all():
            raise _strange(origin, layer, "a variance is negative or no number")
        # The order of AlexeyAB's fuse_conv_batchnorm, in double precision as there.
        factors = scales / np.sqrt(variances + EPSILON)
        with np.errstate(over="ignore", invalid="ignore"):
            kernels = (kernels * factors[:, None, None, None]).astype(np.float32)
            biases = (biases - means * factors).astype(np.float32)
    if not (np.isfinite(kernels).all() and np.isfinite(biases).all()):
        raise _strange(origin, layer, "a number is NaN or infinite")
    return Filters(kernels, biases)


def _strange(origin: str, layer: Convolution, what: str) -> DetectorError:
    section = layer.section
    return DetectorError(
        f"{origin} ({section.origin}:{section.line}): {what}.",
        hint="is the cfg the one that these weights were trained with, and is the file whole?",
    )
