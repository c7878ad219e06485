"""The model card of a trained detector: what it is, of which data, how good, under which licence.

The form is that of Hugging Face's model cards (a README.md with YAML on top), the questions those
of Mitchell et al., 'Model Cards for Model Reporting', 2019.
"""

from __future__ import annotations

import yaml

from quorate.spec.training import Training
from quorate.training.contract import events, versions_of
from quorate.training.judging import Judged
from quorate.training.work import Part, Prepared, TrainingWork


def card(
    name: str, training: Training, judged: Judged, prepared: Prepared, out: TrainingWork
) -> str:
    """The card of one trainer's detector, Markdown."""
    own = out.trainer(name).out
    trainer = next(one for one in training.trainers if one.name == name)
    result = judged.alone[name]
    metrics = result.metrics
    head = {
        "pipeline_tag": "object-detection",
        **({"license": training.licence} if training.licence else {}),
        "library_name": "quorate",
        "model-index": [
            {
                "name": f"{training.name}-{name}",
                "results": [
                    {
                        "task": {"type": "object-detection"},
                        "dataset": {"name": training.name, "type": training.name},
                        "metrics": [
                            {"type": "mAP", "value": _rounded(metrics.ap)},
                            {"type": "mAP@50", "value": _rounded(metrics.ap50)},
                        ],
                    }
                ],
            }
        ],
    }
    detector = judged.detectors[name]
    said = events(own)
    rows = [
        (category.label, category.ap, category.ap50, category.objects)
        for category in metrics.categories
    ]
    settings = trainer.settings
    parts: list[tuple[str, Part | None]] = [
        ("to learn from", prepared.train),
        ("validation", prepared.validation),
        ("test", prepared.test),
    ]
    held = f"{metrics.images:,} pictures held out ({judged.part})"
    interval = result.ap
    sure = (
        ""
        if interval is None or interval.low is None or interval.high is None
        else f" ({interval.low:.3f} to {interval.high:.3f} in {judged.alone.confidence:.0%} of "
        f"{judged.alone.samples:,} bootstrap draws over pictures)"
    )
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {training.name}: {name}",
        "",
        f"A detector of {len(prepared.labels)} labels: {', '.join(prepared.labels)}.",
        f"It is read as `kind: {detector.kind}`; `detector.json` is its entry under `detectors:`.",
        "",
        "## How good",
        f"AP {_figure(metrics.ap)}{sure}, AP50 {_figure(metrics.ap50)} on {held}.",
        "",
        "| label | AP | AP50 | objects |",
        "|---|---|---|---|",
        *(f"| {_cell(n)} | {_figure(ap)} | {_figure(ap50)} | {o:,} |" for n, ap, ap50, o in rows),
        "",
    ]
    if (gain := judged.raises(name)) is not None:
        verdict = "raises" if gain.certain and gain.value > 0 else "does not surely raise"
        lines += [f"In the ensemble it {verdict} the AP: {gain.value:+.3f}.", ""]
    lines += [
        "## Of which data",
        "| part | pictures | boxes |",
        "|---|---|---|",
        *(f"| {n} | {p.images:,} | {sum(p.boxes):,} |" for n, p in parts if p is not None),
        "",
        *(f"- {note}" for note in prepared.notes),
        "",
        "## How it learnt",
        f"- trainer: `{trainer.kind}`, begun "
        + (f"from `{trainer.checkpoint}`" if trainer.checkpoint else "from scratch"),
        *(
            f"- {key}: {value}"
            for key, value in settings.items()
            if key not in ("name", "kind", "checkpoint") and value not in (None, {}, [], ())
        ),
    ]
    if said:
        lines.append(f"- steps: {said[-1].step:,}, the last loss {_figure(_last_loss(out, name))}")
    lines += [
        "",
        "## Versions",
        *(f"- {package} {version}" for package, version in sorted(versions_of(own).items())),
        "",
        "## Licence",
        training.licence
        or "Not stated. The pictures, the labels and the weights it began from may restrict it; "
        "say it with `licence:` in the training.",
        "",
    ]
    return "\n".join(lines)


def _last_loss(out: TrainingWork, name: str) -> float | None:
    losses = [event.loss for event in events(out.trainer(name).out) if event.loss is not None]
    return losses[-1] if losses else None


def _cell(label: str) -> str:
    return label.replace("|", "\\|").replace("\n", " ")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
