"""The loop, measured: a quorum proposes, a labeller corrects, a detector learns and may join.

Pictures of one bench come in rounds, the concrete floor that `yolo` has never seen. In each round
the detectors propose boxes, and the edits that make the truth of them are counted as `quorate
evaluate` counts them; the labeller is the truth. Then `finetune.py` learns from all rounds so far,
by `quorate train`, which says whether what it learnt earns a vote. Compared are

    nothing                every object is drawn
    single                 the best single detector, the learnt one among them
    quorum                 the demo's ensemble, with the learnt detector once it earns a vote
    quorum, not learning   the demo's ensemble as it is

Forty pictures of the bench are labelled from the start: they judge who is better, and choose the
score from which a proposal is shown.

    python loop.py --python PYTHON_WITH_TORCH --plot loop.svg

Needs quorate, and for the trainer another Python with torch, torchvision, onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from bench import BENCHES
from render import SIZES, coco, render

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.evaluation.coco import evaluate
from quorate.evaluation.effort import effort
from quorate.report.curves import Line, chart_file, line_chart
from quorate.report.model import own
from quorate.spec import Detector, EnsembleSpec
from quorate.spec.training import Training
from quorate.steps import Work
from quorate.steps.fuse import decide_boxes
from quorate.training.judging import of_voters
from quorate.training.whole import train
from quorate.training.work import TrainingWork
from quorate.tuning.labelled import labelled

HERE = Path(__file__).parent
BENCH = "concrete"
POOL, HELD_OUT = 700_000, 820_000
"""First seeds: `train.py` uses those from 0, the demo's pictures those from 910000."""
LOOPS = ("nothing", "single", "quorum, not learning", "quorum")


def seeds(first: int, wanted: int) -> list[int]:
    """The first seeds from `first` on whose pictures are of the bench."""

    def bench(seed: int) -> str:
        rng = np.random.default_rng(seed)  # the first two draws of `render`
        rng.integers(len(SIZES))
        return str(rng.choice(BENCHES))

    return list(islice((seed for seed in count(first) if bench(seed) == BENCH), wanted))


def rendered(folder: Path, parts: dict[str, list[int]]) -> None:
    """Render pictures into `images/`, those that are not there; `truth.json` of each part."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for part, chosen in parts.items():
        file = folder / f"{part}.json"
        if file.exists() and all((folder / f"images/{seed}.jpg").exists() for seed in chosen):
            continue
        pictures = []
        for seed in chosen:
            picture = render(seed)
            (folder / f"images/{seed}.jpg").write_bytes(picture.jpeg)
            pictures.append((f"{seed}.jpg", picture))
        file.write_text(json.dumps(coco(pictures)))


def united(folder: Path, parts: Sequence[str], to: Path) -> None:
    """One COCO file of several parts, their ids made unique."""
    whole: dict[str, Any] = {"images": [], "annotations": []}
    for part in parts:
        one = json.loads((folder / f"{part}.json").read_text())
        whole["categories"] = one["categories"]
        moved = {}
        for image in one["images"]:
            moved[image["id"]] = len(whole["images"]) + 1
            whole["images"].append({**image, "id": moved[image["id"]]})
        for shape in one["annotations"]:
            number = len(whole["annotations"]) + 1
            whole["annotations"].append(
                {**shape, "id": number, "image_id": moved[shape["image_id"]]}
            )
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(whole))


def seen(
    demo: EnsembleSpec, newcomer: Detector | None, data: Path, work: Path
) -> tuple[Dataset, Detections]:
    """What every detector finds on a labelled part, and the part."""
    more = () if newcomer is None else (newcomer,)
    looking = demo.model_copy(
        update={"data": str(data), "detectors": (*demo.detectors, *more), "quorum": 1}
    )
    found = labelled(looking, Work(work))
    return found.dataset, found.found


def proposed(
    demo: EnsembleSpec, found: Detections, dataset: Dataset, joined: str | None
) -> dict[str, Detections]:
    """The boxes of each single detector, of the demo's ensemble, and of that which has grown."""
    names = [one.name for one in demo.detectors]
    results = {name: own(found, name) for name in found.detectors}

    def fused(voters: Sequence[str]) -> Detections:
        return decide_boxes(of_voters(found, voters), demo, dataset.labels)

    results["quorum, not learning"] = fused(names)
    results["quorum"] = fused([*names, *([joined] if joined else [])])
    return results


def main() -> None:
    """Run all rounds; write the figures, and the picture of them."""
    parser = argparse.ArgumentParser(description="Measure the loop of labelling and learning.")
    parser.add_argument("--out", type=Path, default=Path("out/loop"))
    parser.add_argument("--python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=20, help="of a round")
    parser.add_argument("--held-out", type=int, default=40)
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    given = parser.parse_args()
    out = given.out.absolute()
    pool = seeds(POOL, given.rounds * given.pictures)
    parts = {
        f"round-{i + 1}": pool[i * given.pictures : (i + 1) * given.pictures]
        for i in range(given.rounds)
    }
    rendered(out, parts | {"held-out": seeds(HELD_OUT, given.held_out)})
    demo = EnsembleSpec.from_yaml(HERE / "spec.yaml")
    (out / "ensemble.yaml").write_text(demo.to_yaml())
    newest: Detector | None = None
    joined: Detector | None = None
    rows = []
    for number in range(1, given.rounds + 1):
        learnt = [one for one in (newest,) if one is not None]
        held, found = seen(demo, newest, out / "held-out.json", out / f"work/{number}/held-out")
        shown = proposed(demo, found, held, joined.name if joined else None)
        least = {name: effort(boxes, held).best_score for name, boxes in shown.items()}
        quality = {name: evaluate(boxes, held).ap or 0.0 for name, boxes in shown.items()}
        singles = [one.name for one in (*demo.detectors, *learnt)]
        best = max(singles, key=lambda name: quality[name])
        data, found = seen(demo, newest, out / f"round-{number}.json", out / f"work/{number}/round")
        shown = proposed(demo, found, data, joined.name if joined else None)
        edits = {
            name: effort(boxes, data, min_score=least[name]).each for name, boxes in shown.items()
        }
        objects = len(data.annotations or ()) / len(data.images)
        row = {
            "round": number,
            "labelled": (number - 1) * given.pictures,
            "nothing": objects,
            "single": edits[best],
            "quorum, not learning": edits["quorum, not learning"],
            "quorum": edits["quorum"],
            "best single": best,
            "joined": joined.name if joined else None,
            "ap": {name: round(value, 4) for name, value in quality.items()},
            "edits": {name: round(value, 3) for name, value in edits.items()},
        }
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
        if number == given.rounds:
            break
        newest, earns = learn(given, out, number, demo)
        joined = newest if earns else None
    (out / "loop.json").write_text(json.dumps(rows, indent=1))
    if given.plot:
        given.plot.write_text(picture(rows))


def learn(
    given: argparse.Namespace, out: Path, number: int, demo: EnsembleSpec
) -> tuple[Detector, bool]:
    """Train on all that was corrected so far; the detector, and whether it earns a vote."""
    folder = out / f"data/{number}"
    united(
        out,
        [f"round-{i}" for i in range(1, number + 1)],
        folder / "annotations/instances_train.json",
    )
    united(out, ["held-out"], folder / "annotations/instances_test.json")
    learnt = round(0.9 * number * given.pictures)
    training = Training(
        name="loop",
        data=str(folder),
        images=str(out / "images"),
        split={"validation": 0.1, "test": "test"},
        trainers=[
            {
                "name": "learnt",
                "kind": "container",
                "command": [given.python, str(HERE / "finetune.py")],
                "checkpoint": str(HERE / "models/yolo.onnx"),
                "batch_size": 8,
                "epochs": max(1, round(given.steps / -(-learnt // 32))),
            }
        ],
        compare={"ensemble": str(out / "ensemble.yaml")},
    )
    judged = train(training, TrainingWork(out / f"training/{number}")).judged
    gain = judged.raises("learnt")
    print(f"round {number}: adding it changes the AP by {gain}", file=sys.stderr, flush=True)
    newest = judged.detectors["learnt"]
    weights = str(Path(getattr(newest, "weights")).absolute())  # noqa: B009 - of kind onnx
    return newest.model_copy(update={"weights": weights}), "learnt" in judged.joins


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """Edits a picture by round, a line for each loop."""
    x = np.array([row["round"] for row in rows], np.float64)
    lines = [
        Line(name, x, np.array([row[name] for row in rows], np.float64), place)
        for place, name in enumerate(LOOPS)
    ]
    chart = line_chart(lines, title="Effort", across="round", up="edits a picture")
    return chart_file([("What a labeller does to a picture, by round", chart)], lines)


if __name__ == "__main__":
    main()
