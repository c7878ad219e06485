"""quorate serve: ensembles behind a server, for any client or for CVAT."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.arguments import count, number
from quorate.errors import InputError

if TYPE_CHECKING:
    from typing import Any


LIMITS = {
    "member_timeout": "member_seconds",
    "max_request": "request_bytes",
    "max_pictures": "pictures",
    "max_pixels": "pixels",
    "queue": "waiting",
    "memory": "memory",
    "model_control": "control",
}
"""Options that are limits, and the fields of `quorate.serving.values.Limits` that they set."""
CVAT_ALONE = ("workers", "upstream")
OPEN_ALONE = ("grpc_port", *LIMITS, "token_file", "tls_cert", "tls_key")
"""Options of one of the two servers."""


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
    limits = serve.add_argument_group("limits and access")
    limits.add_argument(
        "--member-timeout",
        type=seconds,
        help="seconds after which a detector costs its vote (default: half of --timeout)",
    )
    limits.add_argument(
        "--max-request", type=megabytes, metavar="MIB", help="largest request (default: 64)"
    )
    limits.add_argument(
        "--max-pictures", type=count, metavar="N", help="pictures of a request (default: 32)"
    )
    limits.add_argument(
        "--max-pixels",
        type=count,
        metavar="N",
        help="pixels of a picture, before it is decoded (default: 50000000)",
    )
    limits.add_argument(
        "--queue",
        type=count,
        metavar="N",
        help="pictures that wait for an ensemble; what comes then is refused (default: 64)",
    )
    limits.add_argument(
        "--memory",
        type=megabytes,
        metavar="MIB",
        help="of all requests that are being answered (default: 1024)",
    )
    limits.add_argument(
        "--model-control", action="store_true", help="let clients load and unload models"
    )
    limits.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with a token, which all but health checks have to bear",
    )
    limits.add_argument("--tls-cert", metavar="FILE", help="certificate (PEM) for both protocols")
    limits.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
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


def megabytes(text: str) -> int:
    """A number of MiB, in bytes."""
    return count(text) << 20


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
    for option in CVAT_ALONE if arguments.specs else OPEN_ALONE:
        if getattr(arguments, option) not in (None, False):
            meant = "goes with --cvat alone" if arguments.specs else "does not go with --cvat"
            raise InputError(f"--{option.replace('_', '-')} {meant}.")
    if arguments.cvat:
        from quorate.cvat.nuclio.serving import PORT, TIMEOUT
        from quorate.cvat.nuclio.serving import serve as serve_cvat

        ensembles = [DetectionEnsemble.from_yaml(spec) for spec in arguments.cvat]
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
    _serve_all(arguments)


def _serve_all(arguments: argparse.Namespace) -> None:
    import logging

    from quorate.cli.output import note
    from quorate.report.markup import counted
    from quorate.serving.access import Access, read_tls, read_token
    from quorate.serving.serve import PORT, RPC_PORT, serve
    from quorate.serving.values import Limits
    from quorate.serving.watching import JsonLines

    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    logging.basicConfig(handlers=[lines], level=logging.WARNING, force=True)
    more, less = logging.INFO, logging.WARNING
    logging.getLogger("quorate.serving").setLevel(more if arguments.verbose else less)
    often = logging.DEBUG if arguments.verbose else more
    logging.getLogger("quorate.serving.requests").setLevel(less if arguments.quiet else often)
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise InputError("--tls-cert and --tls-key belong together.")
    whole = arguments.timeout or Limits.seconds
    limits: dict[str, Any] = {"seconds": whole, "member_seconds": whole / 2}
    for option, field in LIMITS.items():
        if value := getattr(arguments, option):
            limits[field] = value
    serve(
        arguments.specs,
        host=arguments.host,
        port=PORT if arguments.port is None else arguments.port,
        rpc_port=RPC_PORT if arguments.grpc_port is None else arguments.grpc_port,
        limits=Limits(**limits),
        access=Access(
            token=arguments.token_file and read_token(arguments.token_file),
            tls=arguments.tls_cert and read_tls(arguments.tls_cert, arguments.tls_key),
        ),
        ready=lambda rest, rpc: note(
            f"{counted(len(arguments.specs), 'ensemble')} at {rest} and {rpc}"
        ),
    )
