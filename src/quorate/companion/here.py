"""Ensembles that run on this machine, one run after the other."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from quorate.companion.forms import REPLACE, TRACKS, Field, Template
from quorate.companion.store import NAME, Step
from quorate.companion.work import YES, Work, result
from quorate.cvat.publishing.journal import run_name
from quorate.cvat.run import annotate
from quorate.ensemble import DetectionEnsemble
from quorate.errors import SpecError
from quorate.spec.fusion import METHODS, with_method
from quorate.steps.review import Rule

AS_WRITTEN = "as the spec says"


class Here:
    """See `Runner`. A run's files are below `folder` until it ends well; a repeat goes on there."""

    at_once = 1
    survives = False

    def __init__(self, specs: Sequence[str], folder: Path) -> None:
        self._ensembles: dict[str, DetectionEnsemble] = {}
        self._folder = folder
        for spec in specs:
            ensemble = DetectionEnsemble.from_yaml(spec)
            if ensemble.name in self._ensembles:
                raise SpecError(f"Two specs have the name '{ensemble.name}'.")
            self._ensembles[ensemble.name] = ensemble
        self._templates = [_template(one) for one in self._ensembles.values()]

    def templates(self) -> list[Template]:
        """One for each spec."""
        return self._templates

    def carry_out(self, work: Work) -> None:
        """Download the pictures, run, publish."""
        run, values = work.run, work.run.values
        ensemble = _as_asked(self._ensembles[run.template], values)
        if (name := run.facts.get("planned")) is None:
            name = run_name(ensemble.name)
            work.reached("planned", name)
        later = [Step(part) for part in ("prepare", "detect", "publish")]
        work.show([Step("download", "working"), *later])

        def progress(task: str, done: int, total: int) -> None:
            if task == "publish" and NAME not in run.facts:
                work.reached(NAME, name)
            work.progress(task, done, total)

        folder = self._folder / f"task-{run.task}" / run.template
        work.say(f"{run.title} on {run.target}, for {run.who}.")
        (done,) = annotate(
            run.target,
            ensemble,
            name=name,
            client=work.client,
            out=folder,
            frames=values.get("frames") or None,
            replace=values.get("replace") == YES,
            review=Rule.parse(asked) if (asked := values.get("review")) else None,
            tracks=values.get("tracks") == YES,
            add_labels=values.get("add-labels") == YES,
            progress=progress,
        )
        for note in (*done.published.notes, *done.summary.notes):
            work.say(note)
        boxes = ", ".join(f"{one.name} {one.boxes:,}" for one in done.summary.detectors)
        work.say(f"Boxes: {boxes}; the quorum {done.summary.ensemble.boxes:,}.")
        failed = [
            f"{one.name} failed: {one.failed}" for one in done.summary.detectors if one.failed
        ]
        run.result = result(done.published, extra=failed)
        shutil.rmtree(folder, ignore_errors=True)

    def check(self, template: Template, values: Mapping[str, str]) -> None:
        """Nothing: what a form says is checked, and the labels are when the run begins."""


def _as_asked(ensemble: DetectionEnsemble, values: dict[str, str]) -> DetectionEnsemble:
    change: dict[str, object] = {}
    if (method := values.get("method", AS_WRITTEN)) != AS_WRITTEN:
        change["fusion"], _ = with_method(ensemble.fusion, method)
    if least := values.get("min-score"):
        change["publish"] = ensemble.publish.model_copy(update={"min_score": float(least)})
    return ensemble.model_copy(update=change)


def _template(ensemble: DetectionEnsemble) -> Template:
    methods = [AS_WRITTEN]
    for name in METHODS:
        try:
            with_method(ensemble.fusion, name)
        except SpecError:  # it has a setting that the spec does not give
            continue
        methods.append(name)
    names = ", ".join(detector.name for detector in ensemble.detectors)
    rule = Rule.of(ensemble)
    review = f"at most {rule.share:.0%} of them" if rule else "none"
    finds = f" Finds {', '.join(ensemble.labels)}." if ensemble.labels else ""
    return Template(
        name=ensemble.name,
        title=ensemble.name,
        description=f"{names}; {ensemble.needed} of {len(ensemble.detectors)} must finish.{finds}",
        runner="here",
        fields=(
            Field(
                "frames",
                "Frames",
                "Such as 0-99,150, as CVAT numbers them. Empty: all.",
                pattern=(r"\d{1,9}(-\d{1,9})?(, ?\d{1,9}(-\d{1,9})?)*", "as in 0-99,150"),
            ),
            REPLACE,
            Field(
                "method",
                "Which boxes count",
                f"The spec says {ensemble.fusion.method}. affirmative: those of any detector; "
                "consensus: of more than half; unanimous: of all.",
                widget="select",
                value=AS_WRITTEN,
                options=tuple(methods),
            ),
            Field(
                "min-score",
                "Lowest score",
                f"Boxes below it are left out, 0 to 1. Empty: {ensemble.publish.min_score:g}.",
                widget="number",
                least=0,
                most=1,
            ),
            Field(
                "review",
                "Frames to look at first",
                "They get an issue. 20: the 20 on which the detectors disagree most; 0.3: those "
                f"whose disagreement is .3 or more. Empty: {review}.",
                pattern=(r"\d{1,9}|0?\.\d{0,8}[1-9]\d{0,8}", "a number such as 20 or 0.3"),
            ),
            TRACKS,
            Field(
                "add-labels",
                "Add labels that the task lacks",
                "And the attributes votes, confidence and run. Needs the right to change the task.",
                widget="checkbox",
            ),
        ),
    )
