"""The command line: thin commands, one module each group, each with its twin in Python.

Nothing heavy is imported before a command runs, so that `quorate --help` answers at once:
argparse is the one parser that loads in a tenth of the time numpy takes.
"""

from __future__ import annotations

import argparse
import os
import sys

from quorate import __version__

TYPE_CHECKING = False  # as typing has it, whose import would be a fifth of `quorate --help`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as the terminal; told so, argparse does not load shutil to find out."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 80
    return argparse.HelpFormatter(prog, width=columns - 2)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors end in a hint, as every other error here does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _formatter, **settings})

    def error(self, message: str) -> NoReturn:
        name, _, rest = message.partition("invalid choice: ")
        if rest:
            import difflib

            given = rest.split("'")[1]
            choices = [
                choice
                for action in self._actions
                if action.choices
                for choice in action.choices
                if isinstance(choice, str)
            ]
            near = difflib.get_close_matches(given, choices, n=1)
            message = f"{name}there is no '{given}'" + (
                f", did you mean '{near[0]}'?" if near else f" among {', '.join(choices)}"
            )
        self.exit(2, f"error: {message}\n  hint: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line; documentation and tests read it too."""
    from quorate.cli import files, kernels, run, spec, step, tune

    top = _Parser(
        prog="quorate",
        description="Run an ensemble of object detectors, let a quorum decide, "
        "publish what CVAT imports.",
        epilog="quorate COMMAND --help says more about a command.",
    )
    top.add_argument("--version", action="version", version=f"quorate {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (run, files, tune, spec, step, kernels):
        module.add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is that of the error tree (`quorate.errors`)."""
    arguments = parser().parse_args(argv)
    from quorate.errors import QuorateError

    try:
        arguments.command(arguments)
    except QuorateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`quorate … | head`): nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
