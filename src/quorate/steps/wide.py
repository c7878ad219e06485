"""Networks opened a second time, for pictures that come alone: every processor works at one run.

Where many pictures are at work, a run is one thread's, and as many go on as there are processors:
nothing gets more done. For one picture alone that leaves processors idle, so its networks' runs
are spread over all of them. What onnxruntime's threads share are rows and channels, each reckoned
in the same order by whomever; that the numbers are the same to the last bit is tried when a
network is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quorate.classifiers.predictor import TensorClassPredictor
from quorate.detectors.darknet.spec import DarknetDetector
from quorate.detectors.onnx.spec import OnnxFile
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.networks import Network
from quorate.steps.voter import Voter
from quorate.workers import processors

CPU = ("CPUExecutionProvider",)
Predictor = TensorPredictor | TensorClassPredictor


def widened(voters: Sequence[Voter]) -> tuple[list[Voter], list[str]]:
    """The voters, with wide networks where that changes nothing; and where it would, their names.

    Left as they are: networks whose spec says `threads`, those that are not onnxruntime's on
    processors, and all where there is one processor. DetectorError where one cannot be opened.
    """
    found, unlike = [], []
    for voter in voters:
        member, predictor = voter.member, voter.says.predictor
        wide = voter
        if (
            processors() > 1
            and isinstance(member, OnnxFile | DarknetDetector)
            and "threads" not in member.model_fields_set
            and tuple(member.providers) == CPU
            and isinstance(predictor, Predictor)
        ):
            loaded: Any = member.model_copy(update={"threads": processors()}).load()
            if _alike(predictor, loaded.network):
                spread: Any = replace(predictor, network=loaded.network)
                wide = replace(voter, says=replace(voter.says, predictor=spread))
            else:
                unlike.append(voter.name)
        found.append(wide)
    return found, unlike


def _alike(predictor: Predictor, other: Network) -> bool:
    """Whether another network gives the numbers of a predictor's own, of noise."""
    feed = predictor.feed
    height, width = (one or side for one, side in zip(feed.frame, predictor.size, strict=True))
    noise = np.random.default_rng(0).random((feed.batch or 1, 3, height, width), np.float32)
    given = feed.tensors(noise * 255 if feed.whole else noise)
    one, two = _bits(predictor.network, given), _bits(other, given)
    return one == two


def _bits(network: Network, given: Mapping[str, Any]) -> list[bytes]:
    names = [output.name for output in network.graph.outputs]
    return [value.tobytes() for value in network.run(names, given).values()]
