"""Models as torch's trainers begin with them: from scratch, from a checkpoint, refused."""

import os

import pytest

from quorate.errors import DetectorError, InputError
from tests.training.pictures import NAMES, squares
from tests.training.torch_models import CONFIGS, NEEDS_TORCH, detr, given, ssd

pytestmark = [pytest.mark.torch, *NEEDS_TORCH]


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_every_detr_learns_a_step_and_its_heads_begin_anew_for_other_labels(tmp_path, architecture):
    """Saved for three labels, begun again for two: the heads alone are new, and that is said."""
    import torch

    from quorate.training import contract
    from quorate.training.torch.detr import HEADS, DetrLearner
    from quorate.training.torch.samples import Samples

    first = DetrLearner(detr(architecture=architecture), ("a", "b", "c"), None)
    assert not first.notes
    first.save(first.finished(first.model.state_dict()), tmp_path / "saved")
    trainer = detr(architecture=None, checkpoint=str(tmp_path / "saved"), config={})
    second = DetrLearner(trainer, NAMES, tmp_path / "saved")
    assert second.architecture == architecture
    assert any("knows 3 other labels" in note and "for 2" in note for note in second.notes)
    one, other = first.finished(first.model.state_dict()).state_dict(), second.model.state_dict()
    for key in one:
        same = one[key].shape == other[key].shape and torch.equal(one[key], other[key])
        assert same or HEADS.search(key), key
    data = given(tmp_path / "work", squares(tmp_path / "in", 20), detr())
    samples = Samples.of(contract.truth_of(data, "train"))
    loss = second.loss(second.model.train(), second.inputs([samples.sample(i) for i in (0, 1)]))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert len(loss.parts) >= 3
    rates = {group["name"]: group["lr"] for group in second.groups()}
    assert rates["backbone"] == pytest.approx(rates["head"] / 10)


def test_the_parts_of_detr_reach_the_library(tmp_path):
    from quorate.training.torch.detr import DetrLearner

    trainer = detr(architecture="detr", queries=12, costs={"label": 3}, losses={"nothing": 0.25},
                   auxiliary_losses=False)  # fmt: skip
    config = DetrLearner(trainer, NAMES, None).config
    assert (config.num_queries, config.class_cost, config.eos_coefficient) == (12, 3, 0.25)
    assert config.auxiliary_loss is False
    assert DetrLearner(detr(architecture="detr"), NAMES, None).config.auxiliary_loss is True


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_a_detr_from_scratch_begins_as_its_paper_has_it(architecture):
    """The library's own weights let a fiftieth through, and RT-DETR's norms a hundredth."""
    import torch
    from torch import nn

    from quorate.training.torch.detr import DetrLearner

    learner = DetrLearner(detr(architecture=architecture), NAMES, None)
    linear = 0
    for name, part in learner.model.named_modules():
        if isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            assert (part.weight == 1).all(), name
            assert not part.bias.any(), name
        if isinstance(part, nn.Linear) and part.weight.any():
            glorot = (2 / sum(part.weight.shape)) ** 0.5
            assert float(part.weight.detach().std()) == pytest.approx(glorot, rel=0.35), name
            linear += 1
        if isinstance(part, nn.Embedding) and "query_position" in name:
            assert float(part.weight.detach().std()) == pytest.approx(1, rel=0.35), name
    assert linear > 10
    if architecture in ("conditional_detr", "deformable_detr"):
        named = [p for n, p in learner.model.named_parameters() if "class" in n and "bias" in n]
        assert named
        assert all(torch.sigmoid(one).max() < 0.011 for one in named)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"config": {"d_modle": 3}}, "has no 'd_modle'"),
        ({"config": {"backbone_config": {"model_type": "resnett"}}}, "no model_type 'resnett'"),
        ({"architecture": "detr", "losses": {"label": 2}}, "no weight of its own"),
        ({"image_size": 65}, "a multiple of 32 pixels"),
        ({"image_size": (64, 96)}, "sees every picture at one size"),
        ({"architecture": "detr", "config": {"d_model": -8}}, "cannot build|refuses"),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_a_sentence(settings, said):
    from quorate.training.torch.detr import DetrLearner

    with pytest.raises(InputError, match=said):
        DetrLearner(detr(**settings), NAMES, None)


def test_numbers_of_torchvisions_class_reach_it_and_others_are_refused():
    from quorate.training.torch.torchvision import TorchvisionLearner

    def learner(**config):
        name = "fasterrcnn_mobilenet_v3_large_320_fpn"
        return TorchvisionLearner(ssd(architecture=name, config=config), NAMES, None)

    heads = learner(box_batch_size_per_image=7).model.roi_heads
    assert heads.fg_bg_sampler.batch_size_per_image == 7
    with pytest.raises(InputError, match="takes no number 'box_batch_size'") as told:
        learner(box_batch_size=7)
    assert "box_batch_size_per_image" in told.value.hint
    with pytest.raises(InputError, match="takes no number 'box_nms_thresh' for its training"):
        learner(box_nms_thresh=0.3)


def test_checkpoints_of_something_else_are_refused(tmp_path):
    from quorate.training.torch.detr import DetrLearner
    from quorate.training.torch.torchvision import TorchvisionLearner

    saved = tmp_path / "saved"
    first = DetrLearner(detr(), NAMES, None)
    first.save(first.finished(first.model.state_dict()), saved)
    with pytest.raises(InputError, match="a checkpoint of 'rt_detr', not of 'detr'"):
        DetrLearner(detr(architecture="detr", checkpoint=str(saved)), NAMES, saved)
    with pytest.raises(DetectorError, match="not a checkpoint of 'ssdlite320"):
        TorchvisionLearner(ssd(checkpoint=str(saved)), NAMES, saved)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    import torch

    from quorate.training.torch.torchvision import TorchvisionLearner

    class Code:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'run'}",))

    torch.save({"state_dict": Code()}, tmp_path / "evil.pth")
    with pytest.raises(DetectorError, match="code in it"):
        TorchvisionLearner(ssd(checkpoint="evil.pth"), NAMES, tmp_path / "evil.pth")
    assert not (tmp_path / "run").exists()


def test_heads_of_torchvision_begin_anew_for_other_labels(tmp_path):
    import torch

    from quorate.training.torch.torchvision import HEADS, TorchvisionLearner

    first = TorchvisionLearner(ssd(), ("a", "b", "c"), None)
    first.save(first.finished(first.model.state_dict()), tmp_path / "saved")
    second = TorchvisionLearner(ssd(checkpoint=str(tmp_path)), NAMES, tmp_path / "saved")
    assert any("another number of labels" in note for note in second.notes)
    one, other = first.model.state_dict(), second.model.state_dict()
    for key in one:
        same = one[key].shape == other[key].shape and torch.equal(one[key], other[key])
        assert same or HEADS.search(key), key
