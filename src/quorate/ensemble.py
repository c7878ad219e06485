"""DetectionEnsemble: the spec together with the places it can run in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quorate.errors import MissingExtraError
from quorate.spec import EnsembleSpec

if TYPE_CHECKING:
    from quorate.argo.newer import Template
    from quorate.local import Progress
    from quorate.steps import Summary


class DetectionEnsemble(EnsembleSpec):
    """An ensemble of detectors, described once, run where you like."""

    def run(
        self,
        data: str | Path | None = None,
        out: str | Path = "out",
        *,
        fresh: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Summary:
        """Run here: pictures of `data` (default: the spec's own) in, annotations under `out`.

        The same call again goes on where a killed run stopped. Raises SpecError, InputError,
        DetectorError or LabelError before any work where the description cannot be carried
        out; QuorumError where too few detectors finished.
        """
        from quorate.local import run

        ensemble = self if data is None else self.model_copy(update={"data": str(data)})
        return run(ensemble, Path(out), fresh=fresh, workers=workers, progress=progress)

    def workflow_template(self) -> Template:
        """The WorkflowTemplate that runs this ensemble on Argo: an object of Hera's, to change.

        The same ensemble gives the same; nothing is asked of a cluster. Raises SpecError where
        the ensemble could not run there, MissingExtraError without Hera.
        """
        try:
            from quorate.argo.template import workflow_template
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "hera":
                raise
            raise MissingExtraError("A WorkflowTemplate", "argo") from None
        return workflow_template(self)
