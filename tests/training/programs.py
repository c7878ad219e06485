"""Trainers of other libraries, each a program in an environment of its own."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Program:
    """`containers/NAME-trainer` in `.venv-NAME`, which may not be there; what is set for it.

    It has so many seconds.
    """

    name: str
    seconds: int
    env: dict[str, str] = field(default_factory=dict)

    @property
    def python(self):
        return ROOT / f".venv-{self.name}/bin/python"

    @property
    def trainer(self):
        return ROOT / f"containers/{self.name}-trainer/trainer.py"

    def started(self, data, out):
        return subprocess.Popen(
            [self.python, self.trainer, "--data", data, "--out", out],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **self.env},
        )

    def trained(self, data, out):
        """Run it to its end; the status, and what it says on standard error."""
        process = self.started(data, out)
        said = process.communicate(timeout=self.seconds)[1]
        return process.returncode, said


def change(data, **settings):
    """Other settings in trainer.json."""
    path = data / "trainer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def events(out):
    return [json.loads(one) for one in (out / "progress.jsonl").read_text().splitlines()]
