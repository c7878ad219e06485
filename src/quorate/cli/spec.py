"""quorate check, schema, detectors: about the spec, without running it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.output import note, notes, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quorate.labels import Labels
    from quorate.spec import Detector, EnsembleSpec


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    check = commands.add_parser("check")
    check.add_argument("spec", help="spec file (YAML)")
    how = check.add_mutually_exclusive_group()
    how.add_argument("--no-load", action="store_true", help="do not read the weights")
    how.add_argument(
        "--try",
        dest="pictures",
        action="append",
        metavar="PICTURE",
        help="show it to each detector, say what it finds, and what it would find if its input "
        "were scaled, coloured or resized in another way; may be given again",
    )
    how.add_argument(
        "--conformance",
        action="store_true",
        help="show each detector pictures, and say which of its duties it breaks",
    )
    check.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="how far boxes may differ between calls (default: 0; a GPU may need 0.001)",
    )
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    check.set_defaults(command=_check)
    commands.add_parser("schema").set_defaults(command=_schema)
    kinds = commands.add_parser("detectors")
    kinds.add_argument("--json", action="store_true", help="print JSON instead of a table")
    kinds.set_defaults(command=_detectors)


def _check(arguments: argparse.Namespace) -> None:
    from quorate.ensemble import DetectionEnsemble
    from quorate.labels import Labels, map_labels

    ensemble = DetectionEnsemble.from_yaml(arguments.spec)
    if arguments.conformance or arguments.pictures:
        from quorate.cli import shown

        if arguments.pictures:
            shown.print_tries(ensemble, arguments.pictures, as_json=arguments.json)
        else:
            tolerance = arguments.tolerance
            shown.print_conformance(ensemble, tolerance=tolerance, as_json=arguments.json)
        return
    vocabulary = None if arguments.no_load else _vocabulary(ensemble)
    detectors = ensemble.detectors
    known = [((), {})] * len(detectors) if arguments.no_load else _known(detectors)
    found = [(one, words) for one, (words, _) in zip(detectors, known, strict=True)]
    if vocabulary is not None and not len(vocabulary):  # pictures alone: as a run has it
        used = [detector.labels.get(word, word) for detector, words in found for word in words]
        vocabulary = Labels.from_names(dict.fromkeys(used))
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    for detector, words in found:
        rows.append({"detector": detector.name, "kind": detector.kind, "labels": ", ".join(words)})
        if words and vocabulary:
            mapping = map_labels(words, vocabulary, detector.labels, detector=detector.name)
            remarks += mapping.report(detector.name)
    told = {row["detector"]: about for row, (_, about) in zip(rows, known, strict=True) if about}
    if arguments.json:
        print_json([row | {"about": told.get(row["detector"], {})} for row in rows])
    else:
        title = f"{ensemble.name}: {ensemble.fusion.method}, quorum {ensemble.needed}"
        print_table(rows, title=title)
        for name, about in told.items():
            print(f"{name} was taken for")
            for word, said in about.items():
                print(f"  {word:<8} {said}")
    notes(remarks)


def _vocabulary(ensemble: EnsembleSpec) -> Labels | None:
    """The labels of the spec, else of its data set where that is here; None where it is not.

    Names that cannot be published are refused. What is in S3 is left to `prepare`: it may be
    long to list.
    """
    import os

    from quorate.formats import read
    from quorate.labels import Labels
    from quorate.steps.prepare import check_publishable

    labels = Labels.from_names(ensemble.labels) if ensemble.labels else None
    if ensemble.data is None or not os.path.exists(ensemble.data):
        return labels
    dataset = read(ensemble.data)
    labels = labels or dataset.labels
    for remark in check_publishable(ensemble, dataset.images, labels):
        note(f"note: {remark}")
    return labels


def _known(detectors: Sequence[Detector]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """The labels of each, and what it was taken for; they are loaded, or looked for."""
    from quorate.detectors.container import ContainerDetector
    from quorate.steps import Runner
    from quorate.steps.voter import load_all

    loaded = load_all(d for d in detectors if not isinstance(d, ContainerDetector))
    return [
        (tuple(Runner.of(one).detector.words.values()), {})
        if isinstance(one, ContainerDetector)
        else (tuple(loaded[one.name].labels), dict(getattr(loaded[one.name], "told", {})))
        for one in detectors
    ]


def _schema(arguments: argparse.Namespace) -> None:
    import json

    from quorate.spec import json_schema

    print(json.dumps(json_schema(), indent=2))


def _detectors(arguments: argparse.Namespace) -> None:
    from quorate.spec.detector import detector_kinds

    rows = [
        {
            "kind": name,
            "from": f"{point.dist.name} {point.dist.version}" if point.dist else "",
            "what": (point.load().__doc__ or "").splitlines()[0],
        }
        for name, point in sorted(detector_kinds().items())
    ]
    print_table(rows, title="Kinds of detector", as_json=arguments.json)
