"""How much a torch detector costs beside its network: `predict` against the bare library's loop.

    python -m tests.benchmarks.torch [FAMILY …] [--device cpu|cuda] [--pictures N] [--image-size N]
                                     [--rounds N] [--json FILE]

Models have random weights and their real size; pictures are JPEG files of 640 x 480. With
`--image-size` networks see less of them, so that a CPU gets through more. `bare` is
the model of the library alone in a loop over tensors that were made beforehand: for torchvision
floats of the picture's size, for transformers what the image processor makes. `predict` begins
with the decoded picture, so it includes preprocessing and what becomes of the boxes; the detect
step begins with the file. On a CPU rates are of one thread's processor time, which other work
on the machine disturbs less than the clock, and by the clock on a GPU; the best of several rounds
that take turns. Memory is the peak on the GPU, beside the bare loop's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import transformers
from safetensors.torch import save_file

from quorate import pictures
from quorate.detectors.torch.predictor import TorchPredictor
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.labels import Labels
from quorate.spec import Detector, EnsembleSpec
from quorate.steps import Voter, Work, detect, prepare
from tests.benchmarks.detect import make_pictures

LABELS = [f"thing {number}" for number in range(80)]
ON_CPU = ("ssdlite320_mobilenet_v3_large", "rt_detr", "yolos")
"""What a CPU gets through in a minute; all of them run on a GPU."""
FAMILIES = (
    "ssdlite320_mobilenet_v3_large",
    "ssd300_vgg16",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "detr",
    "conditional_detr",
    "deformable_detr",
    "rt_detr",
    "rt_detr_v2",
    "d_fine",
    "yolos",
)


def describe(family: str, folder: Path, device: str, size: int | None) -> Detector:
    """A detector of the family, its random weights saved as a user has them."""
    torch.manual_seed(0)
    shared = {"name": "d", "device": device, "weights": str(folder / family), "min_score": 0.3}
    if hasattr(torchvision.models.detection, family):
        build = getattr(torchvision.models.detection, family)
        model = build(weights=None, weights_backbone=None, num_classes=len(LABELS) + 1)
        save_file(model.state_dict(), folder / family)
        return TorchvisionDetector(architecture=family, names=LABELS, image_size=size, **shared)
    named = "".join(part.capitalize() for part in family.split("_"))
    named = {"RtDetr": "RTDetr", "RtDetrV2": "RTDetrV2", "Yolos": "Yolos"}.get(named, named)
    options = {"id2label": dict(enumerate(LABELS))}
    if "detr" in family and not family.startswith("rt"):
        backbone = transformers.ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
        options |= {"use_timm_backbone": False, "backbone_config": backbone, "backbone": None}
    if family == "yolos":  # its small size
        options |= {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    config = getattr(transformers, f"{named}Config")(**options)
    transformers.utils.logging.disable_progress_bar()
    transformers.AutoModelForObjectDetection.from_config(config).save_pretrained(folder / family)
    kind = "RTDetr" if family.startswith(("rt", "d_fine")) else named
    if not size:
        sides = {}
    elif kind == "RTDetr":
        sides = {"size": {"height": size, "width": size}}
    else:
        sides = {"size": {"shortest_edge": size, "longest_edge": 2 * size}}
    processor = getattr(transformers, f"{kind}ImageProcessor")(**sides)
    processor.save_pretrained(folder / family)
    return TransformersDetector(**shared)


def bare_inputs(predictor: TorchPredictor, shown: Sequence[np.ndarray]) -> list[Callable[[], Any]]:
    """Calls of the library's model, a batch each, on tensors that are there already."""
    calls: list[Callable[[], Any]] = []
    device, batch = predictor.runtime.device, predictor.batch
    for start in range(0, len(shown), batch):
        group = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in shown[start : start + batch]]
        if hasattr(predictor, "processor"):
            made = predictor.processor(images=group, return_tensors="pt")
            inputs = {name: made[name].to(device) for name in made if name in predictor._takes}
            calls.append(lambda i=inputs: predictor.model(**i))
        else:
            tensors = [tensor.float().div(255).to(device) for tensor in group]
            calls.append(lambda t=tensors: predictor.model(t))
    return calls


def rates(
    work: dict[str, Callable[[], Any]], count: int, rounds: int, on_cuda: bool
) -> dict[str, tuple[float, float]]:
    """Pictures a second of each, the best of several rounds, and MiB at the peak."""
    clock = time.perf_counter if on_cuda else time.process_time
    best = dict.fromkeys(work, 0.0)
    peak = dict.fromkeys(work, 0.0)
    for turn in range(rounds + 1):
        for name, call in work.items():
            if on_cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = clock()
            call()
            if on_cuda:
                torch.cuda.synchronize()
                peak[name] = torch.cuda.max_memory_allocated() / (1 << 20)
            if turn:  # the first warms up
                best[name] = max(best[name], count / (clock() - start))
    return {name: (best[name], peak[name]) for name in work}


def measure(
    family: str,
    paths: Sequence[Path],
    folder: Path,
    device: str,
    rounds: int,
    workers: int,
    size: int | None = None,
) -> dict[str, float]:
    """Rates of the bare loop, of `predict` and of the detect step."""
    spec = describe(family, folder, device, size)
    predictor: Any = spec.load()
    on_cuda = predictor.runtime.device.type == "cuda"
    shown = [pictures.decode(path.read_bytes(), name=path.name) for path in paths]
    calls = bare_inputs(predictor, shown)
    ensemble = EnsembleSpec(name="e", data=str(paths[0].parent), labels=LABELS, detectors=[spec])
    voter = Voter.of(spec, predictor, Labels.from_names(LABELS))

    @torch.inference_mode()
    def bare() -> None:
        for call in calls:
            call()

    def predict() -> None:
        for start in range(0, len(shown), predictor.batch):
            predictor.predict(shown[start : start + predictor.batch])

    def step() -> None:
        with tempfile.TemporaryDirectory() as out:
            work = Work(Path(out))
            prepare(ensemble, work, labels=Labels.from_names(LABELS))
            detect(work, 0, [voter], workers=workers)

    found = rates({"bare": bare, "predict": predict, "step": step}, len(paths), rounds, on_cuda)
    return {
        "batch": predictor.batch,
        **{f"{name}_pictures_a_second": rate for name, (rate, _) in found.items()},
        **{f"{name}_over_bare": found[name][0] / found["bare"][0] for name in ("predict", "step")},
        "memory_over_bare": found["step"][1] / found["bare"][1] if on_cuda else 0.0,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("families", nargs="*", help="by default all, and three on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pictures", type=int, help="by default 6, and 256 on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image-size", type=int, help="pixels of the shorter side")
    parser.add_argument("--workers", type=int, help="of the step; by default 1, and 16 on a GPU")
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    options = parser.parse_args()
    on_cuda = options.device.startswith("cuda")
    torch.set_num_threads(1)
    families = options.families or (FAMILIES if on_cuda else ON_CPU)
    count = options.pictures or (256 if on_cuda else 6)
    workers = options.workers or (16 if on_cuda else 1)
    what = torch.cuda.get_device_name() if on_cuda else "one thread of a CPU"
    print(
        f"{what}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"transformers {transformers.__version__}"
    )
    head = f"{'':34}{'batch':>6}{'bare':>9}{'predict':>9}{'step':>9}"
    print(f"{head}{'predict/bare':>14}{'step/bare':>11}{'memory':>8}")
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pictures").mkdir()
        paths = make_pictures(Path(folder) / "pictures", count)
        for family in families:
            row = measure(
                family,
                paths,
                Path(folder),
                options.device,
                options.rounds,
                workers,
                options.image_size,
            )
            result[family] = row
            print(
                f"{family:34}{row['batch']:6.0f}{row['bare_pictures_a_second']:9.2f}"
                f"{row['predict_pictures_a_second']:9.2f}{row['step_pictures_a_second']:9.2f}"
                f"{row['predict_over_bare']:14.3f}{row['step_over_bare']:11.3f}"
                + (f"{row['memory_over_bare']:7.2f}x" if on_cuda else f"{'':>8}"),
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
