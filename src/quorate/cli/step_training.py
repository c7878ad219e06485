"""quorate step: those of a training, as a runner of containers calls them."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import pairs
from quorate.cli.output import note, notes
from quorate.cli.pod import Progress, in_bucket, kept_at, tell_truth
from quorate.errors import InputError, QuorateError

if TYPE_CHECKING:
    from quorate.spec.training import Training
    from quorate.training.work import TrainingWork


def add_step(steps: Any, name: str, command: Any, what: str) -> Any:
    """Add a step; what adds its options."""
    one = steps.add_parser(name, help=what, description=what)
    one.set_defaults(command=command)
    return one.add_argument


def add_steps(steps: Any) -> None:
    """Add the steps of a training."""
    add = partial(add_step, steps)

    def over_work(name: str, command: Any, what: str) -> Any:
        option = add(name, command, what)
        option("spec", help="training (YAML), as given or as split resolved it")
        option("--work", required=True, help="the folder of the training")
        return option

    option = add(
        "train", _train, "train one detector of ours on the folder that `quorate train` prepared"
    )
    option("--data", metavar="DIR", help="the folder to read (default: QUORATE_DATA)")
    option("--out", metavar="DIR", help="the folder to write (default: QUORATE_OUT)")
    option(
        "--checkpoint",
        metavar="PLACE",
        help="S3 prefix, key of QUORATE_BUCKET or absolute path of a folder that keeps what it "
        "goes on from, so that another machine does",
    )

    option = over_work("split", _split, "read labelled pictures, and hold some out")
    option(
        "--data",
        help="labelled pictures, instead of the spec's own `data`; where QUORATE_BUCKET is set, a "
        "location without a scheme is a key in that bucket",
    )
    option("--epochs", default="", help="of every trainer; empty: as the spec says")
    option("--batch-size", default="", help="of every trainer; empty: as the spec says")
    option(
        "--checkpoint",
        default="",
        help="what every trainer begins with; empty: as the spec says. In a folder with folders "
        "named as trainers, each has its own",
    )
    option("--hyperparameters", default="", metavar="LINES", help="further settings of trainers: "
           "NAME: VALUE or NAME=VALUE, one a line")  # fmt: skip
    option("--classes", default="", metavar="N", help="how many labels the data should have")

    option = over_work("give", _give, "put what a trainer is given where its container finds it")
    option("--trainer", required=True, help="which trainer of the spec")
    option("--checkpoints", metavar="PLACE", help="where a killed pod's checkpoint is kept: it is "
           "put into the trainer's folder")  # fmt: skip

    option = add(
        "keep-checkpoints", _keep, "copy each checkpoint of a trainer to storage, until it ends"
    )
    option("--out", required=True, help="the folder that the trainer writes")
    option("--checkpoints", required=True, metavar="PLACE",
           help="S3 prefix, key of QUORATE_BUCKET or path of a folder")  # fmt: skip

    option = over_work("evaluate", _evaluate, "check what a trainer left, and measure it")
    option("--trainer", required=True, help="which trainer of the spec")
    option("--checkpoints", metavar="PLACE", help="where its checkpoints were kept: they are "
           "removed when it has left a detector")  # fmt: skip
    _of_workflow(option)

    option = over_work("compare", _compare, "measure the trained detectors against each other")
    option("-o", "--out", required=True, help="folder for the results")
    option("--degraded", metavar="FILE", help="write true to a file where a trainer failed, or "
           "false")  # fmt: skip
    option(
        "--status",
        metavar="NAME=STATUS",
        action="append",
        default=[],
        help="how a trainer's task ended, in Argo's words; may be repeated",
    )
    _of_workflow(option)

    option = add("release", _release, "copy the best detector of a training to the model store")
    option("results", help="folder that compare wrote")
    option("--to", required=True, metavar="PLACE", help="the model store: a folder or s3://")
    option("--run", required=True, metavar="NAME", help="the folder in it, which is this run's")

    option = add("predict", _predict, "find boxes on pictures with a detector that was trained")
    option("spec", help="the training (YAML)")
    option("--work", required=True, help="a folder of its own")
    option("--data", required=True, help="pictures, or a data set")
    option("--detector", required=True, metavar="PLACE", help="the folder with its detector.json")
    option("-o", "--out", required=True, help="folder for the annotations")
    option("--degraded", metavar="FILE", help="write false to a file")
    option("--workers", type=int, help="threads (default: one per processor)")


def _of_workflow(option: Any) -> None:
    option("--workflow", default="", metavar="NAME", help="the workflow that this is a step of")
    option("--namespace", default="", help="the workflow's namespace")


def _given(arguments: argparse.Namespace) -> tuple[Training, TrainingWork]:
    import os
    from pathlib import Path

    from quorate import pictures
    from quorate.spec.training import Training
    from quorate.training.work import TrainingWork

    # Absolute, so that a spec that is written down again means the same files elsewhere.
    training = Training.from_yaml(os.path.abspath(arguments.spec))
    pictures.allow(training.max_pixels)
    return training, TrainingWork(Path(arguments.work))


def _train(arguments: argparse.Namespace) -> None:
    import os
    from pathlib import Path

    data = arguments.data or os.environ.get("QUORATE_DATA")
    out = arguments.out or os.environ.get("QUORATE_OUT")
    if not data or not out:
        raise InputError(
            "It is not said where the data is, and where the detector goes.",
            hint="--data DIR --out DIR, or QUORATE_DATA and QUORATE_OUT",
        )
    import atexit

    atexit.register(_hush)
    # Threads of torch that wait leave the processor to others; libgomp reads it as it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from quorate.training.torch.processes import together, wanted
    from quorate.training.torch.train import read_trainer, train

    if (count := wanted(read_trainer(Path(data)))) > 1:
        from quorate.cli import main

        again = ["step", "train", "--data", data, "--out", out]
        if arguments.checkpoint:
            again += ["--checkpoint", arguments.checkpoint]
        raise SystemExit(together(count, main, again))
    done = train(
        Path(data),
        Path(out),
        checkpoint=kept_at(arguments.checkpoint),
        progress=Progress().of,
        warn=lambda sentence: note(f"note: {sentence}"),
    )
    if done is not None:
        print(f"mAP {done.map:.4f} after {done.steps} steps")


def _hush() -> None:
    """Nothing more on standard error, whose last line says why a trainer failed.

    A compiler that torch loads lists there what it has not freed when the process ends.
    """
    import os
    import sys

    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _split(arguments: argparse.Namespace) -> None:
    from quorate.training.checks import check_checkpoints
    from quorate.training.data import prepare
    from quorate.training.parameters import changed

    training, work = _given(arguments)
    if arguments.data:
        training = training.model_copy(update={"data": in_bucket(arguments.data)})
    training = changed(
        training,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        checkpoint=in_bucket(arguments.checkpoint) if arguments.checkpoint.strip() else "",
        hyperparameters=arguments.hyperparameters,
    )
    check_checkpoints(training)
    with work.owned():
        done = prepare(training, work, progress=Progress().of)
    notes(done.notes)
    if arguments.classes and arguments.classes != str(len(done.labels)):
        note(f"note: {arguments.classes} classes were told of, and the data has "
             f"{len(done.labels)}: {', '.join(done.labels)}")  # fmt: skip
    print(done.title)


def _give(arguments: argparse.Namespace) -> None:
    from quorate.training.data import give
    from quorate.training.keeping import open_to_all, restore

    training, work = _given(arguments)
    trainer = training.member(arguments.trainer)
    own = work.trainer(trainer.name)
    give(trainer, work, own)
    if arguments.checkpoints and restore(in_bucket(arguments.checkpoints), own.out):
        print("it goes on from a checkpoint")
    open_to_all(own.out)


def _keep(arguments: argparse.Namespace) -> None:
    import signal
    import threading
    from pathlib import Path

    from quorate.training.keeping import keep_until

    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    place = in_bucket(arguments.checkpoints)
    keep_until(Path(arguments.out), place, stopped.is_set, lambda what: note(f"note: {what}"))


def _evaluate(arguments: argparse.Namespace) -> None:
    from quorate.notifications import Notice, counts_of, notify
    from quorate.storage import remove_tree
    from quorate.training.stages import evaluate

    training, work = _given(arguments)
    trainer = training.member(arguments.trainer)
    done = evaluate(training, work, trainer, progress=Progress().of)
    notes(done.notes)
    counts = counts_of(done.to_dict())
    notice = Notice(
        event="trained",
        ensemble=training.name,
        run="/".join(filter(None, (arguments.namespace, arguments.workflow))) or str(work.root),
        trainer=trainer.name,
        counts=counts,
    )
    for problem in notify(notice, training.notify)[1]:
        note(f"warning: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
    print(notice.title)
    if arguments.checkpoints:
        remove_tree(in_bucket(arguments.checkpoints))


def _compare(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.training.stages import compare

    training, work = _given(arguments)
    statuses = pairs("--status", arguments.status, "NAME=STATUS")
    for name in statuses:
        training.member(name)

    def ask() -> dict[str, str]:
        """Why trainers failed, by name; none where that cannot be asked."""
        from quorate.argo.runs.finish import trainer_failures

        if not arguments.workflow:
            return {}
        try:
            return trainer_failures(arguments.namespace, arguments.workflow)
        except QuorateError as error:
            note(f"note: why a trainer failed cannot be asked: {error.message}")
            return {}

    judged = compare(
        training,
        work,
        Path(arguments.out),
        statuses=statuses,
        ask=ask,
        progress=Progress().of,
    )
    failed = [one for one in judged.outcomes if one.failed is not None]
    for one in failed:
        note(f"warning: {one.name}: {one.failed.reason if one.failed else ''}")
    notes(judged.notes)
    tell_truth(arguments.degraded, failed)
    print(f"{judged.best} is best")


def _release(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.training.stages import release

    print(release(Path(arguments.results), in_bucket(arguments.to), arguments.run))


def _predict(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.cli.summary import print_summary
    from quorate.training.stages import predict
    from quorate.workers import processors

    training, _ = _given(arguments)
    if not arguments.detector.strip():
        raise InputError(
            "With what is predicted? No detector is named.",
            hint="cvat-finetune-checkpoint: the folder of a published detector",
        )
    summary = predict(
        training,
        in_bucket(arguments.detector.strip()),
        in_bucket(arguments.data),
        Path(arguments.out),
        workers=arguments.workers or processors(),
        progress=Progress().of,
    )
    tell_truth(arguments.degraded, False)
    print_summary(summary)
