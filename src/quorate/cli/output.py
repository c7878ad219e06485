"""What commands print: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from quorate.display import cell, merged
from quorate.progress import Progress, silent

if TYPE_CHECKING:
    from quorate.evaluation.compare import Interval

_SIGNED = re.compile(r"[+-]\d*\.?\d+")


def print_table(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", as_json: bool = False
) -> None:
    """Print rows of one shape as a table for people, or as JSON for programs."""
    if as_json:
        print_json(list(rows))
        return
    names = [name.replace("_", " ") for name in (rows[0] if rows else ("",))]
    numbers = [_numeric([row[name] for row in rows]) for name in (rows[0] if rows else ("",))]
    cells = [[cell(value) for value in row.values()] for row in rows]
    if not sys.stdout.isatty():  # for a file or a pipe; rich takes longer to load than to print
        widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
        if title:
            print(title)
        for row in (names, *cells):
            aligned = [
                text.rjust(width) if number else text.ljust(width)
                for text, width, number in zip(row, widths, numbers, strict=True)
            ]
            print("  ".join(aligned).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for name, number in zip(names, numbers, strict=True):
        table.add_column(name, justify="right" if number else "left")
    for row in cells:
        table.add_row(*map(escape, row))
    Console().print(table)


def _numeric(values: Iterable[Any]) -> bool:
    """Whether a column holds numbers, with gaps or not, signed words among them ("+0.013")."""
    given = [value for value in values if value is not None]
    return any(isinstance(value, (int, float)) for value in given) or (
        bool(given) and all(_SIGNED.fullmatch(str(value)) for value in given)
    )


def print_json(value: Any) -> None:
    """Print plain values as JSON for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars with rate and time left on stderr; nothing where that is no terminal."""
    if _quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")

    with progress.Progress(
        progress.TextColumn("{task.description:<10}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks: dict[str, Any] = {}

        def report(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            bars.update(tasks[task], completed=done, total=total)

        yield report


def listed(files: Sequence[str], most: int = 10) -> list[str]:
    """The files that were written; of many, the folders they are in, with how many each holds."""
    if len(files) <= most:
        return list(files)
    import os

    same = os.path.commonprefix(files)  # noqa: RUF071 - commonpath makes s3:/ of s3://
    root = same[: same.rfind("/") + 1]
    inside: dict[str, list[str]] = {}
    for file in files:
        inside.setdefault(file[len(root) :].partition("/")[0], []).append(file)
    if len(inside) > most:
        return [f"{root or './'} ({len(files):,} files)"]
    return [
        found[0] if found == [root + name] else f"{root}{name}/ ({len(found):,} files)"
        for name, found in inside.items()
    ]


def note(message: str) -> None:
    """Say something beside the data; not where `--quiet` is asked for."""
    if not _quiet:
        print(message, file=sys.stderr)


def warn(message: str) -> None:
    """Say what a person has to know, however quiet it is to be."""
    print(message, file=sys.stderr)


def notes(remarks: Iterable[str]) -> None:
    """Say each remark once; those of several detectors that say the same are one."""
    for remark in merged(remarks):
        note(f"note: {remark}")


_quiet = False


@contextmanager
def telling(*, more: bool, less: bool) -> Iterator[None]:
    """Let the package's log say more, or notes and progress say nothing, for one command."""
    global _quiet  # of the whole process, as the terminal is
    if not (more or less):
        yield
        return
    import logging

    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    log = logging.getLogger("quorate")
    before, _quiet = (log.level, _quiet), less
    log.setLevel(logging.INFO if more else logging.ERROR)
    try:
        yield
    finally:
        level, _quiet = before
        log.setLevel(level)


@contextmanager
def aside(out: str | None) -> Iterator[None]:
    """Print to stderr what is not the file, where that goes to standard output (`-`)."""
    with redirect_stdout(sys.stderr) if out == "-" else nullcontext():
        yield


def signed(gap: Interval | None) -> str:
    """A difference to the baseline with its interval, for a table; '' of the baseline itself."""
    if gap is None:
        return ""
    if gap.low is None:
        return f"{gap.value:+.3f}"
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def written_as_json(values: Any, out: str | None, *, as_json: bool) -> bool:
    """Write values as JSON to a file, or to standard output; whether they went there.

    They do for an `out` of `-`, and with `as_json`.
    """
    if out and out != "-":
        from quorate.storage import write_bytes

        write_bytes(out, json.dumps(values, indent=1).encode())
    if as_json or out == "-":
        print_json(values)
    return as_json or out == "-"


@contextmanager
def output_file(out: str, ending: str) -> Iterator[str]:
    """Where to write a file; of `-` it goes to standard output in the end. See `aside`."""
    if out != "-":
        yield out
        return
    import shutil
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        place = f"{folder}/out{ending}"
        with aside(out):
            yield place
        with open(place, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
