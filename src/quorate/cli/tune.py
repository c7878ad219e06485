"""quorate calibrate, tune: learn from labelled pictures, and write the spec that results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import count, method
from quorate.cli.output import aside, note, notes, print_json, print_table, progress_bars

if TYPE_CHECKING:
    from quorate.ensemble import DetectionEnsemble
    from quorate.tuning import CalibrationResult, Labelled, Tuned
    from quorate.tuning.split import Folds


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    calibrate = commands.add_parser(
        "calibrate",
        description="Fit, for every detector, a map from its score to the probability that a box "
        "is right. Figures are of pictures that the map was not fitted on.",
    )
    tune = commands.add_parser(
        "tune",
        description="Search fusion settings on labelled pictures. Detectors run once; the gain is "
        "measured on pictures that the search has not seen.",
    )
    for command in (calibrate, tune):
        add = command.add_argument
        add("spec", help="spec file (YAML)")
        add("-o", "--out", help="spec file to write, - for standard output (default: print figures "
            "only)")  # fmt: skip
        add("--fit", help="labelled pictures, instead of the spec's own `data`")
        add("--truth", help="data set with their truth (default: their own)")
        add("--report", help="other labelled pictures, for the figures (default: cross-validation)")
        add("--folds", type=int, default=5, help="parts of the pictures, each held out once "
            "(default: 5)")  # fmt: skip
        add("--together", choices=("picture", "folder"), default="picture",
            help="what is kept whole in one part (default: picture)")  # fmt: skip
        add("--work", default="out/work", help="the work folder of `quorate run` (default: "
            "out/work)")  # fmt: skip
        add("--workers", type=count, help="threads (default: one per processor)")
        add("--json", action="store_true", help="print JSON instead of a table")
    add = calibrate.add_argument
    add("--method", action="append", dest="methods", metavar="METHOD", help="temperature, beta or "
        "isotonic; may be repeated (default: the best of all)")  # fmt: skip
    add("--per-label", action="store_true", help="a map for each label that has enough boxes")
    calibrate.set_defaults(command=_calibrate)
    add = tune.add_argument
    add("--objective", choices=("ap", "ap50", "f1"), default="ap",
        help="the measure to maximise (default: ap)")  # fmt: skip
    add("--method", action="append", type=method, dest="methods", metavar="METHOD",
        help="voting, wbf, nms, soft_nms, nmw or a method of voting; may be repeated (default: "
        "all)")  # fmt: skip
    add("--settings", type=count, default=2000, help="about how many are measured (default: 2000)")
    add("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    tune.set_defaults(command=_tune)


def _samples(
    arguments: argparse.Namespace, ensemble: DetectionEnsemble, progress: Any
) -> tuple[Labelled, Folds, Labelled | None]:
    """The pictures to fit on, their folds, and those to report on."""
    from dataclasses import replace
    from pathlib import Path

    import numpy as np

    from quorate.formats import read
    from quorate.steps import Work
    from quorate.tuning import folds, labelled, refuse_overlap

    work = Path(arguments.work)
    notes: list[str] = []
    if arguments.report is not None:  # before any detector is at work
        data = arguments.fit or ensemble.data or arguments.truth
        if data is not None:
            notes = refuse_overlap(read(data), read(arguments.report))

    def sampled(data: str | None, folder: str, truth: str | None) -> Labelled:
        own = data is None
        return labelled(
            ensemble if own else ensemble.model_copy(update={"data": data}),
            Work(work if own else work / folder),
            truth=truth,
            workers=arguments.workers,
            progress=progress,
        )

    sample, report = sampled(arguments.fit, "fit", arguments.truth), None
    images = sample.dataset.images
    if arguments.report is not None:
        report = sampled(arguments.report, "report", None)
        report = replace(report, notes=(*report.notes, *notes))
        if len(images) < 2 * arguments.folds:
            return sample, np.zeros(len(images), dtype=np.int64), report
    return sample, folds(images, arguments.folds, arguments.together), report


def _write(
    arguments: argparse.Namespace,
    ensemble: DetectionEnsemble,
    result: CalibrationResult | Tuned,
    edit: Callable[[str], str],
) -> None:
    """Write the spec with the result applied, where `--out` asks for it."""
    from pathlib import Path

    from quorate.tuning.writing import spec_text, write_spec

    source = Path(arguments.spec)
    if arguments.out == "-":  # as it would stand beside the spec
        print(spec_text(result.applied(ensemble), source, source, edit), end="")
    elif arguments.out:
        write_spec(result.applied(ensemble), source, Path(arguments.out), edit)
        note(f"wrote: {arguments.out}")


def _calibrate(arguments: argparse.Namespace) -> None:
    from quorate.ensemble import DetectionEnsemble
    from quorate.tuning import calibrate
    from quorate.tuning.maps import METHODS, written_map
    from quorate.tuning.writing import with_calibrations

    ensemble = DetectionEnsemble.from_yaml(arguments.spec)
    with progress_bars() as progress:
        sample, fold, report = _samples(arguments, ensemble, progress)
        result = calibrate(
            sample,
            fold,
            report=report,
            methods=arguments.methods or METHODS,
            per_label=arguments.per_label,
        )
    with aside(arguments.out):
        if arguments.json:
            detectors = [one.to_dict() for one in result.detectors]
            told = {"held_out": result.held_out, "detectors": detectors}
            print_json(told | {"notes": list(result.notes)})
        else:
            _print_calibrations(result)
    notes(result.notes)
    written = {
        one.name: None if one.calibration is None else written_map(one.calibration)
        for one in result.detectors
        if not one.note
    }
    _write(arguments, ensemble, result, lambda text: with_calibrations(text, written))


def _print_calibrations(result: CalibrationResult) -> None:
    rows = [
        {
            "detector": one.name,
            "method": one.method,
            "boxes": one.before.boxes,
            "ECE before": one.before.ece,
            "ECE after": one.after.ece,
            "loss before": one.loss_before,
            "loss after": one.loss_after,
        }
        for one in result.detectors
    ]
    print_table(rows, title=f"Calibration, held out: {result.held_out}")
    for one in result.detectors:
        if one.note:
            note(f"note: {one.name}: {one.note}")


def _tune(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.ensemble import DetectionEnsemble
    from quorate.tuning.space import METHODS, written_fusion
    from quorate.tuning.tune import tune
    from quorate.tuning.writing import with_fusion

    ensemble = DetectionEnsemble.from_yaml(arguments.spec)
    with progress_bars() as progress:
        sample, fold, report = _samples(arguments, ensemble, progress)
        result = tune(
            ensemble,
            sample,
            fold,
            report=report,
            objective=arguments.objective,
            methods=arguments.methods or METHODS,
            settings=arguments.settings,
            seed=arguments.seed,
            memory=Path(arguments.work) / "tuning",
            workers=arguments.workers,
            progress=progress,
        )
    with aside(arguments.out):
        if arguments.json:
            print_json(result.to_dict())
        else:
            _print_tuned(result)
    notes(result.notes)
    if not result.better:
        note("The spec's own fusion did as well or better where it was held out, so it stays.")
    elif result.over_given.low is not None and result.over_given.low <= 0:
        note("The gain may be chance: its interval holds 0. More labelled pictures would tell.")

    def edit(text: str) -> str:
        fusion = written_fusion(result.fusion)
        return with_fusion(text, fusion, result.sentence()) if result.better else text

    _write(arguments, ensemble, result, edit)


def _print_tuned(result: Tuned) -> None:
    import yaml

    from quorate.tuning.space import written_fusion

    own, measure = result.over_given, result.objective
    rows: list[dict[str, Any]] = [
        {"": "tuned", measure: result.tuned, "gain": None, "low": None, "high": None}
    ]
    for name, value, gain in (
        (f"the spec as it was ({result.given_fusion.method})", result.given, own),
        (f"best single detector ({result.single})", result.alone, result.over_alone),
    ):
        interval = {"gain": f"{gain.value:+.3f}", "low": gain.low, "high": gain.high}
        rows.append({"": name, measure: value} | interval)
    print_table(rows, title=f"Held out: {result.held_out}")
    if result.spread is not None:
        note(f"gain over the spec, fold by fold: {own.value:+.3f} ± {result.spread:.3f}")
    if result.settings and result.seconds:
        rate = 60 * result.settings / result.seconds
        note(f"{result.settings:,} settings in {result.seconds:.1f} s ({rate:,.0f} a minute)")
    else:
        note("every setting has been measured by an earlier search")
    plain = written_fusion(result.fusion)
    found = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    note(f"found: {found.strip()}")
