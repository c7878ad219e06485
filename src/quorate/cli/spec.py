"""quorate check, schema, detectors, classifiers: about the spec, without running it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from quorate.cli.output import note, notes, print_json, print_table
from quorate.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quorate.labels import Labels
    from quorate.spec import Ensemble
    from quorate.spec.member import Member


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
    schema = commands.add_parser("schema")
    schema.add_argument(
        "--kind",
        choices=("DetectionEnsemble", "ClassificationEnsemble", "Training"),
        default="DetectionEnsemble",
        help="of which kind of spec (default: DetectionEnsemble)",
    )
    schema.set_defaults(command=_schema)
    for name in ("detectors", "classifiers"):
        kinds = commands.add_parser(name)
        kinds.add_argument("--json", action="store_true", help="print JSON instead of a table")
        kinds.set_defaults(command=_kinds, members=name)


def _check(arguments: argparse.Namespace) -> None:
    from quorate.ensemble import ClassificationEnsemble, read_ensemble
    from quorate.labels import Labels, map_labels

    ensemble = read_ensemble(arguments.spec)
    if arguments.conformance or arguments.pictures:
        from quorate.cli import shown

        if isinstance(ensemble, ClassificationEnsemble):
            if arguments.conformance:
                raise SpecError("--conformance looks at boxes; classifiers have none.")
            shown.print_labels(ensemble, arguments.pictures, as_json=arguments.json)
        elif arguments.pictures:
            shown.print_tries(ensemble, arguments.pictures, as_json=arguments.json)
        else:
            tolerance = arguments.tolerance
            shown.print_conformance(ensemble, tolerance=tolerance, as_json=arguments.json)
        return
    vocabulary = None if arguments.no_load else _vocabulary(ensemble)
    members: Sequence[Member] = ensemble.members
    known = [_Known()] * len(members) if arguments.no_load else _known(members)
    found = [(member, one.words) for member, one in zip(members, known, strict=True)]
    if vocabulary is not None and not len(vocabulary):  # pictures alone: as a run has it
        used = [member.labels.get(word, word) for member, words in found for word in words]
        vocabulary = Labels.from_names(dict.fromkeys(used))
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    noun = ensemble.noun
    for member, words in found:
        rows.append({noun: member.name, "kind": member.kind, "labels": _listed(words)})
        if words and vocabulary:
            given = member.labels
            name, what = member.name, noun.capitalize()
            mapping = map_labels(words, vocabulary, given, detector=name, noun=what)
            if noun == "classifier":
                remarks += mapping.report(name, lost="what it gives to", are="is")
            else:
                remarks += mapping.report(name)
    remarks += [note for one in known for note in one.notes]
    told = {row[noun]: one.about for row, one in zip(rows, known, strict=True) if one.about}
    if arguments.json:
        print_json([row | {"about": told.get(row[noun], {})} for row in rows])
    else:
        title = f"{ensemble.name}: {ensemble.rule.method}, quorum {ensemble.needed}"
        print_table(rows, title=title)
        for name, about in told.items():
            print(f"{name} was taken for")
            for word, said in about.items():
                print(f"  {word:<8} {said}")
    notes(remarks)


MOST_WORDS = 40
"""Labels of one member that a table lists."""


def _listed(words: Sequence[str]) -> str:
    more = len(words) - MOST_WORDS
    return ", ".join(words[:MOST_WORDS]) + (f" and {more:,} more" if more > 0 else "")


def _vocabulary(ensemble: Ensemble) -> Labels | None:
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


class _Known(NamedTuple):
    """What is known of a member: its labels, what it was taken for, and what there is to say."""

    words: tuple[str, ...] = ()
    about: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


def _known(members: Sequence[Member]) -> list[_Known]:
    """What is known of each; they are loaded, or looked for."""
    from quorate.detectors.container import ContainerDetector
    from quorate.steps import Runner
    from quorate.steps.voter import load_all

    loaded = load_all(one for one in members if not isinstance(one, ContainerDetector))
    found = []
    for one in members:
        if isinstance(one, ContainerDetector):
            found.append(_Known(tuple(Runner.of(one).detector.words.values())))
        else:
            ready = loaded[one.name]
            about, notes = getattr(ready, "told", {}), getattr(ready, "notes", ())
            found.append(_Known(tuple(ready.labels), dict(about), tuple(notes)))
    return found


def _schema(arguments: argparse.Namespace) -> None:
    import json

    from quorate.spec import class_json_schema, json_schema
    from quorate.spec.training import training_json_schema

    made = {
        "DetectionEnsemble": json_schema,
        "ClassificationEnsemble": class_json_schema,
        "Training": training_json_schema,
    }
    print(json.dumps(made[arguments.kind](), indent=2))


def _kinds(arguments: argparse.Namespace) -> None:
    from quorate.spec.classifier import classifier_kinds
    from quorate.spec.detector import detector_kinds

    found = classifier_kinds() if arguments.members == "classifiers" else detector_kinds()
    rows = [
        {
            "kind": name,
            "from": f"{point.dist.name} {point.dist.version}" if point.dist else "",
            "what": (point.load().__doc__ or "").splitlines()[0],
        }
        for name, point in sorted(found.items())
    ]
    title = f"Kinds of {arguments.members[:-1]}"
    print_table(rows, title=title, as_json=arguments.json)
