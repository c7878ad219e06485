"""torchvision's detectors: the boxes of torchvision itself, and weights that do not fit."""

import argparse
import contextlib
import importlib.util
import json
import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.errors import DetectorError, MissingExtraError, SpecError
from quorate.spec.architectures import TORCHVISION

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torch and torchvision not installed"
)
pytestmark = pytest.mark.torch

NAMES = ("ant", "bee", "cat")
SMALL = "ssdlite320_mobilenet_v3_large"
RANDOM = np.random.default_rng(0)
PICTURES = [
    RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for height, width in ((97, 131), (128, 96), (97, 131), (61, 200))
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Several threads would only wait for each other here."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(architecture, numbers=4, seed=0, **options):
    """A model with made-up weights whose numbers stay small, as trained ones do."""
    import torch
    from torchvision.models import detection

    torch.manual_seed(seed)
    model = getattr(detection, architecture)(
        weights=None, weights_backbone=None, num_classes=numbers, **options
    )
    for name, module in model.named_modules():
        if name.endswith("bn3"):
            torch.nn.init.constant_(module.weight, 0.1)
        if name.endswith(("cls_score", "cls_logits", "bbox_pred", "bbox_reg")):
            torch.nn.init.normal_(module.weight, std=0.01 if "bbox" in name else 0.05)
            torch.nn.init.constant_(module.bias, float(architecture.startswith("fcos")))
    return quick(model.eval())


def quick(model):
    """Fewer proposals, which are what takes the time."""
    if hasattr(model, "rpn"):
        model.rpn._post_nms_top_n["testing"] = 60
    return model


def size_of(architecture):
    return {} if architecture.startswith("ssd") else {"min_size": 96, "max_size": 160}


def save(model, path, **metadata):
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, metadata=metadata or None)
    return path


def describe(path, architecture=SMALL, **options):
    options = {"names": NAMES, "device": "cpu"} | options
    if not architecture.startswith("ssd"):
        options.setdefault("image_size", (96, 160))
    return TorchvisionDetector(name="d", weights=str(path), architecture=architecture, **options)


@pytest.fixture(scope="module")
def model():
    return build(SMALL)


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    return save(model, tmp_path_factory.mktemp("weights") / "small.safetensors")


def reference(model, picture):
    """torchvision's own way: `to_tensor` and the model; without boxes of no size."""
    import torch
    from torchvision.transforms.functional import to_tensor

    with torch.inference_mode():
        [found] = model([to_tensor(picture)])
    xyxy, score, label = (found[name].numpy() for name in ("boxes", "scores", "labels"))
    keep = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    return xyxy[keep], score[keep], label[keep]


def same(boxes, expected, first=1, atol=1e-4):
    """The same boxes, in whichever order equal scores stand; labels count from `first`."""
    xyxy, score, label = expected[:3]
    assert len(boxes.score) == len(score) > 0
    np.testing.assert_allclose(boxes.score, -np.sort(-score), atol=atol)
    given = np.column_stack([boxes.xyxy, boxes.score, boxes.label + first])
    distance = np.abs(given[:, None] - np.column_stack([xyxy, score, label])[None]).max(axis=2)
    assert distance.min(axis=1).max() <= atol
    assert distance.min(axis=0).max() <= atol


def limits(architecture):
    """What the spec sets, in the words of torchvision's builders."""
    box = "box_" if architecture.startswith(("fast", "mask")) else ""
    return {f"{box}score_thresh": 0.05, f"{box}detections_per_img": 50} | size_of(architecture)


def loaded(path, architecture, **options):
    """The predictor, as quick as the reference, and the number of its first label."""
    sigmoid = architecture.startswith(("retinanet", "fcos"))  # its number 0 may be a label
    names = ("none", *NAMES) if sigmoid else NAMES
    predictor = describe(path, architecture, max_detections=50, names=names, **options).load()
    quick(predictor.model)
    return predictor, 0 if sigmoid else 1


@needs_torch
@pytest.mark.parametrize("architecture", TORCHVISION)
def test_boxes_are_those_of_torchvision(architecture, tmp_path):
    model = build(architecture, **limits(architecture))
    path = save(model, tmp_path / "w.safetensors")
    predictor, first = loaded(path, architecture, batch=3)
    alone = [predictor.predict([picture])[0] for picture in PICTURES[:3]]
    for picture, boxes in zip(PICTURES, alone, strict=False):
        same(boxes, reference(model, picture), first)
    for boxes, expected in zip(predictor.predict(PICTURES[:3]), alone, strict=True):
        same(boxes, expected, 0, atol=1e-3)  # the order of sums differs
    path.unlink()


@needs_torch
def test_masks_are_those_of_torchvision(tmp_path):
    import torch
    from torchvision.transforms.functional import to_tensor

    architecture = "maskrcnn_resnet50_fpn"
    model = build(architecture, **limits(architecture))
    torch.nn.init.normal_(model.roi_heads.mask_predictor.mask_fcn_logits.weight, std=3.0)
    path = save(model, tmp_path / "w.safetensors")
    predictor, _ = loaded(path, architecture)
    for picture in PICTURES[:2]:
        [found] = predictor.predict([picture])
        with torch.inference_mode():
            [expected] = model([to_tensor(picture)])
        order = np.argsort(-expected["scores"].numpy(), kind="stable")
        pixels = (expected["masks"][order, 0] > 0.5).numpy()
        assert len(found.score) == len(pixels) > 3
        assert pixels.any()
        assert not pixels.all()
        place = expected["boxes"].numpy()[order]
        for row in range(len(pixels)):
            twin = np.abs(place - found.xyxy[row]).max(axis=1).argmin()
            wrong = found.masks.bitmap(row) != pixels[twin]
            assert wrong.mean() < 1e-3  # where a sum in another order meets one half
    without, _ = loaded(path, architecture, masks=False)
    assert without.predict(PICTURES[:1])[0].masks is None
    assert without.model.roi_heads.mask_head is None
    assert_conforms(predictor, PICTURES[:2], tolerance=1e-3)
    path.unlink()


@needs_torch
@pytest.mark.parametrize(
    ("architecture", "eps"),
    [("retinanet_resnet50_fpn", 0.0), ("fasterrcnn_mobilenet_v3_large_320_fpn", 1e-5)],
)
def test_a_frozen_batch_norm_is_rebuilt_as_torchvision_has_it(architecture, eps, tmp_path):
    """torchvision's own weights come from models whose batch norm is frozen."""
    from quorate.detectors.torch.torchvision_predictor import freeze

    model = build(architecture, **limits(architecture))
    freeze(model.backbone, eps)
    path = save(model.eval(), tmp_path / "w.safetensors")
    assert not any("num_batches" in key for key in model.state_dict())
    predictor, first = loaded(path, architecture)
    same(predictor.predict(PICTURES[:1])[0], reference(model, PICTURES[0]), first)


@needs_torch
def test_ssdlite_on_imagenets_backbone_has_wider_last_blocks(tmp_path):
    from quorate.detectors.torch.torchvision_predictor import _ssdlite_with_full_tail

    model = _ssdlite_with_full_tail(num_classes=4).eval()
    model.score_thresh, model.detections_per_img = 0.05, 50
    predictor, first = loaded(save(model, tmp_path / "w.safetensors"), SMALL)
    same(predictor.predict(PICTURES[:1])[0], reference(model, PICTURES[0]), first)


@needs_torch
def test_it_keeps_the_contract(weights):
    assert_conforms(describe(weights).load())
    assert_conforms(describe(weights, batch=3).load(), tolerance=1e-3)


@needs_torch
def test_a_sliver_first_does_not_change_what_follows(tmp_path):
    """torchvision's pooler takes its scales from the first picture it sees."""
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    path = save(build(name, **size_of(name)), tmp_path / "w.safetensors")
    sliver = np.zeros((1, 300, 3), dtype=np.uint8)
    first, second = describe(path, name).load(), describe(path, name).load()
    expected = first.predict(PICTURES[:1])[0]
    second.predict([sliver])
    for got, wanted in zip(second.predict(PICTURES[:1])[0], expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@needs_torch
def test_threads_give_the_same_boxes(weights):
    predictor = describe(weights).load()
    alone = [predictor.predict([picture])[0] for picture in PICTURES]
    with ThreadPoolExecutor(3) as pool:
        at_once = list(pool.map(lambda picture: predictor.predict([picture])[0], PICTURES * 2))
    for got, expected in zip(at_once, alone * 2, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@needs_torch
def test_half_precision_keeps_boxes_in_float32(weights):
    exact = describe(weights, max_detections=20).load().predict(PICTURES[:1])[0]
    rough = describe(weights, max_detections=20, precision="bfloat16").load()
    boxes = rough.predict(PICTURES[:1])[0]
    assert np.abs(boxes.score - exact.score).max() < 0.05
    # bfloat16 itself would only know multiples of 1/2 pixel up here.
    assert (boxes.xyxy % 0.5 != 0).any()


@needs_torch
def test_a_batch_that_the_memory_does_not_hold_is_halved(weights, monkeypatch, caplog):
    import torch

    expected = describe(weights, batch=4).load().predict(PICTURES)
    predictor = describe(weights, batch=4).load()
    forward, limit, sizes = predictor.forward, 2, []

    def short_of_memory(pictures):
        sizes.append(len(pictures))
        if len(pictures) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(pictures)

    monkeypatch.setattr(predictor, "forward", short_of_memory)
    found = predictor.predict(PICTURES)
    assert sizes == [4, 2, 2]
    assert predictor.batch == 2
    assert "now 2" in caplog.text
    for boxes, wanted in zip(found, expected, strict=True):
        same(boxes, wanted, 0, atol=1e-3)
    limit = 0
    with pytest.raises(DetectorError, match="does not hold one picture"):
        predictor.predict(PICTURES)


@needs_torch
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_on_a_gpu(precision, weights):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    predictor = describe(weights, device="cuda", precision=precision, max_detections=20).load()
    assert predictor.batch == 8
    found = predictor.predict(PICTURES)
    for boxes, wanted in zip(found, describe(weights).load().predict(PICTURES), strict=True):
        assert np.abs(boxes.score - wanted.score[:20]).max() < 0.05


# What a file may hold


@needs_torch
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()}},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_as_training_loops_save_them(wrap, legacy, model, weights, tmp_path):
    import torch

    path = tmp_path / "model.pth"
    torch.save(wrap(model.state_dict()), path, _use_new_zipfile_serialization=not legacy)
    expected = describe(weights).load().predict(PICTURES[:1])[0]
    for got, wanted in zip(describe(path).load().predict(PICTURES[:1])[0], expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@needs_torch
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_code_in_a_pickle_is_not_run(plain, beside, model, tmp_path):
    import torch

    sprung = tmp_path / "sprung"
    value = {"model": model.state_dict(), "x": Trap(sprung)} if beside else Trap(sprung)
    path = tmp_path / "model.pth"
    if plain:
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    else:
        torch.save(value, path)
    with pytest.raises(DetectorError, match=r"mkdir.*not run") as caught:
        describe(path).load()
    assert "safetensors" in caught.value.hint
    assert not sprung.exists()


@needs_torch
def test_a_whole_model_is_code(model, tmp_path):
    import torch

    torch.save(model, tmp_path / "model.pth")
    with pytest.raises(DetectorError, match="code in it"):
        describe(tmp_path / "model.pth").load()


@needs_torch
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS pointer"),
        (b"hello, these are no weights", "no weights|neither"),
        (b"PK\x03\x04 an archive that is none", "no weights|neither"),
        (pickle.dumps([1, 2]), "nor a state dict"),
        (struct.pack("<Q", 1 << 40) + b"{}", "damaged .safetensors"),
        (struct.pack("<Q", 9) + b'{"a": 1}}', "damaged .safetensors"),
    ],
)
def test_a_file_without_weights_says_so(data, says, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(data)
    with pytest.raises(DetectorError, match=says):
        describe(path).load()


@needs_torch
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "holds no model's state, but nothing"),
        ({"epoch": 3, "lr": 1}, "holds no model's state, but epoch, lr"),
        ([1, 2], "holds list"),
    ],
)
def test_a_file_of_torch_without_a_models_state(value, says, tmp_path):
    import torch

    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(DetectorError, match=says):
        describe(tmp_path / "w.pth").load()


@needs_torch
def test_a_state_that_holds_itself(tmp_path):
    import torch

    circle = {}
    circle["model"] = circle
    torch.save(circle, tmp_path / "w.pth")
    with pytest.raises(DetectorError, match="not a model's state"):
        describe(tmp_path / "w.pth").load()


@needs_torch
def test_a_head_without_a_shape(tmp_path):
    import torch

    key = "head.classification_head.module_list.0.1.weight"
    state = {key: torch.tensor(1.0), key.replace("classification", "regression"): torch.tensor(1.0)}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DetectorError, match="not the weights of"):
        describe(tmp_path / "w.pth").load()


@needs_torch
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_any_damage_is_weights_or_an_error(suffix, tmp_path):
    import torch
    from safetensors.torch import save_file

    from quorate.detectors.torch.weights import read_state

    path, state = tmp_path / f"w.{suffix}", {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        path.write_bytes(data[: random.integers(len(data) // 2, 2 * len(data))])
        with contextlib.suppress(DetectorError):
            read_state(str(path))


@needs_torch
def test_no_file_at_all(tmp_path):
    with pytest.raises(DetectorError, match="no such file"):
        describe(tmp_path / "nowhere.safetensors").load()
    with pytest.raises(DetectorError, match="a folder"):
        describe(tmp_path).load()


@needs_torch
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_cut_short(suffix, model, tmp_path):
    import torch

    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(model.state_dict(), path)
    else:
        save(model, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DetectorError, match="cut short"):
        describe(path).load()


# What does not fit


@needs_torch
def test_weights_of_another_architecture(weights):
    with pytest.raises(DetectorError, match="not the weights of 'fcos_resnet50_fpn'") as caught:
        describe(weights, "fcos_resnet50_fpn").load()
    assert caught.value.hint == "they look like those of a ssdlite320"


@needs_torch
def test_keys_that_are_missing_unexpected_or_of_another_shape_are_counted_and_named(
    model, tmp_path
):
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    gone = [key for key in state if key.startswith("backbone.features.0.0")][:3]
    for key in gone:
        del state[key]
    key = "head.regression_head.module_list.5.1.bias"
    state |= {"ema.x": state[key].clone(), key: state[key][:3].clone()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(DetectorError) as caught:
        describe(tmp_path / "w.safetensors").load()
    message = caught.value.message
    assert f"{len(gone)} missing ({gone[0]}, " in message
    assert "1 unexpected (ema.x)" in message
    assert f"1 of another shape ({key} [3] where [24] belongs)" in message


@needs_torch
@pytest.mark.parametrize("names", [("ant", "bee"), ("ant", "bee", "cat", "dog")])
def test_a_wrong_number_of_names(names, weights):
    with pytest.raises(DetectorError, match=f"room for 3 labels .* {len(names)} names"):
        describe(weights, names=names).load()


@needs_torch
def test_names_from_the_file_from_coco_or_from_the_spec(model, weights, tmp_path):
    path = save(model, tmp_path / "w.safetensors", names=json.dumps(NAMES))
    assert describe(path, names=()).load().labels == NAMES
    assert describe(path, names=("__background__", "x", "y", "z")).load().labels == ("x", "y", "z")
    with pytest.raises(DetectorError, match="what its 3 labels are called"):
        describe(weights, names=()).load()
    coco = save(build(SMALL, 91), tmp_path / "coco.safetensors")
    predictor = describe(coco, names=()).load()
    assert len(predictor.labels) == 80
    assert predictor.labels[:2] == ("person", "bicycle")
    assert predictor.labels[-1] == "toothbrush"
    [boxes] = predictor.predict(PICTURES[:1])
    assert boxes.label.min(initial=0) >= 0


@needs_torch
def test_options_that_do_not_go_together(weights):
    with pytest.raises(DetectorError, match="takes no `image_size`"):
        describe(weights, image_size=300).load()
    with pytest.raises(DetectorError, match="needs a GPU"):
        describe(weights, precision="float16").load()
    with pytest.raises(DetectorError, match="`device: cuda:99` is not there"):
        describe(weights, device="cuda:99").load()
    with pytest.raises(SpecError, match="device"):
        describe(weights, device="gpu")


@needs_torch
def test_loading_draws_no_random_numbers_of_the_callers(weights):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    describe(weights).load()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_error_says_what_to_install(tmp_path):
    with pytest.raises(MissingExtraError) as caught:
        describe(tmp_path / "w").load()
    assert caught.value.hint == "pip install 'quorate[torch]'; of the images, cuda has it"
