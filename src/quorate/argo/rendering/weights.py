"""Which files of a detector come to its pod as artifacts, and their paths in the spec there.

Argo fetches a file in the artifact repository's own bucket before the detector starts. The step
itself reads one elsewhere in S3. No pod can read a file on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.argo.rendering import paths
from quorate.errors import SpecError
from quorate.spec import Detector, EnsembleSpec


@dataclass(frozen=True)
class Weights:
    """A file of a detector, or a folder whose key ends in "/", in the repository's bucket."""

    name: str
    key: str
    path: str


def weights(ensemble: EnsembleSpec, detector: Detector) -> dict[str, Weights]:
    """A detector's files in the repository's bucket, by the field of the spec that names them.

    Raises SpecError for a file that no pod could read.
    """
    settings = ensemble.workflow
    if settings.git and settings.git.path:
        return {}  # the files are known only when the run starts
    found: dict[str, Weights] = {}
    for field in type(detector).model_fields:
        location = getattr(detector, field)
        if not isinstance(location, str) or location not in detector.files:
            continue
        if not location.startswith("s3://"):
            raise SpecError(
                f"{detector.name}: {field}: {location} is on this machine: no pod can read it.",
                hint="`quorate submit --upload` uploads it; or copy it to S3 and write "
                "s3://BUCKET/KEY",
            )
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if bucket == settings.bucket:
            path = paths.weights(detector.name, location)
            if any(one.path == path for one in found.values()):
                raise SpecError(
                    f"{detector.name}: two of its files are called {path.rpartition('/')[2]}; in "
                    "its pod they lie side by side."
                )
            found[field] = Weights(field.replace("_", "-"), key, path)
        elif detector.kind == "container":
            raise SpecError(
                f"{detector.name}: {field}: {location} is not in the cluster's own bucket, and a "
                "container that is not ours has no keys for another.",
                hint=f"set `workflow: {{bucket: {bucket}}}` if it is the artifact repository's",
            )
    return found


def as_in_pods(ensemble: EnsembleSpec) -> EnsembleSpec:
    """The spec that steps read: with the paths that artifacts have in their pod."""
    detectors = []
    for detector in ensemble.detectors:
        moved = {field: one.path for field, one in weights(ensemble, detector).items()}
        detectors.append(detector.model_copy(update=moved) if moved else detector)
    data = ensemble.data if ensemble.data and ensemble.data.startswith("s3://") else None
    return ensemble.model_copy(update={"detectors": tuple(detectors), "data": data})
