"""Artifacts: files and folders that Argo brings to a pod and takes from it.

They name keys only: bucket, endpoint and credentials are the artifact repository's. (Where an
artifact names a bucket but no endpoint, Argo silently uses the repository's own bucket.) Nothing
is packed: the objects are the files. A folder's key ends in "/".
"""

from __future__ import annotations

from hera.workflows import Artifact, GitArtifact, NoneArchiveStrategy, RawArtifact, S3Artifact
from hera.workflows.models import ArtifactGC, SecretKeySelector

from quorate.argo.rendering import paths
from quorate.spec import Git


def work(name: str, inside: str, *, optional: bool = False) -> Artifact:
    """A file of the work folder as input, or a folder of it where `inside` ends in "/"."""
    return taken(name, f"work/{inside}", run=paths.RUN, optional=optional)


def taken(name: str, inside: str, *, run: str = paths.PREFIX, optional: bool = False) -> Artifact:
    """A file or folder below PREFIX as input, at the same place below /scratch."""
    return S3Artifact(
        name=name,
        key=f"{run}/{inside}",
        path=f"{paths.SCRATCH}/{inside}".rstrip("/"),
        optional=optional or None,
    )


def left(
    name: str, inside: str, *, run: str = paths.RUN, optional: bool = False, passing: bool = False
) -> Artifact:
    """A folder below /scratch as output, below PREFIX; `passing`: deleted with the workflow.

    An optional one may be missing. What a failed container wrote is kept too.
    """
    return S3Artifact(
        name=name,
        key=f"{run}/{inside}/",
        path=f"{paths.SCRATCH}/{inside}",
        archive=NoneArchiveStrategy(),
        optional=optional or None,
        artifact_gc=ArtifactGC(strategy="OnWorkflowDeletion" if passing else "Never"),
    )


def weights(name: str, key: str, path: str) -> Artifact:
    """A file, or a folder whose key ends in "/", of the artifact repository's bucket."""
    return S3Artifact(name=name, key=key, path=path)


def text(name: str, contents: str, path: str) -> Artifact:
    """A small file that is written in the template itself."""
    return RawArtifact(name=name, data=contents, path=path)


def git(source: Git) -> Artifact:
    """A repository, cloned."""
    secret = source.secret

    def of(key: str) -> SecretKeySelector | None:
        return SecretKeySelector(name=secret, key=key) if secret else None

    return GitArtifact(
        name="git",
        path=paths.GIT,
        repo=source.repo,
        revision=source.revision,
        depth=1 if source.revision == "HEAD" else None,
        username_secret=of("username"),
        password_secret=of("password"),
    )
