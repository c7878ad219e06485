"""The whole of a small run in one pod: the pod of `prepare` goes on where pictures are few.

To start a pod takes seconds, and a DAG has three of them in a row; few pictures are looked at in
less. A pod that dies of it (a detector that crashes, or takes all memory) is tried again, and that
try leaves the rest to the DAG, where it costs that detector its votes and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

from hera.workflows import Artifact

from quorate.argo.rendering import detectors, files, overlay, pods
from quorate.detectors.container import ContainerDetector
from quorate.errors import SpecError
from quorate.spec import Ensemble

PICTURES = 100
"""Pictures that one pod does alone where nothing is said. Three detectors that each take a fifth of
a second of a processor for a picture, in one pod with four, lose 10 seconds to three pods with four
each, and two more pods in a row take as long to start."""
CRASHED = "asInt(lastRetry.exitCode) > 128"
"""Ended by a signal: another try, which is the DAG's, may end otherwise."""


def pictures(ensemble: Ensemble) -> int | None:
    """Up to how many pictures one pod does the whole run; None where it never does.

    Raises SpecError where the spec asks for what cannot be.
    """
    asked, obstacle = ensemble.workflow.one_pod, _obstacle(ensemble)
    if obstacle is None:
        return PICTURES if asked is None else asked or None
    if asked:
        raise SpecError(
            f"workflow.one_pod: one pod cannot do the whole run, for {obstacle}.",
            hint="leave `one_pod` out, and each detector has a pod of its own",
        )
    return None


def run(ensemble: Ensemble) -> pods.Run:
    """How the pod runs: as `prepare`, with the image and the size of a detector."""
    image = pods.image(ensemble, ensemble.members[0])
    return replace(pods.step(ensemble, "prepare", overlay.HEAVY), image=image)


def place(ensemble: Ensemble) -> pods.Place:
    """The pool of all, whose semaphore the pod waits for too."""
    return pods.tries(ensemble, ensemble.members[0])[0]


def options(ensemble: Ensemble) -> list[str]:
    """What the command is told; its first try alone may be the only pod."""
    told = ["--one-pod", "{{workflow.parameters.one-pod}}", "--try", "{{retries}}"]
    return [*told, "--out", files.RESULTS, *detectors.workers(place(ensemble)[1])]


def weights(ensemble: Ensemble) -> list[Artifact]:
    """The files of every detector, where its own pod has them too."""
    found: list[Artifact] = []
    for detector in ensemble.members:
        for one in files.weights(ensemble, detector).values():
            one.name = f"{one.name}-{detector.name}"
            found.append(one)
    return found


def _obstacle(ensemble: Ensemble) -> str | None:
    """Why one pod cannot do the work of all, in words."""
    settings, detectors = ensemble.workflow, ensemble.members
    own = {name: getattr(settings.steps, name) for name in ("prepare", "fuse", "publish")}
    at = {name: one.pool or settings.pool for name, one in own.items()}
    at |= {one.name: pods.pool_of(ensemble, one) for one in detectors}
    images = {one.name: pods.image(ensemble, one) for one in detectors}
    images |= {name: one.image for name, one in own.items() if one.image}
    for one in detectors:
        if isinstance(one, ContainerDetector):
            return f"'{one.name}' is a container of its own"
        if one.timeout:
            return f"'{one.name}' has a timeout of its own"
    for said, what in ((at, "pool"), (images, "image")):
        (first, value), *others = said.items()
        for name, other in others:
            if other != value:
                words = (f"'{who}' has {f'the {what} {which}' if which else f'no {what}'}"
                         for who, which in ((first, value), (name, other)))  # fmt: skip
                return " and ".join(words)
    for name in ("fuse", "publish"):
        if own[name].pod or own[name].container:
            return f"'{name}' has a pod or container of its own"
    pool = ensemble.pools.get(at["prepare"] or "")
    if pool and (pool.fallback or pool.pending_timeout):
        return f"the pool {at['prepare']} has a fallback or a pending_timeout"
    if not settings.retries:
        return "without retries a detector that crashes would end the run"
    return None
