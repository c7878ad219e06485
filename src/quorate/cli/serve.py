"""quorate serve: ensembles behind a server, for any client or for CVAT."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.arguments import count, number
from quorate.errors import InputError

if TYPE_CHECKING:
    from typing import Any


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    serve = commands.add_parser(
        "serve",
        description="Answer the Open Inference Protocol, version 2, as KServe and Triton do: every "
        "ensemble is a model, and each of its detectors one, called ENSEMBLE.DETECTOR. A picture "
        "goes in, and the boxes of `quorate run` come out. With --cvat, answer as the Nuclio "
        "dashboard that CVAT asks: every ensemble is a model in CVAT's automatic annotation. "
        "CVAT's server and its annotation worker need CVAT_NUCLIO_HOST, CVAT_NUCLIO_PORT and "
        "CVAT_NUCLIO_INVOKE_METHOD=dashboard; the page at / shows what went wrong.",
    )
    serve.add_argument(
        "specs",
        nargs="*",
        help="spec files (YAML), a model each; or a config.json of OpenVINO Model Server, whose "
        "models and pipelines are served",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1); CVAT says nothing of who asks, so let "
        "CVAT alone reach it",
    )
    serve.add_argument(
        "--port",
        type=port,
        help="port to listen at (default: 8080, with --cvat 8070); 0: any",
    )
    serve.add_argument(
        "--grpc-port", type=port, help="port to listen at for gRPC (default: 8081); 0: any"
    )
    serve.add_argument(
        "--timeout",
        type=seconds,
        help="seconds after which a request is given up (default: 60, with --cvat 110, where a "
        "frame has no boxes then; CVAT's own limit is 120)",
    )
    cvat = serve.add_argument_group("for CVAT")
    cvat.add_argument("--cvat", nargs="+", metavar="SPEC", help="spec files (YAML), a model each")
    cvat.add_argument(
        "--workers", type=count, help="frames looked at at once (default: one for each processor)"
    )
    cvat.add_argument(
        "--upstream", metavar="URL", help="a real Nuclio dashboard, for what is not served here"
    )
    serve.set_defaults(command=_serve)


def port(text: str) -> int:
    """A port, 0 to 65535."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port, a number from 0 to 65535")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    if not 0 < (value := number(text)) < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds, such as 110")
    return value


def _serve(arguments: argparse.Namespace) -> None:
    import logging

    from quorate.cli.output import note
    from quorate.ensemble import DetectionEnsemble
    from quorate.report.markup import counted

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, force=True)
    if bool(arguments.specs) == bool(arguments.cvat):
        raise InputError(
            "Nothing says what is served."
            if not arguments.specs
            else "One server answers either CVAT or everybody.",
            hint="quorate serve spec.yaml, or quorate serve --cvat spec.yaml",
        )
    if arguments.cvat:
        ensembles = [DetectionEnsemble.from_yaml(spec) for spec in arguments.cvat]
        from quorate.cvat.nuclio.serving import PORT, TIMEOUT
        from quorate.cvat.nuclio.serving import serve as serve_cvat

        serve_cvat(
            ensembles,
            host=arguments.host,
            port=PORT if arguments.port is None else arguments.port,
            workers=arguments.workers,
            upstream=arguments.upstream,
            timeout=arguments.timeout or TIMEOUT,
            ready=lambda url: note(f"{counted(len(ensembles), 'model')} for CVAT at {url}"),
        )
        return
    from quorate.serving.ovms.config import Configuration
    from quorate.serving.serve import PORT as REST_PORT
    from quorate.serving.serve import RPC_PORT, serve
    from quorate.serving.values import Limits

    sources = [
        Configuration.from_json(path)
        if path.endswith(".json")
        else DetectionEnsemble.from_yaml(path)
        for path in arguments.specs
    ]
    serve(
        sources,
        host=arguments.host,
        port=REST_PORT if arguments.port is None else arguments.port,
        rpc_port=RPC_PORT if arguments.grpc_port is None else arguments.grpc_port,
        limits=Limits(seconds=arguments.timeout or Limits.seconds),
        ready=lambda rest, rpc: note(f"{counted(len(sources), 'ensemble')} at {rest} and {rpc}"),
    )
