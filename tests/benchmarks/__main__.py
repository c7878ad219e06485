"""make bench: run every benchmark in a process of its own, and write docs/performance.md.

python -m tests.benchmarks [NAME …]     only these, whose sections of the page are replaced
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/performance.md"
MEASURED = (
    "compile",
    "fusion",
    "offline",
    "evaluation",
    "formats",
    "detect",
    "tta",
    "serve",
    "serving",
    "chain",
)
OPTIONS = {"fusion": ("--chart", "docs/performance/fusion.svg")}
PEERS = ("numpy", "numba", "onnxruntime", "ensemble-boxes", "pycocotools", "hotcoco", "datumaro")
HEAD = """\
# Performance

Written by `make bench`; the command above each table measures that table alone. Ratios are from
one run on one machine, against a named peer or a physical limit; absolute times do not carry over
to yours. [Why fusion is fast, and how its cost grows](performance/fusion.md).
[Each family of detectors beside its library's own loop](performance/detectors.md).

{machine}
"""


def machine() -> str:
    """What the figures were measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} with {len(os.sched_getaffinity(0))} shared "
        f"{platform.machine()} cores, Python {platform.python_version()}, {versions}."
    )


def section(name: str) -> str:
    """One benchmark's title, command and table."""
    title = (import_module(f"tests.benchmarks.{name}").__doc__ or name).splitlines()[0]
    command = ["-m", f"tests.benchmarks.{name}", *OPTIONS.get(name, ())]
    print(f"{name}: {title}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )
    print(done.stdout, flush=True)
    text = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
    return f"## {title}\n\n    python {' '.join(command)}\n\n```\n{text}\n```\n"


def main() -> None:
    """Measure all, or the named ones, and write their sections of the page."""
    asked = sys.argv[1:] or MEASURED
    if tuple(asked) == MEASURED:
        page = [HEAD.format(machine=machine()), *map(section, asked)]
    else:
        head, *rest = PAGE.read_text(encoding="utf-8").split("\n## ")
        page = [f"{head}\n", *(f"## {text}" for text in rest)]
        for measured in map(section, asked):
            title = measured.splitlines()[0]
            there = [i for i, text in enumerate(page) if text.splitlines()[0] == title]
            place = there[0] if there else len(page)
            page[place : place + 1] = [measured]
        page = [f"{text.rstrip()}\n" for text in page]
    PAGE.write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
