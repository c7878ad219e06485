"""What is written when a training is judged: results, curves, the worst pictures, page, cards."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from typing import Any

from quorate.evaluation.compare import Comparison, Interval
from quorate.formats.whole_pictures import csv_line
from quorate.spec import EnsembleSpec
from quorate.spec.training import Training
from quorate.storage import write_bytes
from quorate.training.card import card
from quorate.training.contract import events, files_named, versions_of
from quorate.training.curves import charts, write_curves
from quorate.training.data import prepared
from quorate.training.judging import Judged, ensemble_of
from quorate.training.page import page
from quorate.training.work import TrainingWork
from quorate.training.worst import worst

RESULTS, PAGE, TABLE = "results.json", "report.html", "categories.csv"
ENSEMBLE_FILE = "ensemble.yaml"


def tell(training: Training, work: TrainingWork, judged: Judged) -> list[str]:
    """Write all of it into the work folder; the names of the files, the page last.

    results.json            the figures, as `results` has them
    categories.csv          AP of each label and detector
    curves.csv, curves.svg  what the trainers told while they learnt
    tensorboard/NAME/       the same, as TensorBoard reads it
    worst/NAME/001.jpg …    truth beside prediction, the worst picture first
    trainers/NAME/out/README.md   the model card
    ensemble.yaml           the ensemble with those that join it, where there are any
    report.html             a page of it all
    """
    there = prepared(work)
    assert there is not None  # what was judged was prepared
    values = results(training, judged)
    write_bytes(work.root / RESULTS, json.dumps(values, indent=1, ensure_ascii=False).encode())
    write_bytes(work.root / TABLE, _categories(judged.alone))
    written = [RESULTS, TABLE]
    curves = {
        trainer.name: events(work.trainer(trainer.name).out)
        for trainer in training.trainers
        if (work.trainer(trainer.name).out / "progress.jsonl").exists()
    }
    written += write_curves(curves, work.root)
    shutil.rmtree(work.root / "worst", ignore_errors=True)
    shown = {name: worst(judged, name, training.compare.worst) for name in judged.detectors}
    for name, pictures in shown.items():
        for number, one in enumerate(pictures, start=1):
            written.append(f"worst/{name}/{number:03d}.jpg")
            write_bytes(work.root / written[-1], one.jpeg)
    for name in judged.detectors:
        written.append(f"trainers/{name}/out/README.md")
        text = card(name, training, judged, there, work)
        write_bytes(work.root / written[-1], text.encode())
    (work.root / ENSEMBLE_FILE).unlink(missing_ok=True)
    if (joined := with_newcomers(training, judged)) is not None:
        written.append(ENSEMBLE_FILE)
        write_bytes(work.root / ENSEMBLE_FILE, joined.to_yaml().encode())
    versions = {name: versions_of(work.trainer(name).out) for name in judged.detectors}
    best = shown[judged.best]
    told = page(judged, there, training, charts=charts(curves), worst=best, versions=versions)
    write_bytes(work.root / PAGE, told.encode())
    return [*written, PAGE]


def with_newcomers(training: Training, judged: Judged) -> EnsembleSpec | None:
    """The ensemble with the detectors that join it (`Judged.joins`); None where none does."""
    spec = ensemble_of(training)
    if spec is None or not judged.joins:
        return None
    newcomers = []
    for name in judged.joins:
        one = judged.detectors[name]
        named = files_named(dict(one))
        update = {key: os.path.abspath(path) for key, path in named.items()}
        newcomers.append(one.model_copy(update=update))
    return spec.model_copy(update={"detectors": (*spec.detectors, *newcomers)})


def results(training: Training, judged: Judged) -> dict[str, Any]:
    """Plain values for JSON; APs are 0..1."""
    alone = judged.alone
    trainers = []
    for one in judged.outcomes:
        row: dict[str, Any] = {"name": one.name, "seconds": one.seconds}
        if one.failed is not None:
            row |= {"failed": one.failed.reason}
        else:
            result = alone[one.name]
            gain = judged.raises(one.name)
            row |= {
                **result.metrics.statistics(),
                "ap_interval": _interval(result.ap),
                "difference_to_best": _interval(result.ap_difference),
                "raises_ensemble": _interval(gain),
                "earns_a_vote": one.name in judged.joins if gain is not None else None,
                "categories": [asdict(category) for category in result.metrics.categories],
            }
        trainers.append(row)
    return {
        "name": training.name,
        "part": judged.part,
        "pictures": len(judged.dataset.images),
        "best": judged.best,
        "trainers": trainers,
        "ensemble": judged.rounds[0].to_dict() if judged.rounds else None,
        "further": [one.to_dict() for one in judged.rounds[1:]],
        "joins": list(judged.joins),
        "samples": alone.samples,
        "confidence": alone.confidence,
        "notes": list(judged.notes),
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _categories(comparison: Comparison) -> bytes:
    rows: list[list[object]] = [["label", "detector", "AP", "AP50", "objects", "boxes"]]
    rows += [
        [one.label, result.name, one.ap, one.ap50, one.objects, one.boxes]
        for result in comparison.results
        for one in result.metrics.categories
    ]
    return b"".join(map(csv_line, rows))
