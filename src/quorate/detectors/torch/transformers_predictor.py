"""DETR and its kin of transformers at work: a picture in, its boxes out."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.files import told_of_detector
from quorate.detectors.finished import not_finite
from quorate.detectors.names import given_names
from quorate.detectors.torch.predictor import (
    SINGLE,
    Found,
    Names,
    Runtime,
    Size,
    TorchPredictor,
    first_line,
)
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.detectors.torch.weights import UNUSED, describe_misfit
from quorate.errors import DetectorError, MissingExtraError
from quorate.masks import Masks
from quorate.masks.grids import Grids
from quorate.networks import MAX_NAMES
from quorate.storage import is_s3, local_copy

try:
    import torch
    import transformers
    from transformers.utils import logging as their_logging
except ImportError as error:
    raise MissingExtraError("`kind: transformers`", "torch") from error

SEGMENTATION = ("DetrForSegmentation", "ConditionalDetrForSegmentation")
"""Models with masks, whose part for boxes is a whole model of its own."""


class TransformersPredictor(TorchPredictor):
    """A loaded detector of transformers; see `quorate.detectors.Predictor` for its duties.

    Pictures are resized and normalised, and outputs turned into boxes, by the model's own image
    processor: on the device, a batch at a time.
    """

    def __init__(
        self,
        spec: TransformersDetector,
        runtime: Runtime,
        names: Names,
        model: torch.nn.Module,
        processor: Any,
    ) -> None:
        super().__init__(spec, runtime, names)
        self.model = model.to(runtime.device).eval()
        self.processor = processor
        self._takes = set(inspect.signature(model.forward).parameters)
        self._size = _fixed_size(processor)
        if self._size is None:
            self.longest = getattr(getattr(processor, "size", None), "longest_edge", None)

    @classmethod
    def load(cls, spec: TransformersDetector) -> TransformersPredictor:
        """Build the model that the folder describes, and settle what its labels are."""
        runtime = Runtime.of(spec)
        folder = spec.weights
        if not is_s3(folder) and not os.path.isdir(folder):
            raise DetectorError(
                f"{folder}: there is no such folder. Models are never downloaded from the Hub.",
                hint="fetch it once, for example `hf download NAME --local-dir FOLDER`, and name "
                "the folder",
            )
        with told_of_detector(), local_copy(folder, wanted=_wanted) as path, silence():
            config = read_config(path, folder)
            names = _names(spec, config)
            processor = read_processor(path, folder)
            with torch.random.fork_rng(devices=[]):  # a model begins with random weights
                model = _model(path, folder, config, masks=spec.masks)
        return cls(spec, runtime, names, model, processor)

    def frame(self, picture: Size) -> Size:
        """See `TorchPredictor`."""
        return self._size or picture

    def forward(self, pictures: list[torch.Tensor]) -> tuple[torch.Tensor | None, ...]:
        """See `TorchPredictor`."""
        inputs = self.processor(
            images=pictures,
            return_tensors="pt",
            device=self.runtime.device,
            input_data_format="channels_first",
        )
        outputs = self.model(**{name: inputs[name] for name in inputs if name in self._takes})
        masks = getattr(outputs, "pred_masks", None)
        return outputs.logits.float(), outputs.pred_boxes.float(), masks

    def found(
        self, outputs: tuple[torch.Tensor, torch.Tensor, Any], sizes: list[Size]
    ) -> list[Found]:
        """See `TorchPredictor`."""
        logits, boxes = (tensor.cpu() for tensor in outputs[:2])
        masks = outputs[2]
        if not (torch.isfinite(logits).all() and torch.isfinite(boxes).all()):
            raise not_finite("a number", single=SINGLE)
        given = SimpleNamespace(logits=logits, pred_boxes=boxes)
        results = self.processor.post_process_object_detection(
            given, threshold=self._min_score, target_sizes=sizes
        )
        found = [Found(one["boxes"], one["scores"], one["labels"]) for one in results]
        if masks is None:
            return found
        # Which query each box is of: asked for once more, with the queries' numbers as boxes.
        queries = torch.arange(logits.shape[1], dtype=torch.float32)[None, :, None]
        numbers = queries.expand(len(logits), -1, 4) * torch.tensor([1.0, 0.0, 0.0, 0.0])
        again = self.processor.post_process_object_detection(
            SimpleNamespace(logits=logits, pred_boxes=numbers), threshold=self._min_score
        )
        return [
            one._replace(masks=planes[number["boxes"][:, 0].round().long().to(planes.device)])
            for one, number, planes in zip(found, again, masks, strict=True)
        ]

    def drawn(
        self, grids: torch.Tensor, xyxy: NDArray[np.float32], size: Size, seen: Size
    ) -> Masks:
        """See `TorchPredictor`; a grid lies over all that was seen, and 0 is an object's edge."""
        planes = Grids(grids.numpy(), np.arange(len(grids)), 0.0)
        return planes.drawn(xyxy, size, (0.0, 0.0, size[1] / seen[1], size[0] / seen[0]))


def _wanted(name: str) -> bool:
    """Whether a file of a folder in S3 is fetched."""
    return "/" not in name and name.endswith((".json", ".safetensors", ".bin"))


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No bars of progress and no advice on standard error; what matters is raised."""
    level, bars = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if bars:
            their_logging.enable_progress_bar()


def read_config(path: Path, folder: str) -> Any:
    """The model's configuration; DetectorError where it is of no detector that is built in."""
    file = path / "config.json"
    if not file.exists():
        raise DetectorError(
            f"{folder}: has no config.json.",
            hint="name a folder as `save_pretrained` writes it",
        )
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        kind = said["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise DetectorError(f"{folder}: its config.json describes no model.") from None
    known = transformers.models.auto.modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
    if kind not in known:
        raise DetectorError(
            f"{folder}: '{kind}' is no detector that transformers {transformers.__version__} has"
            f"{' built in; code beside a model is never run' if 'auto_map' in said else ''}.",
            hint=f"it has {', '.join(known)}",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what a configuration may hold is checked in many places
        raise DetectorError(f"{folder}: config.json: {first_line(error)}") from None
    parts: tuple[Any, ...] = (config, getattr(config, "backbone_config", None))
    for part in parts:
        if getattr(part, "use_pretrained_backbone", False):
            part.use_pretrained_backbone = False  # it comes with the weights
    return config


def _names(spec: TransformersDetector, config: Any) -> Names:
    """The spec's names, else the configuration's."""
    given = {int(number): str(name) for number, name in (config.id2label or {}).items()}
    numbers = max(given, default=-1) + 1
    if numbers > MAX_NAMES:
        raise DetectorError(f"{spec.weights}: config.json numbers its labels up to {numbers - 1}.")
    names = given_names(spec.names) or tuple(given.get(number, "N/A") for number in range(numbers))
    if len(names) != numbers:
        raise DetectorError(
            f"{spec.weights}: has {numbers} labels, but there are {len(names)} names.",
            hint="correct `names` of the detector, or leave it out",
        )
    if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        raise DetectorError(
            f"{spec.weights}: its config.json does not say what its {numbers} labels are called.",
            hint=f"list them in their order under `names:` of the detector '{spec.name}'",
        )
    return Names.of(names, background=False)


def read_processor(path: Path, folder: str) -> Any:
    """The image processor, from preprocessor_config.json."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except ImportError:
        raise MissingExtraError("`kind: transformers`", "torch") from None
    except Exception as error:  # as for the configuration
        raise DetectorError(
            f"{folder}: no image processor: {first_line(error)}",
            hint="preprocessor_config.json says how pictures are prepared; it belongs to the model",
        ) from None
    if not hasattr(processor, "post_process_object_detection"):
        raise DetectorError(
            f"{folder}: '{type(processor).__name__}' is no image processor of a detector."
        )
    return processor


def _model(path: Path, folder: str, config: Any, *, masks: bool) -> torch.nn.Module:
    """The model with all its weights; DetectorError where some are missing or do not fit."""
    wanted = next((a for a in config.architectures or () if a in SEGMENTATION), None)
    model, report = read_model(path, folder, config, wanted or "AutoModelForObjectDetection")
    missing = [key for key in sorted(report["missing_keys"]) if not key.endswith(UNUSED)]
    wrong = [
        f"{key} {list(there)} where {list(own)} belongs"
        for key, there, own in sorted(report["mismatched_keys"])
    ]
    if said := describe_misfit(missing, sorted(report["unexpected_keys"]), wrong):
        raise DetectorError(
            f"{folder}: the weights do not fit what config.json describes: {said}.",
            hint="config.json and the weights must come from the same model",
        )
    if wanted and not masks:
        model = model.detr if hasattr(model, "detr") else model.conditional_detr
    whole: torch.nn.Module = model
    return whole


def read_model(path: Path, folder: str, config: Any, builder: str) -> tuple[Any, dict[str, Any]]:
    """A model with those of its weights that fit, and the library's report on the others."""
    try:
        model, report = getattr(transformers, builder).from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=any(path.glob("*.safetensors")),
            ignore_mismatched_sizes=True,  # they are reported, and told or refused by who asks
            output_loading_info=True,
        )
    except ImportError as error:
        raise DetectorError(
            f"{folder}: the model needs a package that is not installed: {first_line(error)}",
            hint="backbones of timm: `pip install timm`",
        ) from None
    except Exception as error:  # damaged weights raise anything
        raise _refusal(path, folder, error) from None
    return model, report


def _refusal(path: Path, folder: str, error: Exception) -> DetectorError:
    """What is wrong with weights that the library could not read."""
    said = str(error)
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        return DetectorError(
            f"{folder}: has no weights.", hint="it needs model.safetensors beside config.json"
        )
    if "weights_only" in said.lower() or "Unsupported" in said:
        return DetectorError(
            f"{folder}: its weights are a pickle with code in it, which was not run.",
            hint="use the model's .safetensors",
        )
    return DetectorError(
        f"{folder}: the weights are damaged or of another model: {first_line(error)}"
    )


def _fixed_size(processor: Any) -> Size | None:
    """(height, width) that every picture is stretched to; None where that depends on it."""
    size = getattr(processor, "size", None)
    height, width = (getattr(size, side, None) for side in ("height", "width"))
    if getattr(processor, "do_resize", False) and height and width:
        return int(height), int(width)
    return None
