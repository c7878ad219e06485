"""quorate compile: translate the kernels to machine code once, so that no run waits for it."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def add_commands(commands: Any) -> None:
    """Add this group's command."""
    compile_ = commands.add_parser("compile")
    compile_.set_defaults(command=_compile)


def _compile(arguments: argparse.Namespace) -> None:
    import time

    from quorate import detectors, evaluation, fusion, masks
    from quorate.cli.output import note, progress_bars
    from quorate.compiled import tell_once

    tell_once(known=True)
    note(
        "compiling the kernels that are not there yet: once for this installation, half a "
        "minute or so"
    )
    started = time.perf_counter()
    rooms = (fusion, masks, detectors, evaluation)
    with progress_bars() as progress:
        for done, room in enumerate(rooms):
            progress("compile", done, len(rooms))
            room.compile_kernels()
        progress("compile", len(rooms), len(rooms))
    note(f"kernels compiled and cached in {time.perf_counter() - started:.1f} s")
