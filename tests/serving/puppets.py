"""Three detectors that obey files `a`, `b` and `c` behind a server, and ways to ask it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import requests
import yaml

from tests.cvat.puppets import Puppet, PuppetPredictor
from tests.cvat.servers import ROOT, Server, started
from tests.plugins import install_kind
from tests.spots import draw

DETECTORS = (("a", 0.9), ("b", 0.8), ("c", 0.7))


class Counted(Puppet):
    """A puppet that leaves a line in a file for each picture that it is shown."""

    kind: Literal["counted"] = "counted"  # type: ignore[assignment]
    weights: str | None = None

    def load(self) -> CountedPredictor:
        return CountedPredictor(self)


class CountedPredictor(PuppetPredictor):
    """See `Counted`."""

    def predict(self, pictures):
        with open(f"{self.spots.switch}.seen", "a") as file:
            file.write("seen\n" * len(pictures))
        return super().predict(pictures)


def install(folder: Path) -> None:
    """Make the kind known to Python processes whose path has the folder."""
    install_kind(folder, "counted", "tests.serving.puppets:Counted")


class Puppets:
    """A folder with a picture and a spec, and what starts its server."""

    def __init__(self, folder: Path, plugins: Path) -> None:
        self.folder, self.plugins = folder, plugins
        draw(folder / "0.png", 3)
        self.picture = (folder / "0.png").read_bytes()
        self.spec = folder / "spec.yaml"

    def write(self, detectors=DETECTORS, **more) -> Path:
        about = [
            {"name": name, "kind": "counted", "score": score, "switch": str(self.folder / name)}
            for name, score in detectors
        ]
        spec = {"name": "spots", "labels": ["red", "green"], "detectors": about}
        self.spec.write_text(yaml.safe_dump(spec | more))
        return self.spec

    def start(self, *options: str, **more):
        return started(str(self.write(**more)), *options, plugins=self.plugins)

    @contextmanager
    def process(self, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """A server at a port, which may not be ready yet and may be killed."""
        command = [sys.executable, "-m", "quorate", "serve", str(self.write()), "-q"]
        path = {"PYTHONPATH": f"{self.plugins}{os.pathsep}{ROOT}"}
        ports = ["--port", str(port), "--grpc-port", "0"]
        process = subprocess.Popen([*command, *ports], env=os.environ | path)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def tell(self, detector: str, what: str) -> None:
        """`fail`, `hang`, `away`, `nan` or `infinite`; "" for nothing."""
        file = self.folder / detector
        if what:
            file.write_text(what)
        else:
            file.unlink(missing_ok=True)

    def seen(self, detector: str) -> int:
        """How many pictures it was shown."""
        return len((self.folder / f"{detector}.seen").read_text().splitlines())

    def body(self, count: int = 1, **more) -> dict:
        data = [base64.b64encode(self.picture).decode()] * count
        given = {"name": "image", "shape": [count], "datatype": "BYTES", "data": data}
        return {"inputs": [given], **more}

    def ask(self, server: Server, model: str = "spots", **more) -> requests.Response:
        body = more.pop("body", None) or self.body()
        return requests.post(f"{server.url}/v2/models/{model}/infer", json=body, **more)


def told(answer: requests.Response) -> dict:
    """The outputs of an answer, and its parameters."""
    assert answer.status_code == 200, answer.text
    said = answer.json()
    return {one["name"]: one["data"] for one in said["outputs"]} | said["parameters"]
