"""`quorate step train`: a data folder in, a detector out, as the trainer contract has it."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from quorate._version import __version__
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError, InputError, MissingExtraError
from quorate.formats import write_results
from quorate.progress import Progress, silent
from quorate.spec.base import spec_error
from quorate.spec.torch_trainer import (
    TorchTrainer,
    TorchvisionTrainer,
    TrainerField,
    TransformersTrainer,
)
from quorate.steps.work import write_json
from quorate.storage import local_copy
from quorate.training.contract import truth_of
from quorate.training.torch.agreement import check_export, detections_of, found_by, mean_ap
from quorate.training.torch.checkpoints import Checkpoints
from quorate.training.torch.events import Told, note
from quorate.training.torch.learner import Learner, State
from quorate.training.torch.loop import PRECISIONS, Run
from quorate.training.torch.samples import Batches, Samples
from quorate.workers import processors

try:
    import accelerate
    import torch
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

MOST_SETTINGS = 1 << 20
VALIDATION = timedelta(hours=6)
"""How long the other processes wait for the first, which measures."""
PACKAGES = (
    "accelerate",
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What came of a training: `map` on the validation pictures, 0..1; `steps` that were done."""

    map: float
    steps: int


def train(
    data: Path,
    out: Path,
    *,
    checkpoint: str | None = None,
    progress: Progress = silent,
    warn: Warn = lambda sentence: None,
) -> Trained | None:
    """Train what `data/trainer.json` describes on `data`, and leave a checked detector in `out`.

    Run again on the same folders it goes on from `out/checkpoint`, or from `checkpoint`, a folder
    or an S3 prefix of this training alone that outlives a pod's disk. `warn` is told, a sentence
    each, what a person should know. Of several processes all but the first return None.

    Raises:
        InputError: a file of `data` is wrong, or the model cannot be built as described.
        DetectorError: a checkpoint is none or does not fit, the loss is no number, one picture
            does not fit the memory, or the exported model does not find what the trained one does.
        BusyError: it was asked to stop (SIGTERM), and goes on when it is run again.
        StorageError: the disk is full.
    """
    trainer = read_trainer(data)
    labels = _labels(data)
    out.mkdir(parents=True, exist_ok=True)
    with _settled(trainer) as accelerator:
        first = accelerator.is_main_process
        say: Warn = warn if first else (lambda sentence: None)
        learner = _learner(trainer, labels, data)
        samples = Samples.of(truth_of(data, "train"), masks=learner.masks)
        held = Samples.of(truth_of(data, "validation"))
        batches = Batches(samples, trainer.batch_size, trainer.augment, trainer.seed)
        whole = trainer.epochs * batches.per_epoch
        begun = (out / "progress.jsonl").exists()
        for sentence in (*learner.notes, *samples.notes, *learner.remarks(samples)):
            say(sentence)
            if first and not begun:
                note(out, sentence, step=0, steps=whole, epoch=0)
        # A CPU has no number, whichever of several processes this is.
        device = "cpu" if accelerator.device.type == "cpu" else str(accelerator.device)

        def validate(state: State) -> float:
            predictor = learner.predictor(learner.finished(state), device=device)
            found = found_by(predictor, held)
            return mean_ap(detections_of(found, held.dataset, name=trainer.name), held.dataset)

        with _asked_to_stop() as stopped:
            run = Run(
                learner,
                batches,
                Checkpoints(
                    out / "checkpoint",
                    trainer.settings,
                    elsewhere=checkpoint if first else None,
                    warn=say,
                ),
                accelerator,
                validate,
                stopped=stopped,
                progress=progress if first else silent,
                threads=max(processors() - 1, 1),
            )
            state = run.learn(lambda step: Told(out, step=step, warn=say, quiet=not first))
        steps = run.place.step
        if not first:
            return None
        reached, agreed = _finished(learner, state, held, out)
        say(agreed)
        note(out, agreed, step=steps, steps=whole, epoch=-(-steps // batches.per_epoch))
        run.checkpoints.done()
    return Trained(reached, steps)


def read_trainer(data: Path) -> TorchTrainer:
    """The trainer that `trainer.json` of a data folder describes; InputError where it is none."""
    path = data / "trainer.json"
    try:
        if path.stat().st_size > MOST_SETTINGS:
            raise InputError(f"{path}: larger than {MOST_SETTINGS >> 20} MiB.")
        settings = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file.",
            hint="`quorate train` writes this folder; docs/reference/trainer-contract.md tells it",
        ) from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}.") from None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(TrainerField)
        trainer = adapter.validate_python(settings)
    except ValidationError as error:
        raise InputError(spec_error(error, settings, origin=str(path)).message) from None
    if not isinstance(trainer, TorchTrainer):
        raise InputError(f"{path}: `kind: {trainer.kind}` is run by itself, not by this command.")
    return trainer


def _labels(data: Path) -> tuple[str, ...]:
    try:
        text = (data / "labels.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{data / 'labels.txt'}: cannot be read ({error}).") from None
    labels = tuple(line for line in text.splitlines() if line)
    if not labels:
        raise InputError(f"{data / 'labels.txt'}: has no labels.")
    return labels


def _learner(trainer: TorchTrainer, labels: tuple[str, ...], data: Path) -> Learner:
    """The model, with its checkpoint's weights; a relative checkpoint is below `data`."""
    place = trainer.checkpoint
    if place is not None and "://" not in place:
        place = str(data / place)
        if not os.path.exists(place):
            raise InputError(f"{place}: there is no such checkpoint.")
    with contextlib.nullcontext() if place is None else local_copy(place) as here:
        if isinstance(trainer, TransformersTrainer):
            from quorate.training.torch.detr import DetrLearner

            if here is not None and not here.is_dir():
                raise InputError(
                    f"{trainer.checkpoint}: a file, not a folder as `save_pretrained` writes it.",
                    hint="transformers' conversion scripts make one of weights of other "
                    "implementations; in S3 a folder's address ends with '/'",
                )
            return DetrLearner(trainer, labels, here)
        from quorate.training.torch.torchvision import TorchvisionLearner

        assert isinstance(trainer, TorchvisionTrainer)
        return TorchvisionLearner(trainer, labels, here)


@contextlib.contextmanager
def _settled(trainer: TorchTrainer) -> Iterator[accelerate.Accelerator]:
    """The device, threads and precision asked for, and sums that are the same each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    there = torch.cuda.device_count()
    wanted = trainer.device
    if wanted.startswith("cuda") and int(wanted.partition(":")[2] or 0) >= there:
        raise DetectorError(
            f"`device: {wanted}` is not there: torch {torch.__version__} sees {there or 'no'} CUDA "
            f"device{'' if there == 1 else 's'}.",
            hint="`device: auto` takes a GPU where there is one, else the CPU",
        )
    on_cpu = wanted == "cpu" or not there
    if on_cpu and trainer.precision == "float16":
        raise DetectorError(
            "`precision: float16` needs a GPU.",
            hint="on a CPU, `float32` is exact and `bfloat16` may be faster",
        )
    if ":" in wanted:
        os.environ["ACCELERATE_TORCH_DEVICE"] = wanted
    threads = torch.get_num_threads()
    torch.set_num_threads(trainer.threads or processors())
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings(action="ignore"):
            yield accelerate.Accelerator(
                mixed_precision=PRECISIONS[trainer.precision],
                cpu=on_cpu,
                # Some parts of a model are not used for every picture.
                kwargs_handlers=[
                    accelerate.DistributedDataParallelKwargs(find_unused_parameters=True),
                    accelerate.InitProcessGroupKwargs(timeout=VALIDATION),
                ],
            )
    finally:
        # The library keeps the first one's settings for all later ones of a process.
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether this process was asked to end (SIGTERM): it ends after a step, with a checkpoint."""
    asked = False

    def note(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _finished(learner: Learner, state: State, held: Samples, out: Path) -> tuple[float, str]:
    """Write what the contract asks for; the mAP of the weights, and how the export was checked."""
    name = learner.trainer.name
    learner.save(learner.finished(state), out / "model")
    original = learner.predictor(learner.finished(state), device="cpu")
    found = found_by(original, held)
    boxes = detections_of(found, held.dataset, name=name)
    write_results(boxes, out / "predictions.json")
    fields = learner.export(learner.finished(state), out / "model.onnx")
    entry = {"name": name, "kind": "onnx", "weights": "model.onnx", "names": list(learner.labels)}
    entry |= fields
    detector = OnnxDetector(
        **{**entry, "weights": str(out / "model.onnx"), "min_score": learner.floor}
    )
    agreed = check_export(learner, learner.finished(state), detector.load(), held, found)
    write_json(out / "export.json", agreed)
    write_json(out / "detector.json", entry)
    write_json(out / "versions.json", _versions())
    return mean_ap(boxes, held.dataset), agreed.sentence


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "quorate": __version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    if torch.cuda.is_available():
        found["cuda"] = str(torch.version.cuda)
    return found


__all__ = ["Trained", "read_trainer", "train"]
