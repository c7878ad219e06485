"""DetectionEnsemble and ClassificationEnsemble: a spec together with the places it can run in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from quorate.display import html_table
from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec, read_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quorate.argo.rendering.manifest import Template
    from quorate.argo.runs.submit import Submitted
    from quorate.labels import Labels
    from quorate.progress import Progress
    from quorate.steps import ClassSummary, Summary
    from quorate.steps.look import LoadedClassification, LoadedEnsemble


class RunnableEnsemble(Ensemble):
    """What every ensemble can do, whatever its members say of a picture."""

    def _run(self, data: str | Path | None, out: str | Path, **how: Any) -> Any:
        """See `run`."""
        from quorate.progress import silent
        from quorate.steps.whole import run

        ensemble = self if data is None else self.model_copy(update={"data": str(data)})
        progress = how.pop("progress") or silent
        return run(ensemble, Path(out), progress=progress, **how)

    def workflow_template(self) -> Template:
        """The WorkflowTemplate that runs this ensemble on Argo: an object of Hera's, to change.

        The same ensemble gives the same; nothing is asked of a cluster. Raises SpecError where
        the ensemble could not run there, MissingExtraError without Hera.
        """
        from quorate.argo.render import workflow_template

        return workflow_template(self)

    def submit(
        self,
        data: str | Path | None = None,
        *,
        out: str | None = None,
        parameters: Mapping[str, str] | None = None,
        upload: bool = False,
        overwrite: bool = False,
        watch: bool = False,
        namespace: str | None = None,
        server: str | None = None,
        progress: Progress | None = None,
    ) -> Submitted:
        """Run on Argo: make the cluster's template so, and start a workflow of it.

        Args:
            data: pictures instead of the spec's own: s3://…, a key in the cluster's bucket, or
                with `upload` something on this machine.
            out: folder of the cluster's bucket for the results.
            parameters: further parameters of the template.
            upload: put weights and data that lie here into the cluster's bucket first.
            overwrite: put this template in the place of one that somebody has changed there.
            watch: show the run on standard error, and come back when it has ended.
            namespace: default: the spec's, else ARGO_NAMESPACE, else the kubeconfig's.
            server: argo-server as HOST:PORT; default ARGO_SERVER, else the kubeconfig is used.
            progress: told megabytes of what is uploaded.

        Raises:
            SpecError, InputError: what could not run there.
            AccessError, ClusterError: the cluster refuses, or does not answer.
            WorkflowError: with `watch`, the run failed.
        """
        from quorate.argo.cluster.connect import connect
        from quorate.argo.runs.submit import submit

        cluster = connect(server=server, namespace=namespace or self.workflow.namespace)
        run = submit(
            self,
            cluster,
            data=None if data is None else str(data),
            out=out,
            parameters=parameters,
            upload=upload,
            overwrite=overwrite,
            progress=progress,
        )
        if watch:
            from quorate.argo.runs.watch import check, drawn, follow

            with drawn() as show:
                _, branch = follow(cluster, run.name, show)
            check(branch, cluster.options)
        return run


class DetectionEnsemble(EnsembleSpec, RunnableEnsemble):
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
        out; BusyError where another run is at work in `out`; QuorumError where too few detectors
        finished.
        """
        found: Summary = self._run(data, out, fresh=fresh, workers=workers, progress=progress)
        return found

    def load(
        self,
        *,
        labels: Labels | None = None,
        workers: int | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        servers_may_fail: bool = False,
        patience: float | None = None,
    ) -> LoadedEnsemble:
        """Load the detectors, to be asked picture by picture: `with street.load() as loaded: …`.

        Args:
            labels: the vocabulary; by default that of a run: the spec's labels with the category
                ids of its data set (which is read for them), else the data set's own, else the
                detectors' words.
            workers: threads of `look_many`; by default one for each processor.
            on_failure: told the name of a detector that failed on a picture, and why; by default
                that is a RuntimeWarning.
            servers_may_fail: a model server that does not answer costs its detector's votes, as
                another failure does; by default it is a StorageError, for the same call may
                succeed later.
            patience: seconds in which a detector has to look at a picture in `look`; one that
                takes longer costs its votes. By default there is no limit.

        Raises:
            DetectorError: weights that cannot be read; a detector of `kind: container`, which sees
                a whole shard at once and cannot be asked for one picture.
            InputError, SpecError, LabelError: as for `run`.
        """
        from quorate.steps.look import LoadedEnsemble

        return LoadedEnsemble(
            self,
            labels=labels,
            workers=workers,
            on_failure=on_failure,
            servers_may_fail=servers_may_fail,
            patience=patience,
        )

    def _repr_html_(self) -> str:
        rows = [
            {
                "detector": one.name,
                "kind": one.kind,
                "weights": getattr(one, "weights", None),
                "tta": ", ".join(one.tta),
                "tiles": one.tiles and " × ".join(map(str, one.tiles.sides)),
            }
            for one in self.detectors
        ]
        needed = f"{self.needed} of {len(self.detectors)} must finish"
        return html_table(f"{self.name}: {self.fusion.method}, {needed}", rows)


class ClassificationEnsemble(ClassificationSpec, RunnableEnsemble):
    """An ensemble of classifiers, described once, run where you like."""

    def run(
        self,
        data: str | Path | None = None,
        out: str | Path = "out",
        *,
        fresh: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> ClassSummary:
        """Run here: pictures of `data` (default: the spec's own) in, labels under `out`.

        The same call again goes on where a killed run stopped. Raises SpecError, InputError,
        DetectorError or LabelError before any work where the description cannot be carried
        out; BusyError where another run is at work in `out`; QuorumError where too few classifiers
        finished.
        """
        found: ClassSummary = self._run(data, out, fresh=fresh, workers=workers, progress=progress)
        return found

    def load(
        self,
        *,
        labels: Labels | None = None,
        workers: int | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        servers_may_fail: bool = False,
        patience: float | None = None,
    ) -> LoadedClassification:
        """Load the classifiers, to be asked picture by picture: `with street.load() as loaded: …`.

        Args:
            labels: the vocabulary; by default that of a run: the spec's labels with the category
                ids of its data set (which is read for them), else the data set's own, else the
                classifiers' words.
            workers: threads of `look_many`; by default one for each processor.
            on_failure: told the name of a classifier that failed on a picture, and why; by default
                that is a RuntimeWarning.
            servers_may_fail: a model server that does not answer costs its classifier's votes, as
                another failure does; by default it is a StorageError, for the same call may
                succeed later.
            patience: seconds in which a classifier has to look at a picture in `look`; one that
                takes longer costs its votes. By default there is no limit.

        Raises:
            DetectorError: weights that cannot be read, or that do not classify pictures.
            InputError, SpecError, LabelError: as for `run`.
        """
        from quorate.steps.look import LoadedClassification

        return LoadedClassification(
            self,
            labels=labels,
            workers=workers,
            on_failure=on_failure,
            servers_may_fail=servers_may_fail,
            patience=patience,
        )

    def _repr_html_(self) -> str:
        rows = [
            {"classifier": one.name, "kind": one.kind, "weights": getattr(one, "weights", None)}
            for one in self.classifiers
        ]
        needed = f"{self.needed} of {len(self.classifiers)} must finish"
        return html_table(f"{self.name}: {self.fusion.method}, {needed}", rows)


def read_ensemble(path: str | Path) -> DetectionEnsemble | ClassificationEnsemble:
    """The ensemble that a spec file describes, of whichever kind it is; SpecError where it is none.

    Relative paths in it are taken from the file's own folder.
    """
    found = read_spec(path, DetectionEnsemble, ClassificationEnsemble)
    return cast("DetectionEnsemble | ClassificationEnsemble", found)
