"""Detectors of transformers: the boxes of transformers itself; no network; wrong folders."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.errors import DetectorError

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("transformers") is None,
        reason="torch and transformers not installed",
    ),
    # What transformers and its image processors say of their own inner workings.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

FAMILIES = (
    "detr",
    "conditional_detr",
    "deformable_detr",
    "yolos",
    "rt_detr",
    "rt_detr_v2",
    "d_fine",
)
LABELS = {0: "ant", 1: "bee", 2: "N/A", 3: "cat", 4: "dog"}
RANDOM = np.random.default_rng(0)
PICTURES = [
    RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for height, width in ((97, 131), (128, 96), (97, 131), (1, 1), (61, 200))
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(family):
    """The configuration of a model of the family as small as it gets, and its image processor."""
    import transformers as t

    labels = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    edges = {"shortest_edge": 64, "longest_edge": 96}
    if family == "yolos":
        config = t.YolosConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=[64, 96],
            num_detection_tokens=7,
            **labels,
        )
        return config, t.YolosImageProcessor(size=edges)
    if family in ("detr", "conditional_detr", "deformable_detr"):
        backbone = t.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
        name = "".join(part.capitalize() for part in family.split("_"))
        config = getattr(t, f"{name}Config")(
            use_timm_backbone=False,
            backbone_config=backbone,
            backbone=None,
            d_model=32,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            num_queries=7,
            **labels,
        )
        return config, getattr(t, f"{name}ImageProcessor")(size=edges)
    shape = {
        "encoder_hidden_dim": 16,
        "encoder_in_channels": [16, 16, 32],
        "feat_strides": [8, 16, 32],
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "d_model": 16,
        "num_queries": 10,
        "decoder_in_channels": [16, 16, 16],
        "decoder_ffn_dim": 16,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_n_points": 2,
        "num_denoising": 0,
    }
    widths = {
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 16, 32],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage2", "stage3", "stage4"],
    }
    if family == "d_fine":
        backbone = t.HGNetV2Config(
            stem_channels=[3, 8, 8],
            stage_in_channels=[8, 16, 16, 16],
            stage_mid_channels=[8, 8, 8, 8],
            stage_out_channels=[16, 16, 16, 32],
            stage_num_blocks=[1, 1, 1, 1],
            stage_numb_of_layers=[1, 1, 1, 1],
            stage_downsample=[False, True, True, True],
            stage_light_block=[False, False, True, True],
            stage_kernel_size=[3, 3, 5, 5],
            **widths,
        )
        points = {"decoder_n_points": [2, 2, 2]}
        config = t.DFineConfig(backbone_config=backbone, **shape | points, **labels)
    else:
        backbone = t.RTDetrResNetConfig(layer_type="basic", **widths)
        kind = t.RTDetrConfig if family == "rt_detr" else t.RTDetrV2Config
        config = kind(backbone_config=backbone, **shape, **labels)
    return config, t.RTDetrImageProcessor(size={"height": 64, "width": 64})


def save(family, folder):
    import torch
    import transformers

    config, processor = tiny(family)
    torch.manual_seed(3)
    model = transformers.AutoModelForObjectDetection.from_config(config).eval()
    for parameter in model.parameters():  # so that boxes lie apart
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Each family's folder, made when it is first asked for."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = save(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


@pytest.fixture
def folder(folders, tmp_path):
    """A copy of one, to be spoilt."""
    return shutil.copytree(folders("rt_detr"), tmp_path / "model")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a model was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def describe(folder, **options):
    options = {"min_score": 0.01, "device": "cpu"} | options
    return TransformersDetector(name="d", weights=str(folder), **options)


def reference(folder, picture):
    """transformers' own way: AutoImageProcessor, the model, post_process_object_detection."""
    import torch
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    # A picture of one pixel could be taken for one of any number of channels.
    inputs = processor(images=picture, return_tensors="pt", input_data_format="channels_last")
    with torch.inference_mode():
        outputs = model(**inputs)
    [found] = processor.post_process_object_detection(
        outputs, threshold=0.01, target_sizes=[picture.shape[:2]]
    )
    height, width = picture.shape[:2]
    xyxy = found["boxes"].numpy().clip(0, [width, height, width, height])
    label = found["labels"].numpy()
    keep = (label != 2) & (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    return xyxy[keep], found["scores"].numpy()[keep], label[keep] - (label[keep] > 2)


def same(boxes, expected, atol=1e-4):
    xyxy, score, label = expected[:3]
    assert len(boxes.score) == len(score) > 0
    np.testing.assert_allclose(boxes.score, -np.sort(-score), atol=atol)
    given = np.column_stack([boxes.xyxy, boxes.score, boxes.label])
    distance = np.abs(given[:, None] - np.column_stack([xyxy, score, label])[None]).max(axis=2)
    assert distance.min(axis=1).max() <= atol
    assert distance.min(axis=0).max() <= atol


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_are_those_of_transformers(family, folders):
    predictor = describe(folders(family), batch=4).load()
    assert predictor.labels == ("ant", "bee", "cat", "dog")
    alone = [predictor.predict([picture])[0] for picture in PICTURES]
    for picture, boxes in zip(PICTURES, alone, strict=True):
        same(boxes, reference(folders(family), picture))
    for boxes, expected in zip(predictor.predict(PICTURES), alone, strict=True):
        same(boxes, expected, atol=1e-3)  # the order of sums differs


@pytest.mark.parametrize("family", ["detr", "rt_detr"])
def test_it_keeps_the_contract(family, folders):
    assert_conforms(describe(folders(family)).load())
    assert_conforms(describe(folders(family), batch=3).load(), tolerance=1e-3)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("detr", "DetrForSegmentation"), ("conditional_detr", "ConditionalDetrForSegmentation")],
)
def test_a_model_with_masks_gives_them_and_its_boxes(family, kind, tmp_path):
    import torch
    import transformers

    config, processor = tiny(family)
    torch.manual_seed(1)
    model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    [boxes] = describe(tmp_path, masks=False).load().predict(PICTURES[:1])
    assert boxes.masks is None
    inputs = processor(images=PICTURES[0], return_tensors="pt")
    with torch.inference_mode():
        outputs = getattr(model, family)(**inputs)
    [found] = processor.post_process_object_detection(
        outputs, threshold=0.01, target_sizes=[(97, 131)]
    )
    assert len(boxes.score) == int((found["labels"] != 2).sum()) > 0
    [masked] = describe(tmp_path).load().predict(PICTURES[:1])
    np.testing.assert_allclose(masked.score, boxes.score, atol=1e-6)
    with torch.inference_mode():
        planes = torch.nn.functional.interpolate(
            model(**inputs).pred_masks, size=(97, 131), mode="bilinear", align_corners=False
        )[0]
    logits = outputs.logits[0]
    scores = logits.softmax(-1)[:, :-1] if family == "detr" else logits.sigmoid()
    for row, score in enumerate(masked.score):
        query = int((scores - float(score)).abs().min(-1).values.argmin())
        wrong = masked.masks.bitmap(row) != (planes[query] > 0).numpy()
        assert wrong.mean() < 1e-3


def test_a_backbone_of_timm_is_not_fetched(tmp_path):
    """As in the configurations of DETR's first weights, which ask for a pretrained backbone."""
    pytest.importorskip("timm")
    import transformers

    config, processor = tiny("detr")
    said = config.to_dict() | {"use_timm_backbone": True, "backbone": "resnet18"}
    said |= {"backbone_config": None, "use_pretrained_backbone": True}
    plain = said | {"use_pretrained_backbone": False}
    model = transformers.DetrForObjectDetection(transformers.DetrConfig.from_dict(plain))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    for key in ("backbone", "use_timm_backbone", "use_pretrained_backbone", "backbone_config"):
        written[key] = said[key]
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert len(describe(tmp_path).load().predict(PICTURES[:1])[0].score)


def test_half_precision_is_near(folders):
    exact = describe(folders("detr")).load().predict(PICTURES[:1])[0]
    rough = describe(folders("detr"), precision="bfloat16").load().predict(PICTURES[:1])[0]
    assert np.abs(rough.score[: len(exact.score)] - exact.score[: len(rough.score)]).max() < 0.05


# Labels


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_names_of_the_spec_go_before_the_files(folder):
    assert describe(folder, names=tuple("vwxyz")).load().labels == tuple("vwxyz")
    with pytest.raises(DetectorError, match="has 5 labels, but there are 2 names"):
        describe(folder, names=("x", "y")).load()
    edit(folder, id2label={str(number): f"LABEL_{number}" for number in range(5)})
    with pytest.raises(DetectorError, match="does not say what its 5 labels are called"):
        describe(folder).load()


# Folders that are wrong


def test_a_name_on_the_hub_is_no_folder():
    with pytest.raises(DetectorError, match=r"no such folder\. Models are never downloaded"):
        describe("facebook/detr-resnet-50").load()


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("config.json", "has no config.json"),
        ("preprocessor_config.json", "no image processor"),
        ("model.safetensors", "has no weights"),
    ],
)
def test_a_file_that_is_missing(gone, says, folder):
    (folder / gone).unlink()
    with pytest.raises(DetectorError, match=says):
        describe(folder).load()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("config.json", b"{", "describes no model"),
        ("config.json", b"[1]", "describes no model"),
        ("config.json", b'{"model_type": "bert"}', "'bert' is no detector"),
        ("model.safetensors", b"", "damaged"),
        ("model.safetensors", b"hello, no weights here", "damaged"),
        ("preprocessor_config.json", b"{", "no image processor"),
    ],
)
def test_a_file_that_is_damaged(name, data, says, folder):
    (folder / name).write_bytes(data)
    with pytest.raises(DetectorError, match=says):
        describe(folder).load()


def test_weights_cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DetectorError, match="damaged"):
        describe(folder).load()


def test_weights_of_another_number_of_labels(folder):
    labels = {str(number): f"l{number}" for number in range(7)}
    edit(folder, id2label=labels, label2id={name: int(n) for n, name in labels.items()})
    with pytest.raises(DetectorError, match=r"of another shape .*\[5, 16\] where \[7, 16\]"):
        describe(folder).load()


def test_weights_that_are_missing_or_too_many(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    state = load_file(path)
    gone = next(key for key in sorted(state) if "enc_output" in key)
    state["more"] = state.pop(gone)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(DetectorError, match=r"missing .*; 1 unexpected") as caught:
        describe(folder).load()
    assert gone in caught.value.message


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_pickle_is_not_run(folder, tmp_path):
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({"x": Trap(tmp_path / "sprung")}, folder / "pytorch_model.bin")
    with pytest.raises(DetectorError, match="code in it, which was not run"):
        describe(folder).load()
    assert not (tmp_path / "sprung").exists()


def test_code_beside_a_model_is_not_run(folder, tmp_path):
    code = f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\nclass C: pass\n"
    (folder / "theirs.py").write_text(code)
    where = {"AutoConfig": "theirs.C", "AutoModelForObjectDetection": "theirs.C"}
    edit(folder, auto_map=where, model_type="theirs")
    with pytest.raises(DetectorError, match="code beside a model is never run"):
        describe(folder).load()
    edit(folder, model_type="rt_detr")
    assert describe(folder).load().labels
    path = folder / "preprocessor_config.json"
    said = json.loads(path.read_text()) | {"auto_map": {"AutoImageProcessor": "theirs.C"}}
    path.write_text(json.dumps(said))
    assert describe(folder).load().labels
    assert not (tmp_path / "sprung").exists()


def test_quorate_and_its_kinds_do_not_import_torch():
    code = (
        "import sys, quorate\n"
        "from quorate.spec.detector import detector_kinds\n"
        "[point.load() for point in detector_kinds().values()]\n"
        "print([m for m in ('torch', 'torchvision', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
