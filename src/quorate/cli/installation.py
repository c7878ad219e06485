"""quorate compile, completion: what an installation is given once."""

from __future__ import annotations

import argparse
from typing import Any

from quorate.cli.output import note, progress_bars

SHELLS = ("bash", "zsh", "tcsh")


def add_commands(commands: Any) -> None:
    """Add these commands."""
    commands.add_parser("compile").set_defaults(command=_compile)
    completion = commands.add_parser(
        "completion",
        description="Print what lets your shell complete commands, options and files.",
    )
    completion.add_argument("shell", choices=SHELLS, help="which shell")
    completion.set_defaults(command=_completion)


def _compile(arguments: argparse.Namespace) -> None:
    import time

    from quorate import detectors, evaluation, fusion, masks, storage
    from quorate.compiled import tell_once

    tell_once(known=True)
    note(
        "compiling the kernels that are not there yet: once for this installation, half a "
        "minute or so"
    )
    started = time.perf_counter()
    rooms = (fusion, masks, detectors, evaluation, storage)
    with progress_bars() as progress:
        for done, room in enumerate(rooms):
            progress("compile", done, len(rooms))
            room.compile_kernels()
        progress("compile", len(rooms), len(rooms))
    note(f"kernels compiled and cached in {time.perf_counter() - started:.1f} s")


def _completion(arguments: argparse.Namespace) -> None:
    import shtab

    from quorate.cli import COMMANDS, parser

    whole = parser()
    _tell_files(whole)
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):  # a command's line in the list
            for name, (_, what) in COMMANDS.items():
                action._choices_actions.append(action._ChoicesPseudoAction(name, (), what))
    print(shtab.complete(whole, arguments.shell))


def _tell_files(command: argparse.ArgumentParser) -> None:
    """Let words that are no numbers and none of a few choices be completed as files."""
    import shtab

    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _tell_files(one)
        elif action.nargs != 0 and action.type is None and not action.choices:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
