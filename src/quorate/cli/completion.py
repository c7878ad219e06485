"""quorate completion: what a shell reads to complete commands, options and files."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add_commands(commands: Any) -> None:
    """Add this command."""
    completion = commands.add_parser(
        "completion",
        description="Print what lets your shell complete commands, options and files.",
    )
    completion.add_argument("shell", choices=SHELLS, help="which shell")
    completion.set_defaults(command=_completion)


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
