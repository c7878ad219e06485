"""quorate check --conformance: does each detector of a spec keep its side of the contract?"""

from __future__ import annotations

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from quorate.ensemble import DetectionEnsemble

SHOWN = 4
"""Pictures of the spec's own data that are shown beside the made ones, for boxes to be found."""


def check_detectors(ensemble: DetectionEnsemble, *, tolerance: float) -> Iterator[dict[str, Any]]:
    """For each detector: its name and kind, how many boxes it found, and how it breaks its duties.

    Raises StorageError where the pictures or the weights cannot be reached.
    """
    from quorate.cli.output import note
    from quorate.detectors.conformance import check_predictor, made_pictures
    from quorate.detectors.container import ContainerDetector
    from quorate.errors import DetectorError

    pictures = [*made_pictures(), *_own(ensemble)]
    for detector in ensemble.detectors:
        if isinstance(detector, ContainerDetector):
            note(f"{detector.name}: `quorate check-container` tells what a container keeps")
            continue
        boxes, findings = 0, []
        try:
            predictor = detector.load()
        except DetectorError as error:
            findings = [f"it cannot be loaded: {error.message}"]
        else:
            findings = check_predictor(predictor, pictures, tolerance=tolerance)
            if not findings:
                boxes = sum(len(found.score) for found in predictor.predict(pictures))
        yield {
            "detector": detector.name,
            "kind": detector.kind,
            "boxes": boxes,
            "findings": findings,
        }


def _own(ensemble: DetectionEnsemble) -> list[NDArray[np.uint8]]:
    """The first pictures of the spec's data that can be read, if it names any."""
    from quorate.errors import ImageError
    from quorate.formats import read
    from quorate.pictures import decode
    from quorate.storage import open_tree

    found: list[NDArray[np.uint8]] = []
    if ensemble.data is None:
        return found
    dataset = read(ensemble.data)
    with open_tree(dataset.root) as tree:
        for image in dataset.images:
            if len(found) == SHOWN:
                break
            try:
                found.append(decode(tree.read(image.file_name), name=image.file_name))
            except ImageError:
                continue  # the run lists it; here another will do
    return found


def print_findings(ensemble: DetectionEnsemble, *, tolerance: float, as_json: bool) -> None:
    """Print a row for each detector; DetectorError where one breaks the contract."""
    from quorate.cli.output import print_json, print_table
    from quorate.errors import DetectorError

    rows = list(check_detectors(ensemble, tolerance=tolerance))
    if as_json:
        print_json(rows)
    else:
        print_table(
            [{**row, "findings": "; ".join(row["findings"]) or "none"} for row in rows],
            title=f"{ensemble.name}: the detectors' contract",
        )
    broken = [row["detector"] for row in rows if row["findings"]]
    if broken:
        raise DetectorError(
            f"{len(broken)} of {len(rows)} detectors do not keep the contract: "
            f"{', '.join(broken)}.",
            hint="docs/reference/plug-ins.md tells what each side owes the other; a GPU may need "
            "`--tolerance 0.001`",
        )
