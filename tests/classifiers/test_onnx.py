"""ONNX classifiers: what their numbers are taken for, how pictures reach them, what is refused."""

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from quorate import OnnxClassifier
from quorate.detectors.tensors.geometry import centre_crop
from quorate.detectors.tensors.preprocess import Normalisation, fill
from quorate.errors import DetectorError, SpecError
from quorate.spec.classifier import classifier_kinds
from tests.classifiers.models import COLOURS, colours, logits, plain, softmax

PLAIN = {"scale": 1 / 255}
"""Levels of 0..1 and nothing else: what these networks want."""
REDDISH = plain(200, 100, 50)


def classifier(path, **options):
    return OnnxClassifier(name="c", weights=str(path), **PLAIN | options)


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
@pytest.mark.parametrize("shape", ["flat", "spatial"])
@pytest.mark.parametrize("end", ["softmax", "none"])
def test_probabilities_whatever_the_network_ends_in(tmp_path, order, kind, shape, end):
    path = colours(tmp_path / "c.onnx", order=order, kind=kind, shape=shape, end=end)
    options = {"scale": None} if kind == TensorProto.UINT8 else {}
    loaded = classifier(path, **options).load()
    assert loaded.labels == COLOURS
    assert loaded.activation == {"softmax": "none", "none": "softmax"}[end]
    [row] = loaded.predict([REDDISH])
    assert row.dtype == np.float32
    assert row == pytest.approx(softmax(logits(REDDISH)), abs=1e-5)
    assert loaded.predict([]).shape == (0, 3)


def test_sigmoids_are_asked_about_and_used_when_told(tmp_path):
    path = colours(tmp_path / "c.onnx", end="sigmoid")
    with pytest.raises(DetectorError, match=r"lie within 0\.\.1 for two made pictures, but sum to"):
        classifier(path).load()
    [row] = classifier(path, activation="none").load().predict([REDDISH])
    assert row == pytest.approx(1 / (1 + np.exp(-logits(REDDISH))), abs=1e-5)
    bare = colours(tmp_path / "bare.onnx", end="none")
    [row] = classifier(bare, activation="sigmoid").load().predict([REDDISH])
    assert row == pytest.approx(1 / (1 + np.exp(-logits(REDDISH))), abs=1e-5)


def test_numbers_that_are_none_are_refused_at_once_and_at_a_picture(tmp_path):
    path = colours(tmp_path / "c.onnx", end="none", bias=(0.0, np.nan, 0.0))
    with pytest.raises(DetectorError, match="NaN or infinite for a black picture"):
        classifier(path).load()
    loaded = classifier(path, activation="softmax").load()
    with pytest.raises(DetectorError, match="gave a number that is NaN or infinite"):
        loaded.predict([REDDISH])


def test_logits_told_to_be_probabilities_are_refused_at_the_first_picture(tmp_path):
    path = colours(tmp_path / "c.onnx", end="none")
    loaded = classifier(path, activation="none").load()
    with pytest.raises(DetectorError, match=r"gave a probability of 6\.2"):
        loaded.predict([REDDISH])


def test_a_row_does_not_depend_on_its_company(tmp_path):
    for batch in (1, 4, None):
        path = colours(tmp_path / f"{batch}.onnx", batch=batch)
        loaded = classifier(path, batch=3).load()
        shown = [plain(*levels, height=30 + i) for i, levels in enumerate(np.eye(3) * 255)]
        together = loaded.predict([*shown, REDDISH])
        alone = np.concatenate([loaded.predict([one]) for one in (*shown, REDDISH)])
        assert (together == alone).all()


def test_the_middle_of_a_picture_is_shown_and_of_a_strip_too(tmp_path):
    path = colours(tmp_path / "c.onnx")
    loaded = classifier(path).load()
    sides = np.zeros((40, 120, 3), np.uint8)
    sides[:, :, 2] = 255
    sides[:, 40:80] = (255, 0, 0)
    [row] = loaded.predict([sides])
    assert row == pytest.approx(softmax(logits(plain(255, 0, 0))), abs=1e-5)
    for shape in ((1, 30_000, 3), (30_000, 1, 3), (1, 1, 3)):
        strip = np.full(shape, (200, 100, 50), np.uint8)
        [row] = loaded.predict([strip])
        assert row == pytest.approx(softmax(logits(REDDISH)), abs=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (33, 100), (500, 333), (224, 224), (20, 31)])
def test_resized_and_cropped_as_torchvision_does(size):
    """Its Resize(256), CenterCrop(224) in Pillow's words, level for level."""
    height, width = size
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    short, frame = 256, 224
    new = (short, short * width // height) if height < width else (short * height // width, short)
    resized = Image.fromarray(picture).resize(new[::-1], Image.Resampling.BILINEAR)
    top, left = round((new[0] - frame) / 2.0), round((new[1] - frame) / 2.0)
    wanted = np.asarray(resized)[top : top + frame, left : left + frame]
    planes = np.zeros((3, frame, frame), np.float32)
    placement = centre_crop(size, (frame, frame), 0.875)
    fill(planes, picture, placement, Normalisation(scale=1.0), antialias=True)
    assert (planes.transpose(1, 2, 0) == wanted).all()


def test_what_a_network_was_taken_for_is_told(tmp_path):
    path = colours(tmp_path / "c.onnx", end="none")
    loaded = OnnxClassifier(name="c", weights=path).load()
    assert loaded.told == {
        "output": "probabilities: softmax makes them, by its numbers for two made pictures",
        "input": "NCHW float, 32x32, crop of 0.875, averaged when shrunk",
        "colours": "RGB (0..1 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]",
        "names": "3: 0 is 'red'",
    }
    assert "does not tell how it wants pixels" in loaded.notes[0]
    assert classifier(path).load().notes == ()


def test_labels_without_names_are_numbers_and_a_note_says_so(tmp_path):
    path = colours(tmp_path / "c.onnx", names=())
    loaded = classifier(path).load()
    assert loaded.labels == ("0", "1", "2")
    assert "called by their numbers" in loaded.notes[0]
    assert classifier(path, names=["a", "b", "c"]).load().labels == ("a", "b", "c")
    assert classifier(path, names=["crane", "b", "crane"]).load().labels == (
        "crane 0",
        "b",
        "crane 2",
    )


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ({}, {"names": ["a", "b"]}, "gives 3 numbers, but `names` of the classifier 'c' has 2"),
        ({"outputs": ("a", "b")}, {}, "has one output, and this one 2"),
        ({}, {"output": "probabilites"}, "there is no output 'probabilites'"),
        ({}, {"image_size": 64}, r"`image_size: .64, 64.` does not fit the network"),
        ({}, {"resize": "none"}, "needs a network that takes any size"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, model, options, said):
    path = colours(tmp_path / "c.onnx", **model)
    with pytest.raises(DetectorError, match=said):
        classifier(path, **options).load()


def test_one_of_several_outputs_is_named(tmp_path):
    path = colours(tmp_path / "c.onnx", outputs=("probabilities", "logits_out"))
    loaded = classifier(path, output="logits_out").load()
    [row] = loaded.predict([REDDISH])
    assert row == pytest.approx(softmax(logits(REDDISH)), abs=1e-5)


def test_a_detector_is_told_to_be_one(tmp_path):
    from tests.detectors.models import segments

    path = segments(tmp_path / "d.onnx")
    with pytest.raises(DetectorError, match="has one output"):
        classifier(path).load()
    with pytest.raises(DetectorError, match="is no list of numbers"):
        classifier(path, output="output0").load()


def test_kinds_are_found_as_entry_points():
    assert {"onnx", "remote"} <= classifier_kinds().keys()
    with pytest.raises(SpecError):
        OnnxClassifier(name="c", weights="c.onnx", resize="shortest_edge")
