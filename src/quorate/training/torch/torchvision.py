"""torchvision's detectors, learning: the model and its losses are theirs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.torch.predictor import BACKGROUND, Names, Runtime
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.detectors.torch.torchvision_predictor import (
    EPS_OF_FROZEN,
    TorchvisionPredictor,
    freeze,
    options,
    settle,
)
from quorate.detectors.torch.weights import UNUSED, misfit, read_state
from quorate.errors import DetectorError, InputError, MissingExtraError, did_you_mean
from quorate.spec.torch_trainer import TorchvisionTrainer
from quorate.training.torch.learner import (
    Learner,
    Loss,
    Rows,
    State,
    written,
)
from quorate.training.torch.samples import Sample

try:
    import torch
    from safetensors.torch import save_file
    from torch import nn
    from torchvision.models import detection
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

OPSET = 17
HEADS = re.compile(
    r"box_predictor|mask_predictor\.mask_fcn_logits|cls_logits|classification_head\.module_list"
)
"""Keys whose shape tells the number of labels."""

FIRST_LAYERS = re.compile(r"^backbone\.body\.(conv1|bn1|layer1)\.")
"""What of a ResNet with weights stays as it is, as torchvision's recipes have it."""
CLASSES = {
    "fasterrcnn": detection.FasterRCNN,
    "maskrcnn": detection.MaskRCNN,
    "retinanet": detection.RetinaNet,
    "fcos": detection.FCOS,
    "ssd300": detection.ssd.SSD,
    "ssdlite320": detection.ssd.SSD,
}
"""What takes the numbers of `config`, by the first word of an architecture."""
WHEN_USED = re.compile(r"^(min|max)_size$|_test$|score_thresh|nms_thresh|^(box_)?detections|topk")
"""Numbers of a detector at work: `image_size`, and the fields of a detector in an ensemble."""
LOWEST_EXPORTED, MOST_EXPORTED = 0.01, 300
"""What the graph itself leaves out; a spec's `min_score` and `max_detections` may ask for less."""


class TorchvisionLearner(Learner):
    """A detector of torchvision that learns."""

    trainer: TorchvisionTrainer
    floor = LOWEST_EXPORTED
    backbone = re.compile(r"^backbone\.(body|features)\.")

    def __init__(
        self, trainer: TorchvisionTrainer, labels: Sequence[str], checkpoint: Path | None
    ) -> None:
        super().__init__(trainer, labels)
        self.outputs = ("boxes", "labels", "scores")
        self.masks = trainer.architecture.startswith("maskrcnn")
        if self.masks:
            self.outputs += ("masks",)
        self._frozen = False
        check_fields(trainer)
        state = None
        if checkpoint is not None:
            state = read_state(str(_file(checkpoint))).tensors
            self._frozen = not any(key.endswith("num_batches_tracked") for key in state)
        self.model = self._fresh()
        if state is not None:
            self._begin(state)
            for name, parameter in self.model.named_parameters():
                if FIRST_LAYERS.search(name):
                    parameter.requires_grad_(False)

    def inputs(self, samples: list[Sample]) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        """Pixels in 0..1, and corners in pixels; number 0 is the background's."""
        pictures, targets = [], []
        for sample in samples:
            pixels = torch.from_numpy(sample.picture).permute(2, 0, 1).float().div_(255)
            pictures.append(pixels.contiguous())
            target = {
                "boxes": torch.from_numpy(sample.xyxy),
                "labels": torch.from_numpy(sample.label + 1),
            }
            if sample.masks is not None:
                masks = np.ascontiguousarray(sample.masks, dtype=np.uint8)
                target["masks"] = torch.from_numpy(masks)
            targets.append(target)
        return pictures, targets

    def loss(self, model: nn.Module, inputs: Any) -> Loss:
        """The sum of the library's losses."""
        parts = model(*inputs)
        return Loss(sum(parts.values()), {n.removeprefix("loss_"): p for n, p in parts.items()})

    def finished(self, state: State) -> nn.Module:
        """See `Learner`."""
        model = self._fresh()
        model.load_state_dict(dict(state))
        return model.eval()

    def predictor(self, model: nn.Module, *, device: str) -> TorchvisionPredictor:
        """See `Learner`."""
        spec = self._detector(device=device, min_score=self.floor)
        names = Names.of((BACKGROUND[0], *self.labels), background=True)
        settle(model, spec)
        return TorchvisionPredictor(spec, Runtime.of(spec), names, model)

    def save(self, model: nn.Module, folder: Path) -> None:
        """See `Learner`; with the labels in the file's metadata."""
        import json

        tensors = {key: item.contiguous() for key, item in model.state_dict().items()}
        names = json.dumps([BACKGROUND[0], *self.labels])
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "model.safetensors", metadata={"names": names})

    def export(self, model: nn.Module, path: Path) -> dict[str, Any]:
        """See `Learner`; torchvision's `boxes`, `labels` and `scores` of a picture of any size."""
        graph = self.graph(model)
        if (last := getattr(model, "roi_heads", None)) is not None:
            # The library's own asks whether there is any region, and a trace keeps that answer:
            # exported with a picture without one, it would fail on all pictures with some.
            last.box_coder.decode = partial(_decoded, last.box_coder, len(self.labels) + 1)
        if model.transform.fixed_size is None:
            model.transform.resize = partial(_resized, model.transform)
        example = torch.zeros(3, 96, 128)
        outputs = list(self.outputs)
        axes: dict[str, dict[int, str]] = {name: {0: "found"} for name in outputs}
        axes["image"] = {1: "height", 2: "width"}
        # Its postprocessing depends on values, which only tracing follows.
        how = {
            "input_names": ["image"],
            "output_names": outputs,
            "dynamic_axes": axes,
            "opset_version": OPSET,
            "dynamo": False,
        }
        written(graph, example, path, [how])
        return {"layout": "torchvision"}

    def graph(self, model: nn.Module) -> nn.Module:
        """See `Learner`."""
        last = getattr(model, "roi_heads", model)
        last.score_thresh, last.detections_per_img = LOWEST_EXPORTED, MOST_EXPORTED
        return _Outputs(model, self.outputs)

    def rows(self, outputs: Sequence[NDArray[Any]], picture: tuple[int, int]) -> Rows:
        """See `Learner`; a box has a score of one label alone."""
        boxes, label, score = outputs[:3]
        height, width = picture
        every = np.zeros((len(boxes), len(self.labels) + 1), np.float32)
        every[np.arange(len(boxes)), label] = score
        floor = LOWEST_EXPORTED if len(boxes) < MOST_EXPORTED else float(score.min())
        masks = outputs[3].reshape(len(boxes), -1) if self.masks else None
        side = np.array([width, height, width, height], np.float32)
        return Rows(boxes / side, every, masks, floor)

    def _detector(self, **settings: Any) -> TorchvisionDetector:
        return TorchvisionDetector(
            name=self.trainer.name,
            architecture=self.trainer.architecture,
            weights="model/model.safetensors",
            image_size=self.trainer.image_size,
            threads=self.trainer.threads or 1,
            **settings,
        )

    def _fresh(self) -> nn.Module:
        """A model without weights, whose norms are frozen where those it begins with were."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.trainer.seed)
            model: nn.Module = getattr(detection, self.trainer.architecture)(
                weights=None,
                weights_backbone=None,
                num_classes=len(self.labels) + 1,
                **options(self._detector()),
                **self.trainer.config,
            )
        if self._frozen:
            eps = EPS_OF_FROZEN.get(self.trainer.architecture, 1e-5)
            freeze(getattr(model, "backbone", model), eps)
        return model

    def _begin(self, state: Mapping[str, torch.Tensor]) -> None:
        """Fill in a checkpoint's weights; heads of other labels begin anew."""
        own = self.model.state_dict()
        found = dict(state)
        if not any(key in own for key in found):
            found = _of_a_backbone(found)
            rest = [k for k in own if "backbone.body." in k and not k.endswith(UNUSED)]
            if found and all(key in found for key in rest):
                self.notes.append("The checkpoint is a backbone alone: all else begins anew.")
                fits = {k: v for k, v in found.items() if k in own and v.shape == own[k].shape}
                self.model.load_state_dict(fits, strict=False)
                return
        differing = [k for k, v in found.items() if k in own and v.shape != own[k].shape]
        anew = {key: own[key] for key in differing if HEADS.search(key)}
        if said := misfit(self.model, found | anew):
            raise DetectorError(
                f"{self.trainer.checkpoint}: not a checkpoint of '{self.trainer.architecture}': "
                f"{said}.",
                hint="name the `architecture` that the checkpoint is of",
            )
        if anew:
            self.notes.append(
                "The checkpoint knows another number of labels: the heads that tell labels begin "
                f"anew, for {len(self.labels)}."
            )
        self.model.load_state_dict(found | anew, strict=False)


def check_fields(trainer: TorchvisionTrainer) -> None:
    """Refuse what the architecture's class has not, or asks for only when it is used."""
    kind = CLASSES[trainer.architecture.partition("_")[0]]
    known = {
        name
        for one in kind.__mro__[:2]  # what Mask R-CNN does not name it hands on to Faster R-CNN
        for name, parameter in inspect.signature(one.__init__).parameters.items()
        if isinstance(parameter.default, int | float) and not WHEN_USED.search(name)
    }
    for name in trainer.config:
        if name not in known:
            raise InputError(
                f"trainers '{trainer.name}': config: {kind.__name__} of torchvision takes no "
                f"number '{name}' for its training.",
                hint=did_you_mean(name, known) or f"it takes {', '.join(sorted(known))}",
            )


def _file(checkpoint: Path) -> Path:
    """The one file of weights of a folder, or the file itself."""
    if not checkpoint.is_dir():
        return checkpoint
    for end in (".safetensors", ".pth", ".pt"):
        files = sorted(checkpoint.rglob(f"*{end}"))
        if named := [file for file in files if file.stem == "model"]:
            files = named
        if len(files) == 1:
            return files[0]
        if files:
            listed = ", ".join(str(file.relative_to(checkpoint)) for file in files[:4])
            raise DetectorError(
                f"{checkpoint}: there are {len(files)} files of weights in it: {listed}.",
                hint="name the one that is the model's",
            )
    raise DetectorError(
        f"{checkpoint}: there is no file of weights in it.",
        hint="it needs a .safetensors, .pth or .pt",
    )


def _of_a_backbone(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a classifier of torchvision under the keys that a detector has them."""
    if "conv1.weight" in state:
        return {f"backbone.body.{k}": v for k, v in state.items() if not k.startswith("fc.")}
    return {
        f"backbone.body.{key.removeprefix('features.')}": value
        for key, value in state.items()
        if key.startswith("features.")
    }


class _Outputs(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """The tensors of one picture, in the order of their names."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model([image])
        one = (found[1] if isinstance(found, tuple) else found)[0]
        return tuple(one[name] for name in self.names)


def _decoded(
    coder: Any, labels: int, codes: torch.Tensor, regions: list[torch.Tensor]
) -> torch.Tensor:
    """Torchvision's `BoxCoder.decode` for any number of regions: (regions, labels, 4), pixels."""
    boxes: torch.Tensor = coder.decode_single(codes, torch.cat(regions))
    return boxes.reshape(-1, labels, 4)


def _resized(transform: Any, image: torch.Tensor, target: None = None) -> tuple[torch.Tensor, None]:
    """`GeneralizedRCNNTransform.resize` in a trace, to the very size that it has outside of one.

    The library's own reckons it in single precision there, and some sides come out a pixel shorter.
    """
    sides = torch._shape_as_tensor(image)[-2:].to(torch.float64)
    wanted = torch.tensor([transform.min_size[-1], transform.max_size], dtype=torch.float64)
    scale = (wanted / torch.stack([sides.min(), sides.max()])).min()
    height, width = (sides * scale).to(torch.int64).unbind()
    size: Any = (height, width)
    return nn.functional.interpolate(image[None], size=size, mode="bilinear")[0], target
