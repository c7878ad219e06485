"""The command line: thin commands, one module each group, each with its twin in Python.

Nothing heavy is imported before a command runs, so that `quorate --help` answers at once:
argparse is the one parser that loads in a tenth of the time numpy takes.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys

from quorate._version import __version__

TYPE_CHECKING = False  # as typing has it, whose import would be a fifth of `quorate --help`
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

# Each command: the module that adds it, and what `quorate --help` says of it. A module is
# imported when one of its commands is asked for; `--help` imports none.
COMMANDS = {
    "run": ("run", "run an ensemble here: pictures in, annotations out"),
    "demo": ("run", "run the demo: three small detectors, a quorum, and what it decided"),
    "fuse": ("fuse", "fuse files of detections that are there already"),
    "convert": ("convert", "convert annotations from one format to another"),
    "evaluate": ("evaluate", "measure detections against a truth"),
    "compare": ("evaluate", "compare several results: who is better, by how much, how surely"),
    "draw": ("draw", "draw boxes on pictures, and what is wrong with them"),
    "calibrate": ("tune", "learn from labelled pictures what each detector's scores are worth"),
    "tune": ("tune", "search the fusion method, its numbers and the detectors' weights"),
    "train": ("train", "train detectors on labelled pictures, and say which is better"),
    "check": ("spec", "check a spec and load its detectors"),
    "schema": ("spec", "print the JSON Schema of a spec, for your editor to complete it"),
    "detectors": ("spec", "list the kinds of detector that are installed"),
    "classifiers": ("spec", "list the kinds of classifier that are installed"),
    "cvat": ("cvat", "annotate a task of a CVAT server: pictures from it, boxes into it"),
    "render": ("argo", "write an ensemble as a WorkflowTemplate for Argo Workflows"),
    "submit": ("argo", "start an ensemble on Argo Workflows"),
    "watch": ("argo", "show a run on Argo until it ends"),
    "status": ("argo", "show a run on Argo as it is now"),
    "list": ("argo", "list the runs on Argo"),
    "logs": ("argo", "print what the steps of a run wrote"),
    "stop": ("argo", "stop a run on Argo"),
    "retry": ("argo", "run again what failed in a run on Argo"),
    "pools": ("argo", "list a cluster's pools of nodes, and which a spec's pools fit"),
    "doctor": ("argo", "look for what keeps an ensemble from running on a cluster"),
    "step": ("step", "run one step: prepare, detect, fuse or publish"),
    "check-container": ("container", "tell the author of a container detector what it lacks"),
    "serve": ("serve", "be the models of CVAT's automatic annotation"),
    "detect": ("ask", "send pictures to a model server, and print the boxes"),
    "classify": ("ask", "send pictures to a model server, and print their labels"),
    "bench": ("ask", "measure a model server under load: latency, rate, accuracy"),
    "compile": ("installation", "compile the kernels now, for example when an image is built"),
    "completion": ("installation", "print what lets your shell complete commands and options"),
}

EXAMPLES = "examples:\n"
LONGEST = 4000
"""Most characters of an error that are printed."""
RESUMED = ("run", "demo", "step", "calibrate", "tune", "train")
"""Commands that keep what they have finished, and go on from it."""


class _Help(argparse.HelpFormatter):
    """Descriptions are wrapped; examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as the terminal; told so, argparse does not load shutil to find out."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 80
    return _Help(prog, width=columns - 2)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors end in a hint, as every other error here does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _formatter, **settings})

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse has it, save that an output which takes nothing is told."""
        (file or sys.stderr).write(message)

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse has it, save that the command itself says what it does not know.

        Words may stand before, behind and between options, those that may be missing too.
        """
        known, unknown = super().parse_known_args(args, namespace)
        if self._mixing:
            return known, unknown
        commands = any(isinstance(one, argparse._SubParsersAction) for one in self._actions)
        if unknown and not commands:
            self._mixing = True  # Python 3.11's way of mixing calls this method
            try:
                known, unknown = self.parse_known_intermixed_args(args, namespace)
            finally:
                self._mixing = False
        if unknown:
            self.error(_not_known(unknown[0].partition("=")[0], self._option_string_actions))
        return known, unknown

    def error(self, message: str) -> NoReturn:
        name, _, rest = message.partition("invalid choice: ")
        if rest:
            from quorate.errors import did_you_mean

            given = rest.split("'")[1]
            asked = [
                action.choices
                for action in self._actions
                if action.choices and name == f"argument {argparse._get_action_name(action)}: "
            ]
            choices = [word for words in asked for word in words if isinstance(word, str)]
            near = did_you_mean(given, choices)
            known = f", {near}" if near else f" among {', '.join(choices)}"
            message = f"{name}there is no '{given}'{known}"
        for kind, meant in (("int", "a whole number"), ("float", "a number")):
            name, wrong, given = message.partition(f"invalid {kind} value: ")
            message = f"{name}{given} is not {meant}" if wrong else message
        # In a pod: a template that was rendered for another version than the image's.
        from quorate.cli import pod

        pod.last_words(f"{self.prog} {__version__}: {message}")
        from quorate.cli.examples import BY_COMMAND

        first = BY_COMMAND.get(self.prog.partition(" ")[2], ("",))[0]
        example = f"; for example {self.prog} {first}" if first else ""
        self.exit(2, f"error: {message}\n  hint: {self.prog} --help{example}\n")


def _not_known(word: str, options: Iterable[str]) -> str:
    """What is said of an option, or a word, that a command does not take."""
    if not word.startswith("-"):
        return f"'{word}' is one word too many"
    from quorate.spec.words import meant_key

    names = {option.lstrip("-").replace("-", "_"): option for option in options if "--" in option}
    near = meant_key(word.lstrip("-"), names)
    return f"there is no option {word}" + (f", did you mean '{names[near]}'?" if near else "")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, which documentation and tests read.

    To parse a command, those of its module are enough; for `--help` and for a command that is
    not there, names are.
    """
    top = _Parser(
        prog="quorate",
        description="Run an ensemble of object detectors, let a quorum decide, "
        "publish what CVAT imports.",
        epilog="quorate COMMAND --help says more about a command.",
    )
    top.add_argument("--version", action="version", version=f"quorate {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    if command is None or command in COMMANDS:
        from importlib import import_module

        asked = COMMANDS if command is None else [command]
        for module in dict.fromkeys(COMMANDS[name][0] for name in asked):
            import_module(f"quorate.cli.{module}").add_commands(commands)
        for name in asked:  # a command that tells no more of itself tells what the list tells
            one, what = commands.choices[name], COMMANDS[name][1]
            one.description = one.description or f"{what[0].upper()}{what[1:]}."
            _finish(one, name)
    else:
        for name, (_, what) in COMMANDS.items():
            commands.add_parser(name, help=what)
    return top


def _finish(command: argparse.ArgumentParser, name: str) -> None:
    """Give a command, or each below it, the options that all have, and its examples."""
    from quorate.cli.examples import BY_COMMAND

    below = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
    for action in below:
        for word, one in action.choices.items():
            _finish(one, f"{name} {word}")
    if not below:
        add = command.add_argument
        add("-v", "--verbose", action="store_true", help="tell more of what is done")
        add("-q", "--quiet", action="store_true", help="tell results and problems alone")
        shown = "\n".join(f"  quorate {name} {words}".rstrip() for words in BY_COMMAND[name])
        command.epilog = f"{EXAMPLES}{shown}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is that of the error tree (`quorate.errors`)."""
    ours = argv is None  # the process is ours, and ends with the command
    given = [*(sys.argv[1:] if argv is None else argv)]
    for word in ("-v", "--verbose", "-q", "--quiet"):  # they may stand before the command too
        if given[:1] == [word]:
            given = [*given[1:], word]
    for name in ("stdout", "stderr"):  # closed by who started us: then nobody reads it
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  as long as the process
    command = next((word for word in given if word != "--"), "")
    try:
        if ours:
            gc.set_threshold(50_000, 20)  # modules stay: to look for garbage among them is vain
            atexit.register(_collect_nothing)
            _end_on_sigterm()
        try:
            arguments = parser(command).parse_args(given)
            from quorate.cli import output

            with output.telling(more=arguments.verbose, less=arguments.quiet):
                arguments.command(arguments)
        except SystemExit:  # --help, --version
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # a full disk is told here, not while Python ends
    except KeyboardInterrupt as interrupt:
        goes_on = "; the same command goes on from here" * (command in RESUMED)
        word = "terminated" if isinstance(interrupt, _Terminated) else "interrupted"
        print(f"\n{word}{goes_on}", file=sys.stderr)
        return 143 if isinstance(interrupt, _Terminated) else 130
    except BrokenPipeError:
        # The reader of our output went away (`quorate … | head`): nothing is wrong here.
        _drop_output()
        return 0
    except Exception as error:
        return _failed(error)
    return 0


def _collect_nothing() -> None:
    """Let Python end without a last search for garbage, which takes a tenth of a second.

    Not beside torch: what is not freed at the end, its compiler calls a leak, in thirty lines.
    """
    if "torch" not in sys.modules:
        gc.freeze()


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command just as Ctrl-C does."""


def _end_on_sigterm() -> None:
    """Let SIGTERM end the command in order: nothing half-written stays, and a word is said."""
    import signal

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second ends it at once
        raise _Terminated

    signal.signal(signal.SIGTERM, end)


def _failed(error: Exception) -> int:
    """Say what went wrong; the exit status. What is a fault of ours is raised on."""
    from quorate.cli import pod
    from quorate.errors import QuorateError, StorageError, file_error

    found = file_error(error) if isinstance(error, OSError) else error
    if isinstance(error, MemoryError):
        found = StorageError("There is not enough memory for this.", hint="give it less at once")
    if not isinstance(found, QuorateError):
        pod.last_words(f"{type(error).__name__}: {error}")
        raise error
    if isinstance(error, OSError) and error.filename is None:
        _drop_output()  # what it still holds would fail again while Python ends
    print(f"error: {_printable(str(found))}", file=sys.stderr)
    pod.last_words(f"{found.message} ({found.hint})" if found.hint else found.message)
    return found.exit_code


def _printable(text: str) -> str:
    """Without what a terminal would obey, and of a length that can be read."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 2 :]}"


def _drop_output() -> None:
    """Let nothing more be written to stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
