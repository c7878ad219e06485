"""Small ONNX networks that really classify: by the mean colour of the picture."""

import numpy as np
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.detectors.models import save

COLOURS = ("red", "green", "blue")


def colours(
    path,
    *,
    end="softmax",
    side=32,
    order="nchw",
    batch=None,
    names=COLOURS,
    strength=8.0,
    bias=(0.0, 0.0, 0.0),
    kind=TensorProto.FLOAT,
    shape="flat",
    outputs=("probabilities",),
):
    """Logits are `strength` times the mean level of each channel, 0..1, plus `bias`.

    `end` is what follows them: none (logits), softmax or sigmoid. `shape` may be "spatial", as of
    networks that end in a convolution: (n, 3, 1, 1).
    """
    weight = np.eye(3, dtype=np.float32) * strength
    scale = 1 / 255 if kind == TensorProto.UINT8 else 1.0
    constants = [
        numpy_helper.from_array(weight[:, :, None, None] * np.float32(scale), "weight"),
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
    ]
    nodes, name = [], "image"
    if kind == TensorProto.UINT8:
        nodes.append(helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT))
        name = "float"
    if order == "nhwc":
        nodes.append(helper.make_node("Transpose", [name], ["planes"], perm=[0, 3, 1, 2]))
        name = "planes"
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Conv", ["mean", "weight", "bias"], ["spatial"]),
        helper.make_node("Flatten", ["spatial"], ["logits"]),
    ]
    last = "spatial" if shape == "spatial" else "logits"
    if end == "softmax":
        nodes.append(helper.make_node("Softmax", [last], [outputs[0]], axis=1))
    else:
        what = {"none": "Identity", "sigmoid": "Sigmoid"}[end]
        nodes.append(helper.make_node(what, [last], [outputs[0]]))
    for more in outputs[1:]:
        nodes.append(helper.make_node("Identity", ["logits"], [more]))
    size = (side, side) if isinstance(side, int) else side
    image = (batch, *size, 3) if order == "nhwc" else (batch, 3, *size)
    out = (batch, 3, 1, 1) if shape == "spatial" else (batch, 3)
    infos = [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, out)]
    infos += [helper.make_tensor_value_info(o, TensorProto.FLOAT, (batch, 3)) for o in outputs[1:]]
    metadata = {"names": repr(dict(enumerate(names)))} if names else None
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("image", kind, image)],
        infos,
        constants,
        metadata,
    )


def plain(*levels, height=40, width=60):
    """A picture of one colour."""
    return np.full((height, width, 3), levels, np.uint8)


def logits(picture, strength=8.0, bias=(0.0, 0.0, 0.0)):
    """float64 (3,) what the network gives for a picture of one colour, before its end."""
    return strength * picture[0, 0].astype(np.float64) / 255 + bias


def softmax(numbers):
    powers = np.exp(numbers - np.max(numbers))
    return powers / powers.sum()


def colour_ensemble(folder):
    """The spec file of an ensemble of two networks that know three colours."""
    members = []
    for name, strength in (("sure", 8.0), ("unsure", 3.0)):
        colours(folder / f"{name}.onnx", strength=strength)
        about = {"kind": "onnx", "weights": f"{name}.onnx", "names": [*COLOURS]}
        members.append({"name": name, **about, "scale": 1 / 255})
    spec = {"kind": "ClassificationEnsemble", "name": "colour", "classifiers": members}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder / "spec.yaml"
