"""What a task, a job or a project of a CVAT server holds, as far as annotating needs it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from quorate.cvat.client import Client, SignedOutError, origin
from quorate.errors import AccessError, InputError

What = Literal["task", "job", "project"]
_PLACES = re.compile(r"/(projects|tasks|jobs)/([0-9]+)")
_NUMBER = re.compile("[0-9]+")
_RANGE = re.compile("([0-9]+)(?:-([0-9]+))?")


class Place(NamedTuple):
    """Which task, job or project is meant, and of which server (None: not said)."""

    what: What
    id: int
    server: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read '12', 'task:12', 'job:34', 'project:5', or the address in a browser's bar.

        A task's number alone is that of a task; an address names what it ends in. Raises
        InputError for other text.
        """
        word, _, number = text.rpartition(":")
        if _NUMBER.fullmatch(number) and word in ("", "task", "job", "project"):
            return cls(word or "task", int(number))  # type: ignore[arg-type]
        try:
            split = urlsplit(text)
        except ValueError:  # such as http://[::1
            split = urlsplit("")
        found = _PLACES.findall(split.path)
        if split.scheme in ("http", "https") and split.netloc and found:
            name, number = found[-1]
            return cls(name[:-1], int(number), f"{split.scheme}://{split.netloc}")
        raise InputError(
            f"{text}: names no task, job or project of CVAT.",
            hint="for example 12, job:34, project:5 or https://cvat.example.org/tasks/12",
        )

    def __str__(self) -> str:
        return f"{self.what} {self.id}"

    @property
    def path(self) -> str:
        """Where it is below `/api/`, and below the companion's address."""
        return f"{self.what}s/{self.id}"

    def check(self, client: Client) -> None:
        """Raise InputError where the address is one of another server than is asked."""
        if self.server is not None and origin(self.server) != client.server:
            raise InputError(
                f"{self} is named by an address of {self.server}, and {client.server} is asked.",
                hint="leave --server away, or name the task by its number",
            )


class Attribute(msgspec.Struct, frozen=True):
    """An attribute that a label declares; `mutable`: it may change from frame to frame."""

    id: int
    name: str
    input_type: str = "text"
    values: tuple[str, ...] = ()
    default_value: str = ""
    mutable: bool = False


class Label(msgspec.Struct, frozen=True):
    """A label of a task, with the only type of shape that it allows ('any': each)."""

    id: int
    name: str
    color: str = ""
    type: str = "any"
    attributes: tuple[Attribute, ...] = ()
    has_parent: bool = False


class Job(msgspec.Struct, frozen=True):
    """A part of a task: frames `start_frame` to `stop_frame`, both included."""

    id: int
    task_id: int
    start_frame: int
    stop_frame: int
    type: str = "annotation"
    state: str = "new"
    project_id: int | None = None
    organization: int | None = None
    dimension: str = "2d"
    task_name: str | None = None
    mode: str = ""
    media_type: str = ""

    @property
    def numbers(self) -> range:
        """The numbers of its frames."""
        return range(self.start_frame, self.stop_frame + 1)


class Frame(NamedTuple):
    """One frame: its number in the API, which counts from 0, its name, its size in pixels."""

    number: int
    name: str
    width: int
    height: int
    job: int


@dataclass(frozen=True)
class Task:
    """A task, or the part of it that is to be annotated.

    jobs    those that are annotated, by rising frames
    frames  by rising number; deleted ones are not among them
    video   whether the frames follow each other in time
    notes   what was left alone, a sentence each
    whole   whether it is all of a task, its frames by CVAT's own names: CVAT's export of it then
            has these very frames
    """

    id: int
    name: str
    project: int | None
    labels: tuple[Label, ...]
    jobs: tuple[Job, ...]
    frames: tuple[Frame, ...]
    video: bool = False
    notes: tuple[str, ...] = ()
    whole: bool = True

    def only(self, ranges: str | None) -> Task:
        """The same with the frames of ranges such as '0-99,150', as the API numbers them.

        Of a range of which the task has no frame a note tells. Raises InputError for text that is
        no range, or frames of which the task has none.
        """
        if ranges is None:
            return self
        wanted: set[int] = set()
        there = {frame.number for frame in self.frames}
        end = self.frames[-1].number + 1
        nowhere = []
        for part in ranges.split(","):
            found = _RANGE.fullmatch(part.strip())
            if not found:
                raise InputError(f"--frames {ranges}: '{part}' is no range, such as 0-99.")
            numbers = range(int(found[1]), min(int(found[2] or found[1]) + 1, end))
            if there.isdisjoint(numbers):
                nowhere.append(part.strip())
            wanted.update(numbers)
        frames = tuple(frame for frame in self.frames if frame.number in wanted)
        own = f"its frames are {self.frames[0].number} to {end - 1}, without deleted ones"
        if not frames:
            raise InputError(f"--frames {ranges}: task {self.id} has none of them.", hint=own)
        notes = [f"task {self.id}: it has no frame {part}; {own}." for part in nowhere]
        return replace(self, frames=frames, notes=(*self.notes, *notes), whole=False)


class _Task(msgspec.Struct):
    id: int
    name: str
    mode: str = ""
    dimension: str | None = "2d"
    project_id: int | None = None
    media_type: str = ""


class _FrameMeta(msgspec.Struct):
    name: str
    width: int = 0
    height: int = 0


class _Meta(msgspec.Struct):
    size: int
    start_frame: int = 0
    frame_filter: str = ""
    frames: list[_FrameMeta] | None = None
    deleted_frames: list[int] = []


def tasks(
    client: Client,
    place: Place,
    frames: str | None = None,
    left: list[str] | None = None,
    *,
    videos: bool = False,
) -> Iterator[Task]:
    """The tasks at a place, one after the other: a project's, in order of their numbers.

    Args:
        client: the server.
        place: a task, a job or a project.
        frames: ranges of frames, see `Task.only`; default: all.
        left: where it is given, a task of a project that cannot be annotated does not keep the
            others from it: why it is left out is added here.
        videos: whether a task that is no video cannot be annotated either.

    Raises InputError for what cannot be annotated: no pictures, 3D data, audio, a job that is not
    one of annotation, a place of another server, a project of whose tasks all are left out.
    """
    place.check(client)

    def made(number: int, only: Job | None = None) -> Task:
        task = _task(client, number, only).only(frames)
        if videos and not task.video:
            raise InputError(
                f"task {task.id} ({task.name}) holds pictures, and tracks are for videos.",
                hint="leave --tracks away: each picture then has its own boxes",
            )
        return task

    if place.what == "project":
        found = tasks_of(client, place.id)
        if not found:
            client.get(f"projects/{place.id}", dict)  # one that is not there is told as such
            raise InputError(f"project {place.id} has no tasks.")
        good = 0
        for number in found:
            try:
                task = made(number)
            except InputError as error:
                if left is None:
                    raise
                left.append(error.message)
                continue
            good += 1
            yield task
        if left and not good:
            raise InputError(f"{place} has no task that can be annotated: {' '.join(left)}")
    elif place.what == "job":
        job = client.get(f"jobs/{place.id}", Job)
        yield made(job.task_id, job)
    else:
        yield made(place.id)


def _task(client: Client, number: int, only: Job | None) -> Task:
    about = _about(client, number, only)
    name = f"task {number}"
    if about.dimension == "3d" or about.media_type in ("point_cloud", "audio"):
        kind = "audio" if about.media_type == "audio" else "3D data"
        raise InputError(f"{name} holds {kind}; detectors here look at pictures.")
    if only is not None and only.type != "annotation":
        raise InputError(
            f"job {only.id} is one of '{only.type}': what is drawn there is a measure for others, "
            "and is left to people.",
            hint=f"name the task ({number}), or one of its jobs of annotation",
        )
    jobs = [only] if only else jobs_of(client, number)
    own = [job for job in jobs if job.type == "annotation"]
    others = Counter(job.type.replace("_", " ") for job in jobs if job.type != "annotation")
    notes = [
        f"{name}: {count} {'job' if count == 1 else 'jobs'} of {kind} left to people."
        for kind, count in others.items()
    ]
    labels = labels_of(client, only or about)
    frames: dict[int, Frame] = {}
    gone = 0
    for job in own:
        meta = client.get(f"jobs/{job.id}/data/meta", _Meta)
        gone += len({n for n in meta.deleted_frames if n in job.numbers})
        for frame in _frames(meta, job, video=about.mode == "interpolation"):
            frames.setdefault(frame.number, frame)
    if gone:
        notes.append(f"{name}: {gone:,} deleted frames are left out.")
    if not frames:
        raise InputError(
            f"{name} has no pictures" + (" that are not deleted." if gone else "."),
            hint=None if gone else _why_none(client),
        )
    own_names = tuple(frames[n] for n in sorted(frames))
    named = _named(own_names)
    return Task(
        id=number,
        name=about.name,
        project=about.project_id,
        labels=labels,
        jobs=tuple(own),
        frames=named,
        video=about.mode == "interpolation",
        notes=tuple(notes),
        whole=only is None and named == own_names,
    )


def _about(client: Client, number: int, only: Job | None) -> _Task:
    """What a task says of itself; to who was given one job of it alone, the job says it."""
    try:
        return client.get(f"tasks/{number}", _Task)
    except SignedOutError:
        raise
    except AccessError:
        if only is None:
            raise
        name = only.task_name or f"task {number}"
        kind = only.media_type
        return _Task(number, name, only.mode, only.dimension, only.project_id, media_type=kind)


def tasks_of(client: Client, project: int | None) -> list[int]:
    """The numbers of the tasks that may be seen, rising: a project's, or all."""
    where = {} if project is None else {"project_id": project}
    return sorted(task.id for task in client.all("tasks", _Task, **where))


def jobs_of(client: Client, task: int) -> list[Job]:
    """The jobs of a task that may be seen, of every type, by rising frames."""
    return sorted(client.all("jobs", Job, task_id=task), key=lambda job: (job.start_frame, job.id))


def labels_of(client: Client, of: Job | _Task) -> tuple[Label, ...]:
    """The labels of a task, asked for by the task or by one of its jobs; not parts of skeletons."""
    where = {"job_id" if isinstance(of, Job) else "task_id": of.id}
    return tuple(one for one in client.all("labels", Label, **where) if not one.has_parent)


def _why_none(client: Client) -> str:
    if client.organization:
        return f"does it belong to the organization '{client.organization}'? Name another (--org)"
    return "are they still being uploaded? Try again when it is ready"


def _frames(meta: _Meta, job: Job, *, video: bool) -> Iterator[Frame]:
    """The frames of a job that are not deleted.

    A video's frames have no names: each is called as CVAT's own exports call it, by the number that
    it has in the video, which a frame step makes another than the API's.
    """
    step = int(meta.frame_filter.partition("=")[2] or 1) if meta.frame_filter else 1
    told, gone = meta.frames or [], set(meta.deleted_frames)
    for place, number in enumerate(job.numbers):
        about = told[:1] if video else told[place : place + 1]
        if number in gone or not about:
            continue
        name = f"frame_{meta.start_frame + place * step:06d}" if video else about[0].name
        yield Frame(number, name, about[0].width, about[0].height, job.id)


def _named(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames; where two have one name, all are called by their number."""
    if len({frame.name for frame in frames}) == len(frames):
        return tuple(frames)
    return tuple(frame._replace(name=f"frame_{frame.number:06d}") for frame in frames)
