"""The model card of a trained detector: what it is, of which data, how good, under which licence.

The form is that of Hugging Face's model cards (a README.md with YAML on top), the questions those
of Mitchell et al., 'Model Cards for Model Reporting', 2019.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

import yaml

from quorate.report.markup import figure
from quorate.spec.training import Training
from quorate.training.contract import events, versions_of
from quorate.training.judging import Judged
from quorate.training.work import Prepared, TrainingWork

# https://huggingface.co/docs/hub/repositories-licenses; any other word is refused there.
LICENCES = re.compile(
    r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|cc-by-2\.5|(a|l)?gpl(-[23]\.[01])?"
    r"|bsd(-[23]-clause(-clear)?)?|mpl-2\.0|eupl-1\.[12]|epl-[12]\.0|ecl-2\.0|afl-3\.0|osl-3\.0"
    r"|artistic-2\.0|bsl-1\.0|isc|ncsa|zlib|unlicense|wtfpl|pddl|odc-by|odbl|ms-pl|ofl-1\.1"
    r"|postgresql|openrail(\+\+)?|cdla-(sharing|permissive)-[12]\.0|unknown|other"
)
"""The licences that Hugging Face knows by these names, in lower case."""


def card(
    name: str, training: Training, judged: Judged, prepared: Prepared, out: TrainingWork
) -> str:
    """The card of one trainer's detector, Markdown."""
    own = out.trainer(name).out
    trainer = training.member(name)
    result = judged.alone[name]
    metrics = result.metrics
    head = {
        "pipeline_tag": "object-detection",
        **_licence(training.licence),
        "library_name": "quorate",
        **_index(f"{training.name}-{name}", training.name, metrics.ap, metrics.ap50),
    }
    detector = judged.detectors[name]
    said = events(own)
    held = f"{metrics.images:,} pictures held out ({judged.part})"
    sure = ""
    if (ap := result.ap) is not None and ap.low is not None and ap.high is not None:
        sure = (
            f" ({ap.low:.3f} to {ap.high:.3f} in {judged.alone.confidence:.0%} of "
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
        "## What it is for",
        f"Boxes of {'these labels' if len(prepared.labels) > 1 else 'this label'} in pictures like "
        "those that it learnt from, to be looked at by a person or voted on by an ensemble. How "
        "good it is elsewhere was not measured, nor from which score on a box may be trusted: "
        "`quorate tune` finds that on labelled pictures.",
        "",
        "## How good",
        f"AP {figure(metrics.ap)}{sure}, AP50 {figure(metrics.ap50)} on {held}.",
        "",
        "| label | AP | AP50 | objects |",
        "|---|---|---|---|",
        *(
            f"| {_cell(one.label)} | {figure(one.ap)} | {figure(one.ap50)} | {one.objects:,} |"
            for one in metrics.categories
        ),
        "",
    ]
    if (gain := judged.raises(name)) is not None:
        moves = "raises" if gain.value > 0 else "lowers"
        verdict = moves if gain.certain else "does not surely raise"
        lines += [f"In the ensemble it {verdict} the AP: {gain.value:+.3f}.", ""]
    lines += [
        "## Of which data",
        "| part | pictures | boxes |",
        "|---|---|---|",
        *(f"| {n} | {p.images:,} | {sum(p.boxes):,} |" for n, p in prepared.parts.items()),
        "",
        *(f"- {note}" for note in prepared.notes),
        "",
        "## How it learnt",
        f"- trainer: `{trainer.kind}`, begun "
        + (f"from `{_shown(trainer.checkpoint)}`" if trainer.checkpoint else "from scratch"),
        *(
            f"- {key}: {_plain(given)}"
            for key, value in trainer.settings.items()
            if key not in ("name", "kind", "checkpoint") and (given := _said(value)) is not None
        ),
    ]
    if said:
        losses = [event.loss for event in said if event.loss is not None]
        last = f"{losses[-1]:.3f}" if losses else "–"
        lines.append(f"- steps: {said[-1].step:,}, the last loss {last}")
    lines += [f"- {note}" for note in dict.fromkeys(event.note for event in said) if note]
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


def _cell(label: str) -> str:
    return label.replace("|", "\\|").replace("\n", " ")


def _licence(licence: str) -> dict[str, str]:
    """What the head says of a licence: the name by which Hugging Face knows it, or another."""
    if not licence:
        return {}
    if LICENCES.fullmatch(known := licence.lower()):
        return {"license": known}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", known).strip("-")}


def _index(name: str, data: str, ap: float | None, ap50: float | None) -> dict[str, Any]:
    """The metrics as the head has them; nothing where there is none."""
    metrics = [
        {"type": kind, "value": round(value, 4)}
        for kind, value in (("mAP", ap), ("mAP@50", ap50))
        if value is not None
    ]
    result = {
        "task": {"type": "object-detection"},
        "dataset": {"name": data, "type": data},
        "metrics": metrics,
    }
    return {"model-index": [{"name": name, "results": [result]}]} if metrics else {}


def _shown(checkpoint: str) -> str:
    """A checkpoint's address, or its name: where it lay on one machine tells nobody anything."""
    return checkpoint if "://" in checkpoint else PurePath(checkpoint).name


def _said(value: Any) -> Any:
    """A setting without what was left open; None where nothing is left of it."""
    if isinstance(value, dict):
        return {key: one for key, item in value.items() if (one := _said(item)) is not None} or None
    return None if value in ([], (), "") else value


def _plain(value: Any) -> str:
    """A setting in one line, as a spec has it."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()
