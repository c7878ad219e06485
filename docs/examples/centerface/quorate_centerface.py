"""A plug-in for Quorate: an ONNX model whose outputs are maps that no built-in layout decodes.

CenterFace (Xu et al. 2019, arXiv:1911.03599) gives four maps of a quarter of its input: how likely
a face's middle is in each cell, its height and width, where in the cell the middle lies, and five
landmarks. All that a plug-in has to say is how boxes are read from them; opening the file, the way
of a picture into the network, the way back, suppression and order are Quorate's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from quorate import OnnxDetector

if TYPE_CHECKING:
    from quorate.detectors.tensors.layouts.layout import Arrays, Found, Frame, Layout, Raw, Wishes
    from quorate.detectors.tensors.predictor import TensorPredictor
    from quorate.networks import Graph

STRIDE = 4


class CenterFaceDetector(OnnxDetector):
    """CenterFace, as it stands in a spec; every option of `kind: onnx` about pictures holds."""

    kind: Literal["centerface"] = "centerface"  # type: ignore[assignment]

    def load(self) -> TensorPredictor:
        """Open the file; DetectorError where it is no CenterFace."""
        from quorate.detectors.onnx.session import open_session
        from quorate.detectors.tensors.layouts.layout import LEVELS, Layout
        from quorate.detectors.tensors.predictor import TensorPredictor

        layout = Layout(
            "centerface", find, read, "CenterFace", nms_iou=0.3, resize="stretch",
            normalisation=LEVELS, labels_from=None,
        )  # fmt: skip
        session = open_session(self.weights, threads=self.threads, providers=self.providers)
        return TensorPredictor.of(self, session, origin=self.weights, layouts=(layout,))


def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """Maps (n, 1, h, w), twice (n, 2, h, w): sizes and then middles, and (n, 10, h, w)."""
    maps = [t for t in graph.outputs if len(t.shape) == 4]
    if [t.shape[1] for t in maps] != [1, 2, 2, 10]:
        return None
    return tuple(t.name for t in maps[:3])


def read(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """The faces of one picture, in pixels of the network."""
    from quorate.detectors.tensors.layouts.layout import Raw

    likely, size, middle = (np.asarray(outputs[name][index]) for name in layout.outputs)
    row, column = np.nonzero(~(likely[0] < floor))
    high, wide = np.exp(size[:, row, column]) * STRIDE
    down, right = middle[:, row, column] + 0.5
    cx, cy = (column + right) * STRIDE, (row + down) * STRIDE
    boxes = np.stack([cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2], axis=1)
    return Raw(boxes, likely[0, row, column], np.zeros(len(row), np.int64))
