"""Several processes that train one model, each with a part of every step: one for each GPU."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable

from quorate.errors import MissingExtraError
from quorate.spec.torch_trainer import TorchTrainer

try:
    import torch
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error


def wanted(trainer: TorchTrainer) -> int:
    """How many processes there should be; 1 in a process that is one of several already."""
    if "LOCAL_RANK" in os.environ:
        return 1
    if trainer.processes is not None:
        return trainer.processes
    return max(torch.cuda.device_count(), 1) if trainer.device == "auto" else 1


def together(count: int, main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Call `main` in so many processes that know of each other; the exit status of all.

    A process that fails ends the others, and its status is that of all.
    """
    for name in list(logging.root.manager.loggerDict):  # each has a level of its own
        if name.startswith("torch"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, _one)(main, arguments)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if 0 < status < 128 else 1
    except SignalException:
        return 128 + signal.SIGTERM
    return 0


def _one(main: Callable[[list[str]], int], arguments: list[str]) -> None:
    """What each process does."""
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    if status:
        os._exit(status)
