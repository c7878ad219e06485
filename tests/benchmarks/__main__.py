"""make bench: run every benchmark in a process of its own, and write docs/performance.md."""

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
MEASURED = ("fusion", "offline", "evaluation", "formats", "detect", "tta", "chain")
OPTIONS = {"fusion": ("--chart", "docs/performance/fusion.svg")}
PEERS = ("numpy", "numba", "onnxruntime", "ensemble-boxes", "pycocotools", "hotcoco", "datumaro")
HEAD = """\
# Performance

Written by `make bench`; the command above each table measures that table alone. Ratios are from
one run on one machine, against a named peer or a physical limit; absolute times do not carry over
to yours. [Why fusion is fast, and how its cost grows](performance/fusion.md).

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
    """Measure all, then write the page."""
    asked = sys.argv[1:] or MEASURED
    sections = [section(name) for name in asked]
    if tuple(asked) == MEASURED:
        PAGE.write_text("\n".join([HEAD.format(machine=machine()), *sections]), encoding="utf-8")


if __name__ == "__main__":
    main()
