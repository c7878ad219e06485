"""Containers and commands that are not ours: run here as a pod would, their boxes made ours.

QUORATE_IMAGES_JSON   images.json of the shard
QUORATE_IMAGES        the folder that its file names are relative to
QUORATE_OUTPUT        the folder to write detections.json or .parquet to, then manifest.json
QUORATE_WEIGHTS       the detector's weights, where it has any
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quorate._version import __version__
from quorate.dataset import Image
from quorate.detectors.container import ContainerDetector
from quorate.errors import DetectorError, InputError, QuorateError
from quorate.spec.member import Member
from quorate.spec.text import seconds
from quorate.steps.container_output import GIVEN, RULES, Left
from quorate.steps.prefetch import READERS
from quorate.steps.voter import contents as bytes_of
from quorate.steps.work import (
    Manifest,
    Skipped,
    Work,
    done,
    fingerprint,
    read_json,
    write_json,
    write_table,
)
from quorate.storage import local_copy, open_tree, writing
from quorate.storage.owner import owned

if TYPE_CHECKING:
    from quorate.spec.trainer import ContainerTrainer

RUNTIMES = {"podman": ("info",), "docker": ("version", "--format", "{{.Server.Version}}")}
"""Each with what it answers only where it works."""


def stage(work: Work, shard: int, to: Path) -> list[Skipped]:
    """Copy a shard's pictures into a folder, many at once; those that are missing, and why.

    Raises StorageError or AccessError where the pictures cannot be reached.
    """
    with open_tree(work.plan().root) as tree, ThreadPoolExecutor(READERS) as pool:

        def fetch(image: Image) -> Skipped | None:
            try:
                data = tree.read(image.file_name)
            except InputError as error:
                return Skipped(image.file_name, error.message)
            with writing(to / image.file_name) as file:
                file.write(data)
            return None

        found = list(pool.map(fetch, work.images(shard).images))
    return [skipped for skipped in found if skipped]


@dataclass(frozen=True)
class Runner:
    """How a container detector is run here: with which runtime, None for a plain process."""

    detector: ContainerDetector
    runtime: str | None = None

    @classmethod
    def of(cls, detector: ContainerDetector) -> Runner:
        """Find what runs it; DetectorError where nothing does."""
        return cls(detector, runtime_of(detector) if detector.image else None)

    def run(self, work: Work, shard: int) -> None:
        """Run it on one shard and adopt what it left; QuorateError where that fails.

        A shard that is done with just this input is left alone.
        """
        name = self.detector.name
        folder = work.detections(shard, name)
        with owned(folder.with_name(f".{name}.owner"), of=folder):
            inputs = self._inputs(work, shard)
            if done(folder, inputs):
                return
            # It writes elsewhere: that of a killed run may still be at work.
            for left in (folder, *folder.parent.glob(f".{name}.run-*")):
                shutil.rmtree(left, ignore_errors=True)
            output = folder.with_name(f".{name}.run-{uuid.uuid4().hex[:8]}")
            output.mkdir()
            listed, log = work.shard(shard) / "images.json", folder.with_name(f"{name}.log")
            try:
                with _pictures(work, shard) as pictures, weights_here(self.detector) as weights:
                    self.call(listed, pictures, output, log, weights)
                output.rename(folder)
            finally:
                shutil.rmtree(output, ignore_errors=True)
            adopt(work, shard, self.detector, inputs=inputs)

    def call(
        self, listed: Path, pictures: Path, output: Path, log: Path, weights: Path | None = None
    ) -> None:
        """Run it once over pictures that are there; DetectorError where it ends badly.

        What it prints goes to `log`.
        """
        name = f"quorate-{uuid.uuid4().hex[:12]}"
        given = {
            "QUORATE_IMAGES_JSON": listed.absolute(),
            "QUORATE_IMAGES": pictures.absolute(),
            "QUORATE_OUTPUT": output.absolute(),
        }
        if weights:
            given["QUORATE_WEIGHTS"] = weights.absolute()
        if self.runtime:
            command, environment = self._contained(name, given), dict(os.environ)
        else:
            command = [*self.detector.command, *self.detector.args]
            environment = os.environ | self.detector.env | {k: str(v) for k, v in given.items()}
        limit = seconds(self.detector.timeout) if self.detector.timeout else None
        hint = f"what it printed is in {log}"
        try:
            with open(log, "wb") as printed:
                ended = subprocess.run(  # noqa: S603  running it is what the spec asks for
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    timeout=limit,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise DetectorError(
                f"{self.detector.name}: it took longer than {self.detector.timeout}.", hint=hint
            ) from None
        except OSError as error:
            raise DetectorError(
                f"{self.detector.name}: {command[0]} cannot be run ({error.strerror})."
            ) from None
        finally:
            if self.runtime:
                # Where only its client was ended, the container itself would go on.
                quietly(self.runtime, "rm", "--force", name)
        if ended.returncode:
            raise DetectorError(
                f"{self.detector.name}: it ended with status {ended.returncode}: {last_line(log)}",
                hint=hint,
            )

    def _contained(self, name: str, given: Mapping[str, Path]) -> list[str]:
        inside = {variable: f"/quorate/{path.name}" for variable, path in given.items()}
        inside["QUORATE_IMAGES"], inside["QUORATE_OUTPUT"] = "/quorate/images", "/quorate/output"
        return contained(
            self.runtime or "",
            name,
            self.detector,
            env=self.detector.env | inside,
            volumes={path: inside[variable] for variable, path in given.items()},
            writable=inside["QUORATE_OUTPUT"],
        )

    def _inputs(self, work: Work, shard: int) -> str:
        """A digest of all that its boxes depend on: a program's own files, an image's contents."""
        detector = self.detector
        ran: list[bytes | str]
        if self.runtime:
            about = quietly(
                self.runtime, "image", "inspect", "--format", "{{.Id}}", str(detector.image)
            )
            ran = [about or str(detector.image)]
        else:
            ran = [*programs((*detector.command, *detector.args))]
        return fingerprint(
            __version__,
            _about(detector),
            *ran,
            *(part for location in detector.files for part in bytes_of(location)),
            msgspec.json.encode(work.images(shard)),
        )


def adopt(work: Work, shard: int, detector: ContainerDetector, *, inputs: str = "") -> Manifest:
    """Check what a container left of a shard, and write its boxes as ours, the manifest last.

    `inputs` is a digest of what the container was given, where that is known; otherwise what it
    left stands for it. What is adopted already is left alone. Raises QuorateError, in one
    sentence, where a rule is not kept.
    """
    folder = work.detections(shard, detector.name)
    contents = work.images(shard)
    left = Left(folder, contents, detector)
    if left.stated.fingerprint:
        return read_json(folder / "manifest.json", Manifest)
    for _, look in RULES:
        look(left)
    detections, notes = left.boxes, left.notes
    digest = inputs or fingerprint(
        __version__, _about(detector), msgspec.json.encode(contents), left.file.read_bytes()
    )
    if left.file.name == "detections.parquet":
        left.file.rename(folder / GIVEN)
    write_table(folder / "detections.parquet", detections, contents)
    manifest = Manifest(
        fingerprint=digest,
        images=len(contents.images),
        detections=len(detections),
        seconds=round(left.stated.seconds, 3),
        detectors=(detector.name,),
        skipped=left.stated.skipped,
        notes=notes,
    )
    write_json(folder / "manifest.json", manifest)
    return manifest


def _about(detector: ContainerDetector) -> str:
    return detector.model_dump_json(exclude=set(detector.aside) - {"image"})


def adopt_all(work: Work, shard: int, members: Iterable[Member]) -> dict[str, str]:
    """Adopt what each container left of a shard; those whose work is unusable, and why."""
    refused = {}
    for member in members:
        left = work.detections(shard, member.name)
        if isinstance(member, ContainerDetector) and os.path.lexists(left / "manifest.json"):
            try:
                adopt(work, shard, member)
            except QuorateError as error:
                refused[member.name] = error.message
    return refused


@contextmanager
def _pictures(work: Work, shard: int) -> Iterator[Path]:
    """The folder that a shard's file names are relative to; a copy, where it is not one already."""
    root = work.plan().root
    if os.path.isdir(root):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory(prefix="quorate-images-") as copy:
        stage(work, shard, Path(copy))
        yield Path(copy)


def weights_here(detector: ContainerDetector) -> AbstractContextManager[Path | None]:
    """Where its weights are on this machine."""
    return local_copy(detector.weights) if detector.weights else nullcontext()


def contained(
    runtime: str,
    name: str,
    what: ContainerDetector | ContainerTrainer,
    *,
    env: Mapping[str, str],
    volumes: Mapping[Path, str],
    writable: str,
) -> list[str]:
    """The call of a runtime: no rights, a root that cannot be written, as in a pod.

    Args:
        runtime: `podman` or `docker`.
        name: Of the container.
        what: Its image and words.
        env: Its environment.
        volumes: What is here -> where it finds it.
        writable: The only such place that it may write to.
    """
    command = [runtime, "run", "--rm", "--name", name]
    command += ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]  # noqa: S108  its own
    command += ["--user", f"{os.getuid()}:{os.getgid()}"]
    if runtime == "podman" and os.getuid():
        command += ["--userns", "keep-id"]
    for path, place in volumes.items():
        command += ["--volume", f"{path}:{place}:{'rw' if place == writable else 'ro'}"]
    for variable, value in env.items():
        command += ["--env", f"{variable}={value}"]
    if what.command:
        command += ["--entrypoint", what.command[0]]
    return [*command, what.image or "", *what.command[1:], *what.args]


def runtime_of(what: ContainerDetector | ContainerTrainer) -> str:
    """Podman or docker, whichever works; DetectorError, with what they said, where none does."""
    said = []
    for runtime, question in RUNTIMES.items():
        if not shutil.which(runtime):
            said.append(f"{runtime} is not installed")
            continue
        command = [runtime, *question]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if not tried.returncode:
            return runtime
        said.append(f"{runtime}: {(tried.stderr.strip().splitlines() or ['does not work'])[-1]}")
    raise DetectorError(
        f"{what.name}: the image {what.image} cannot be run here ({'; '.join(said)}).",
        hint="install podman; or leave `image` out and give a `command` that runs without it; "
        "or run it on Argo Workflows",
    )


def programs(words: Iterable[str]) -> list[bytes]:
    """The contents of the files among the words of a command."""
    return [Path(word).read_bytes() for word in words if os.path.isfile(word)]


def quietly(*command: str) -> str:
    """What a command printed; '' where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return "" if done.returncode else done.stdout.strip()


def last_line(log: Path) -> str:
    """The last line that a process printed, at most 500 characters.

    Of an error as this program prints it, which ends with a hint, the sentence and the hint.
    """
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        every = (line.decode(errors="replace").strip() for line in file)
        lines = deque(filter(None, every), maxlen=2)
    if not lines:
        return "it printed nothing"
    said, last = lines[0], lines[-1]
    if last.startswith("hint: ") and said.startswith("error: "):
        return f"{said.removeprefix('error: ')} ({last.removeprefix('hint: ')})"[:500]
    return last.removeprefix("error: ")[:500]
