"""The ensemble as one writes it by hand: decode, both networks, sum of probabilities, argmax.

Runs in .venv-remote, where nothing of ours is installed. Sessions are onnxruntime's default ones,
with a thread for each processor.
"""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

SIDE, RESIZED = 224, 256
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Decision:
    """The networks of a folder, one after the other, or side by side where BESIDE is set."""

    def __init__(self, folder):
        paths = sorted(Path(folder).glob("*.onnx"))
        self.sessions = [onnxruntime.InferenceSession(path) for path in paths]
        self.pool = ThreadPoolExecutor(len(paths)) if os.environ.get("BESIDE") else None

    def __call__(self, file):
        """The index of the label, and its probability."""
        tensor = prepared(file)
        look = (self.pool.map if self.pool else map)(lambda one: ran(one, tensor), self.sessions)
        mean = sum(look) / len(self.sessions)
        return int(mean.argmax()), float(mean.max())


def prepared(file):
    """As torchvision prepares a picture: the shorter side resized, the middle, ImageNet's mean."""
    picture = Image.open(io.BytesIO(file)).convert("RGB")
    scale = RESIZED / min(picture.size)
    width, height = (round(scale * size) for size in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    pixels = np.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)[None]


def ran(session, tensor):
    """The probabilities."""
    [logits] = session.run(None, {session.get_inputs()[0].name: tensor})
    powers = np.exp(logits[0] - logits[0].max())
    return powers / powers.sum()
