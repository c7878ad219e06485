"""quorate serve: ensembles as the models of CVAT's automatic annotation."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.arguments import count, number

if TYPE_CHECKING:
    from typing import Any


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    serve = commands.add_parser(
        "serve",
        description="Answer as the Nuclio dashboard that CVAT asks: every ensemble is a model in "
        "CVAT's automatic annotation, and its boxes are those of `quorate run`. CVAT's server and "
        "its annotation worker need CVAT_NUCLIO_HOST, CVAT_NUCLIO_PORT and "
        "CVAT_NUCLIO_INVOKE_METHOD=dashboard. The page at / shows what went wrong.",
    )
    serve.add_argument(
        "--cvat", nargs="+", required=True, metavar="SPEC", help="spec files (YAML), a model each"
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1); CVAT says nothing of who asks, so let "
        "CVAT alone reach it",
    )
    serve.add_argument(
        "--port", type=port, default=8070, help="port to listen at (default: 8070); 0: any"
    )
    serve.add_argument(
        "--workers", type=count, help="frames looked at at once (default: one for each processor)"
    )
    serve.add_argument(
        "--upstream", metavar="URL", help="a real Nuclio dashboard, for what is not served here"
    )
    serve.add_argument(
        "--timeout",
        type=seconds,
        default=110,
        help="seconds after which a frame is given up, without boxes (default: 110; CVAT's own "
        "limit is 120)",
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
    from quorate.cvat.nuclio.serving import serve
    from quorate.ensemble import DetectionEnsemble
    from quorate.report.markup import counted

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, force=True)
    ensembles = [DetectionEnsemble.from_yaml(spec) for spec in arguments.cvat]
    serve(
        ensembles,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        upstream=arguments.upstream,
        timeout=arguments.timeout,
        ready=lambda url: note(f"{counted(len(ensembles), 'model')} for CVAT at {url}"),
    )
