"""quorate serve in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.waiting import until

ROOT = Path(__file__).parents[2]


class Server:
    """A running server: where it is, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.url or process.poll() is not None)
        assert self.url, self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def says(self, *words: str) -> bool:
        """Wait until it has said all of these."""
        until(lambda: all(word in self.log for word in words))
        return True

    @property
    def url(self) -> str:
        found = re.search(r"at (https?://\S+)", self.log)
        return found[1] if found else ""

    @property
    def rpc(self) -> str:
        found = re.search(r"and (grpcs?://\S+)", self.log)
        return found[1] if found else ""


def serving(
    *specs: Path | str, options: tuple[str, ...] = (), plugins: Path | None = None
) -> AbstractContextManager[Server]:
    """CVAT's server of some specs, on a port of its own; it has ended in the end."""
    return started("--cvat", *map(str, specs), *options, plugins=plugins)


@contextmanager
def started(*words: str, plugins: Path | None = None) -> Iterator[Server]:
    """`quorate serve` with some words, on a port of its own; it has ended in the end."""
    command = [sys.executable, "-m", "quorate", "serve", *words]
    path = {"PYTHONPATH": f"{plugins}{os.pathsep}{ROOT}"} if plugins else {}
    process = subprocess.Popen(
        [*command, "--port", "0", *([] if "--cvat" in words else ["--grpc-port", "0"])],
        env=os.environ | path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process)
    finally:
        process.terminate()
        try:
            assert process.wait(60) == 143
        finally:
            process.kill()
        assert process.stderr is not None
        process.stderr.close()
