"""quorate detect, classify, bench: ask a model server about pictures, and measure it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import count, expanded, number, pairs
from quorate.cli.output import note, print_json, print_table, warn
from quorate.errors import InputError, QuorateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quorate.client.answers import Boxes, Label
    from quorate.client.load import Load
    from quorate.client.model import Model
    from quorate.client.truth import Truth

PERCENT = 100


def add_commands(commands: Any) -> None:
    """Add these commands."""
    detect = commands.add_parser(
        "detect",
        description="Send pictures to a server of the Open Inference Protocol, one after the "
        "other, and print the boxes with the time that each took: to `quorate serve`, or to any "
        "server with a network whose outputs `kind: remote` knows.",
    )
    classify = commands.add_parser(
        "classify",
        description="Send pictures to a server of the Open Inference Protocol, one after the "
        "other, and print the label with the time that each took, and of all of them the figures.",
    )
    bench = commands.add_parser(
        "bench",
        description="Measure a server of the Open Inference Protocol under load. Closed loop: "
        "--clients ask again once they are answered. Open loop: --rate requests a second, "
        "whether or not earlier ones are answered, each timed from the moment at which it was "
        "due. Refused requests are counted by their status, and are no part of the latency.",
    )
    for command, pictures in ((detect, "+"), (classify, "+"), (bench, "*")):
        _add_common(command, pictures)
    for command in (classify, bench):
        command.add_argument(
            "--truth",
            metavar="FILE",
            help="the right labels, for the accuracy: a line each with a picture's file name, a "
            "comma or blanks, and its label or the label's number",
        )
    add = bench.add_argument
    add("--clients", type=count, default=1, help="closed loop: requests at once (default: 1)")
    add("--rate", type=_above_0, metavar="HZ", help="open loop: requests a second")
    add("--seconds", type=_above_0, default=10.0, help="how long (default: 10)")
    add("--requests", type=count, help="how many, instead of how long")
    add("--warm-up", type=int, default=5, metavar="N", help="requests before (default: 5)")
    add(
        "--shape",
        action="append",
        default=[],
        metavar="INPUT=SIZES",
        help="without pictures: the sizes of an input for made numbers, as in x=1,3,224,224",
    )
    add("--chart", metavar="FILE.svg", help="draw the distribution of the latency as well")
    detect.set_defaults(command=_detect)
    classify.set_defaults(command=_classify)
    bench.set_defaults(command=_bench)


def _add_common(command: argparse.ArgumentParser, pictures: str) -> None:
    add = command.add_argument
    add("url", help="the server: http://, https://, grpc:// or grpcs://")
    add("pictures", nargs=pictures, default=[], help="files, local or s3://; globs")
    add("--model", metavar="NAME", help="the model (default: the server's only one)")
    add(
        "--names",
        metavar="FILE",
        help="the labels' names in the order of their numbers, for a model that tells numbers: a "
        "file, or coco, coco91, voc",
    )
    add("--timeout", type=_above_0, default=60.0, help="seconds for an answer (default: 60)")
    add(
        "--header",
        action="append",
        default=[],
        metavar="HEADER=VARIABLE",
        help="a header of every request, and the environment variable that holds its value, such "
        "as Authorization=MODEL_TOKEN",
    )
    add("--tls-ca", metavar="FILE", help="authorities to trust instead of the system's (PEM)")
    pixels = command.add_argument_group(
        "for models that take pixels rather than files",
        "Pictures are resized to the model's input, and each value becomes "
        "(value * scale - mean) / std.",
    )
    add = pixels.add_argument
    add("--scale", type=_above_0, help="default: 1/255, which gives 0..1; 1 gives 0..255")
    add("--mean", type=_three, metavar="R,G,B", help="default: 0,0,0")
    add("--std", type=_three, metavar="R,G,B", help="default: 1,1,1")
    add("--channels", choices=("rgb", "bgr"), help="their order (default: rgb)")
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _above_0(text: str) -> float:
    if not 0 < (value := number(text)) < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def _three(text: str) -> tuple[float, float, float]:
    found = [number(one) for one in text.split(",")]
    if len(found) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers, such as 104,117,123")
    return found[0], found[1], found[2]


def _find(arguments: argparse.Namespace, *, concurrency: int = 1) -> Model:
    from quorate.client.model import Model
    from quorate.detectors.tensors.preprocess import Normalisation

    said = {
        name: value
        for name in ("scale", "mean", "std", "channels")
        if (value := getattr(arguments, name)) is not None
    }
    if 0.0 in said.get("std", ()):
        raise InputError("--std: nothing can be divided by 0.")
    return Model.find(
        arguments.url,
        arguments.model,
        connection={
            "concurrency": concurrency,
            "request_timeout": arguments.timeout,
            "headers": pairs("--header", arguments.header, "HEADER=VARIABLE"),
            "tls_ca": arguments.tls_ca,
        },
        pixels=Normalisation(**said),
        names=arguments.names,
    )


def _files(arguments: argparse.Namespace) -> dict[str, bytes]:
    from quorate.storage import read_bytes

    return {path: read_bytes(path) for path in expanded(arguments.pictures)}


def _detect(arguments: argparse.Namespace) -> None:
    model = _find(arguments)
    asked = model.detector()
    found = {path: asked.look(file, path) for path, file in _files(arguments).items()}
    told: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for path, (boxes, seconds) in found.items():
        if isinstance(boxes, QuorateError):
            told.append({"picture": path, "error": boxes.message})
            continue
        times = _times(seconds)
        of = [
            {"label": b.label, "score": b.score, "bbox": [*b.xyxy], "votes": b.votes}
            for b in boxes.boxes
        ]
        told.append({"picture": path, **times, "failed": [*boxes.failed], "boxes": of})
        rows += [
            {
                "picture": path,
                "label": b.label,
                "score": b.score,
                **({} if b.votes is None else {"votes": b.votes}),
                **dict(zip(("x1", "y1", "x2", "y2"), map(round, b.xyxy), strict=True)),
            }
            for b in boxes.boxes
        ]
        pictures.append({"picture": path, "boxes": len(boxes.boxes), **times})
    summary = {"model": model.spec.model, **_took(found)}
    if arguments.json:
        print_json({"pictures": told, "summary": summary})
    else:
        print_table(rows, title=model.spec.origin)
        print_table(pictures)
        _print_figures(summary)
    _complain(found)


def _classify(arguments: argparse.Namespace) -> None:
    model, truth = _find(arguments), _truth(arguments)
    asked = model.classifier()
    found = {path: asked.look(file, path) for path, file in _files(arguments).items()}
    told: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    rights: list[bool | None] = []
    for path, (label, seconds) in found.items():
        if isinstance(label, QuorateError):
            told.append({"picture": path, "error": label.message})
            continue
        right = truth.right(path, label) if truth else None
        rights.append(right)
        row = {"picture": path, "label": label.label, "index": label.index, "score": label.score}
        told.append({**row, "correct": right, **_times(seconds), "failed": [*label.failed]})
        word = {None: "–", True: "correct", False: f"not {truth and truth.of(path)}"}[right]
        rows.append({**row, **({"truth": word} if truth else {}), **_times(seconds)})
    summary = {"model": model.spec.model, **_took(found), **(_accuracy(rights) if truth else {})}
    if arguments.json:
        print_json({"pictures": told, "summary": summary})
    else:
        print_table(rows, title=model.spec.origin)
        _print_figures(summary)
    _complain(found)


def _took(found: Mapping[str, tuple[object, float]]) -> dict[str, Any]:
    """How many pictures were answered, and how long they took."""
    took = [seconds for one, seconds in found.values() if not isinstance(one, QuorateError)]
    return {"pictures": len(took), **_figures(took)}


def _accuracy(rights: Sequence[bool | None]) -> dict[str, Any]:
    """The share of right labels, and of how many pictures it is."""
    from quorate.client.truth import accuracy

    return {"accuracy": accuracy(rights), "labelled": sum(one is not None for one in rights)}


def _truth(arguments: argparse.Namespace) -> Truth | None:
    from quorate.client.truth import Truth

    return Truth.read(arguments.truth) if arguments.truth else None


def _times(seconds: float) -> dict[str, float]:
    return {"ms": 1000 * seconds, "frames_per_second": 1 / seconds if seconds else 0.0}


def _figures(seconds: Sequence[float]) -> dict[str, Any]:
    """The latency, and frames a second of one client that asks without a pause."""
    from quorate.client.load import Latency

    latency = Latency.of(seconds)
    if latency is None:
        return {"latency_ms": None, "frames_per_second": None}
    return {"latency_ms": latency._asdict(), "frames_per_second": 1000 / latency.mean}


def _print_figures(summary: Mapping[str, Any]) -> None:
    """One figure a row, latency first."""
    latency = summary["latency_ms"] or {}
    names = {"deviation": "standard deviation", "variance": "variance"}
    rows = [
        {"figure": f"{names.get(name, name)}, ms{'²' * (name == 'variance')}", "value": value}
        for name, value in latency.items()
    ]
    for name, value in summary.items():
        if name == "accuracy":
            share = "–" if value is None else f"{PERCENT * value:.2f} %"
            rows.append({"figure": f"accuracy, of {summary['labelled']} labelled", "value": share})
        elif name not in ("latency_ms", "model", "labelled", "refused", "failed"):
            rows.append({"figure": name.replace("_", " "), "value": value})
    for kind in ("refused", "failed"):
        rows += [
            {"figure": f"{kind}: {why}", "value": value}
            for why, value in summary.get(kind, {}).items()
        ]
    print_table(rows)


def _complain(found: Mapping[str, tuple[Boxes | Label | QuorateError, float]]) -> None:
    """Say which pictures were decided without a member, and fail where some have no answer."""
    errors = []
    for path, (answer, _) in found.items():
        if isinstance(answer, QuorateError):
            warn(f"{path}: {answer.message}")
            errors.append(answer)
        elif answer.failed:
            warn(f"{path}: decided without {', '.join(answer.failed)}")
    if errors:
        raise type(errors[0])(f"{len(errors)} of {len(found)} pictures have no answer.")


def _bench(arguments: argparse.Namespace) -> None:
    from quorate.client.load import MOST_AT_ONCE, asking, closed, opened

    model = _find(arguments, concurrency=MOST_AT_ONCE if arguments.rate else arguments.clients)
    truth = _truth(arguments)
    files = _files(arguments)
    shapes = pairs("--shape", arguments.shape, "INPUT=SIZES", "for example x=1,3,224,224")
    if files and shapes:
        raise InputError("--shape is for made numbers; pictures have shapes of their own.")
    if truth and not files:
        raise InputError("--truth needs pictures.")
    asked = model.classifier() if truth else None
    shown = [model.tensors(file, path) for path, file in files.items()] or [_made(model, shapes)]
    outputs = asked.outputs if asked else model.outputs()
    ask = asking(model.network.client, outputs, shown)
    for one in range(max(arguments.warm_up, 0)):
        model.network.run(outputs, shown[one % len(shown)])
    how = {"seconds": arguments.seconds, "most": arguments.requests, "keep": truth is not None}
    if arguments.rate:
        load = opened(ask, rate=arguments.rate, **how)
    else:
        load = closed(ask, clients=arguments.clients, **how)
    summary = _summed(model, arguments, load)
    if asked and truth:
        paths = [*files]
        rights = [
            truth.right(paths[number % len(paths)], asked.read(answer))
            for number, answer in load.answers.items()
        ]
        summary |= _accuracy(rights)
    if arguments.json:
        print_json(summary)
    else:
        head = {name: summary[name] for name in ("requests", "answered", "seconds")}
        print_table([{"model": model.spec.origin, "loop": summary.pop("loop"), **head}])
        _print_figures(summary)
    if arguments.chart and load.seconds:
        _draw(arguments.chart, model, load)
    if not load.seconds:
        raise InputError(
            "No request was answered.", hint="the reasons, and how many each, stand above"
        )


def _summed(model: Model, arguments: argparse.Namespace, load: Load) -> dict[str, Any]:
    loop = (
        f"open, {arguments.rate:g}/s" if arguments.rate else f"closed, {arguments.clients} at once"
    )
    answered = len(load.seconds)
    return {
        "model": model.spec.model,
        "loop": loop,
        **_figures(load.seconds),
        "frames_per_second": answered / load.elapsed if load.elapsed else 0.0,
        "requests": load.requests,
        "answered": answered,
        "seconds": load.elapsed,
        "refused": dict(load.refused),
        "failed": dict(load.failed),
    }


def _made(model: Model, shapes: Mapping[str, str]) -> Mapping[str, Any]:
    """What is sent where no pictures are given."""
    if model.takes_files:
        raise InputError("The model takes pictures: give some.")
    sizes = {}
    for name, text in shapes.items():
        parts = text.split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise InputError(f"--shape {name}={text}: sizes are whole numbers, as in 1,3,224,224.")
        sizes[name] = [int(part) for part in parts]
    return model.made(sizes)


def _draw(path: str, model: Model, load: Load) -> None:
    from quorate.client.load import Latency
    from quorate.report.distribution import distribution_svg
    from quorate.storage import write_bytes

    latency = Latency.of(load.seconds)
    assert latency is not None
    marks = {name: getattr(latency, name) for name in ("median", "mean", "p90", "p99")}
    ms = [1000 * one for one in load.seconds]
    svg = distribution_svg(ms, marks, title=f"Latency of {model.spec.origin}")
    write_bytes(path, svg.encode())
    note(f"wrote {path}")
