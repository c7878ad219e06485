"""Review issues on the frames that need a person.

In CVAT's interface the tab *Issues* leads from one frame with an issue to the next, in every
workspace, and a job's card counts them. Nothing else there can be sorted by doubt: jobs are sorted
by number, assignee, state and stage alone, and a filter finds frames by their own boxes or tags.

An issue's first comment says what is in doubt and names the run, so any machine knows it again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from quorate.cvat.client import Client, once
from quorate.cvat.publishing.drawn import DECIMALS
from quorate.cvat.publishing.journal import ensemble_of
from quorate.cvat.task import Job, Task
from quorate.steps.review import Doubt

NAMED = 5
"""Labels that an issue counts."""
_RUN = re.compile(r"\[quorate run ([^\s\]]+)\]\Z")


class _Issue(msgspec.Struct):
    id: int
    frame: int
    resolved: bool = False


class _Comment(msgspec.Struct):
    id: int
    issue: int
    message: str = ""


@dataclass
class Issues:
    """What became of issues.

    opened   how many are new
    there    how many frames had one of an earlier run already, resolved or not
    removed  how many of earlier runs went
    touched  how many stay, for somebody answered or resolved them
    """

    opened: int = 0
    there: int = 0
    removed: int = 0
    touched: int = 0


class _Ours(NamedTuple):
    """An issue that a run opened; `untouched`: nobody answered, edited or resolved it."""

    id: int
    frame: int
    untouched: bool


def open_issues(
    client: Client,
    task: Task,
    doubts: Mapping[int, Doubt],
    run: str,
    *,
    replace: bool = False,
) -> Issues:
    """Open an issue on each frame in doubt that has none of this ensemble yet.

    A frame that two jobs share has its issue in the first of them. With `replace`, issues of
    earlier runs of the ensemble on frames that are no longer in doubt go, where nobody touched
    them.

    Args:
        client: the server.
        task: the task; only its frames are touched.
        doubts: by the number of the frame.
        run: the run's name.
        replace: see above.
    """
    result = Issues()
    for job in task.jobs:
        own = {frame.number for frame in task.frames if frame.job == job.id}
        ours = _ours(client, job, lambda name: ensemble_of(name) == ensemble_of(run))
        there = {issue.frame for issue in ours}
        for number in sorted(own & doubts.keys()):
            if number in there:
                result.there += 1
            else:
                _open(client, job, number, doubts[number], run)
                result.opened += 1
        if replace:
            old = [one for one in ours if one.frame in own - doubts.keys()]
            _remove(client, old, result)
    return result


def remove_issues(client: Client, jobs: Iterable[Job], run: str) -> Issues:
    """Delete the issues that a run opened and nobody touched since."""
    result = Issues()
    for job in jobs:
        _remove(client, _ours(client, job, lambda name: name == run), result)
    return result


def _remove(client: Client, issues: Sequence[_Ours], result: Issues) -> None:
    for one in issues:
        if one.untouched:
            client.send("DELETE", f"issues/{one.id}", None, msgspec.Raw)
            result.removed += 1
        else:
            result.touched += 1


def _ours(client: Client, job: Job, meant: Callable[[str], bool]) -> list[_Ours]:
    """The issues of a job that runs opened; `meant` says of a run's name whether it is asked for.

    An issue whose first comment somebody edited so that it names no run is a person's.
    """
    said: defaultdict[int, list[_Comment]] = defaultdict(list)
    issues = [*client.all("issues", _Issue, job_id=job.id)]
    if issues:
        for comment in client.all("comments", _Comment, job_id=job.id):
            said[comment.issue].append(comment)
    found = []
    for issue in issues:
        comments = sorted(said[issue.id], key=lambda comment: comment.id)
        made = _RUN.search(comments[0].message) if comments else None
        if made and meant(made[1]):
            untouched = len(comments) == 1 and not issue.resolved
            found.append(_Ours(issue.id, issue.frame, untouched))
    return found


def _open(client: Client, job: Job, frame: int, doubt: Doubt, run: str) -> None:
    """Open an issue at the group in most doubt; CVAT draws four numbers as a rectangle.

    Where the answer is lost, it is looked first whether it arrived.
    """

    def arrived() -> bool:
        ours = _ours(client, job, lambda name: name == run)
        return any(one.frame == frame for one in ours)

    body = {
        "job": job.id,
        "frame": frame,
        "position": [round(value, DECIMALS) for value in doubt.groups[0].xyxy],
        "message": _message(doubt, run),
    }
    within = client.within(job.organization)
    once(lambda: client.send("POST", "issues", body, msgspec.Raw, **within), arrived)


def _message(doubt: Doubt, run: str) -> str:
    """What an issue says: what the box in most doubt may be, and what else is in doubt.

    CVAT shows the first few letters on the picture, and two lines in its list.
    """
    worst, counts = doubt.groups[0], Counter(group.label for group in doubt.groups)
    told = [f"{number} × {label}" for label, number in counts.most_common(NAMED)]
    told += ["…"] if len(counts) > NAMED else []
    return (
        f"{worst.label}? {worst.votes} of {worst.of} votes. Detectors disagree on this frame, "
        f"{doubt.disagreement:.0%}: {', '.join(told)} [quorate run {run}]"
    )
