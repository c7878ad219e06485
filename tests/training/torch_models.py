"""Models small enough to learn in seconds, and folders that trainers of ours are given."""

import importlib.util
from pathlib import Path

import pytest

from quorate.spec.torch_trainer import TorchvisionTrainer, TransformersTrainer
from quorate.spec.training import Training
from quorate.training.data import give, prepare
from quorate.training.work import TrainingWork

NEEDS_TORCH = [
    pytest.mark.skipif(
        importlib.util.find_spec("transformers") is None,
        reason="torch and transformers not installed",
    ),
    # What torch, transformers and the exporter say of their own inner workings.
    pytest.mark.filterwarnings("ignore"),
]

WIDTHS = {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 32], "depths": [1, 1, 1, 1]}
DETR = {
    "backbone_config": {"model_type": "resnet", "layer_type": "basic", **WIDTHS,
                        "out_features": ["stage4"]},
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
DEFORMABLE = DETR | {
    "backbone_config": DETR["backbone_config"] | {"out_features": ["stage2", "stage3", "stage4"]},
    "num_feature_levels": 3,
}
RT_DETR = {
    "backbone_config": {"model_type": "rt_detr_resnet", "layer_type": "basic", **WIDTHS,
                        "out_features": ["stage2", "stage3", "stage4"]},
    "encoder_in_channels": [16, 32, 32], "encoder_hidden_dim": 32, "encoder_ffn_dim": 64,
    "encoder_attention_heads": 4, "d_model": 32, "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 4, "num_denoising": 20,
}  # fmt: skip
HGNET = {
    "model_type": "hgnet_v2", "stem_channels": [3, 8, 8], "stage_in_channels": [8, 16, 24, 32],
    "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [16, 24, 32, 32],
    "stage_num_blocks": [1, 1, 1, 1], "stage_numb_of_layers": [1, 1, 1, 1],
    "hidden_sizes": [16, 24, 32, 32], "out_features": ["stage2", "stage3", "stage4"],
}  # fmt: skip
D_FINE = RT_DETR | {
    "backbone_config": HGNET, "encoder_in_channels": [24, 32, 32], "feat_strides": [8, 16, 32],
}  # fmt: skip
CONFIGS = {
    "detr": DETR,
    "conditional_detr": DETR,
    "deformable_detr": DEFORMABLE,
    "rt_detr": RT_DETR,
    "rt_detr_v2": RT_DETR,
    "d_fine": D_FINE,
}
SSD = "ssdlite320_mobilenet_v3_large"
QUICK = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "threads": 1, "device": "cpu"}


def detr(name: str = "detr", *, architecture: str = "rt_detr", **settings):
    """A trainer of a tiny DETR, from scratch unless a checkpoint is named."""
    given = {"architecture": architecture, "config": CONFIGS.get(architecture, {}), "queries": 8,
             "image_size": 64, **QUICK}  # fmt: skip
    return TransformersTrainer(name=name, **(given | settings))


def ssd(name: str = "ssd", **settings):
    """A trainer of torchvision's smallest detector."""
    return TorchvisionTrainer(name=name, **({"architecture": SSD, **QUICK} | settings))


def given(root: Path, labelled: Path, trainer) -> Path:
    """The data folder of a trainer, as `quorate train` prepares it."""
    work = TrainingWork(root)
    prepare(Training(name="toys", data=str(labelled), trainers=(trainer,)), work)
    own = work.trainer(trainer.name)
    give(trainer, work, own)
    return own.data
