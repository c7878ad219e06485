"""make bench: run every benchmark in a process of its own, and write docs/performance.md.

Those of a cluster are sections of docs/performance/argo.md.

python -m tests.benchmarks [NAME …]     only these, whose sections of the page are replaced

One that lacks what it needs, such as a cluster, says so; its section stays as it is.
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

from tests.benchmarks import SKIPPED

PAGE = Path(__file__).parents[2] / "docs/performance.md"
ELSEWHERE = dict.fromkeys(("steps", "argo"), PAGE.parent / "performance/argo.md")
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
    "steps",
    "argo",
)
OPTIONS = {"fusion": ("--chart", "docs/performance/fusion.svg")}
PEERS = ("numpy", "numba", "onnxruntime", "ensemble-boxes", "pycocotools", "hotcoco", "datumaro")
HEAD = """\
# Performance

Written by `make bench`; the command above each table measures that table alone. Ratios are from
one run on one machine, against a named peer or a physical limit; absolute times do not carry over
to yours. [Why fusion is fast, and how its cost grows](performance/fusion.md).
[Each family of detectors beside its library's own loop](performance/detectors.md).
[A server with more to do than it can](performance/serving.md).

{machine}
"""


def machine() -> str:
    """What the figures were measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} with {len(os.sched_getaffinity(0))} shared "
        f"{platform.machine()} cores, Python {platform.python_version()}, {versions}."
    )


def title_of(name: str) -> str:
    """The title of a benchmark's section."""
    return (import_module(f"tests.benchmarks.{name}").__doc__ or name).splitlines()[0]


def section(name: str) -> str | None:
    """One benchmark's title, command and table; None where it cannot be had here."""
    title = title_of(name)
    command = ["-m", f"tests.benchmarks.{name}", *OPTIONS.get(name, ())]
    print(f"{name}: {title}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )
    if done.returncode == SKIPPED:
        return None
    done.check_returncode()
    print(done.stdout, flush=True)
    text = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
    return f"## {title}\n\n    python {' '.join(command)}\n\n```\n{text}\n```\n"


def put(page: Path, sections: dict[str, str], *, anew: bool = False) -> None:
    """Replace sections of a page, by their titles; `anew`: with its head, and no others."""
    head, *rest = page.read_text(encoding="utf-8").split("\n## ")
    there = {text.splitlines()[0]: f"## {text}" for text in rest}
    if anew:
        head = HEAD.format(machine=machine())
        there = {title: there[title] for title in map(title_of, MEASURED) if title in there}
    parts = [head, *(there | sections).values()]
    page.write_text("\n".join(f"{text.rstrip()}\n" for text in parts), encoding="utf-8")


def main() -> None:
    """Measure all, or the named ones, and write their sections of the page."""
    asked = sys.argv[1:] or MEASURED
    measured: dict[Path, dict[str, str]] = {PAGE: {}}
    for name in asked:
        found = section(name)
        if found is not None:
            measured.setdefault(ELSEWHERE.get(name, PAGE), {})[title_of(name)] = found
    for page, sections in measured.items():
        put(page, sections, anew=page == PAGE and tuple(asked) == MEASURED)


if __name__ == "__main__":
    main()
