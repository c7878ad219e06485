"""The servers that are asked: the demo's ensemble, and the fourth walk's pipeline."""

import json

import pytest

from tests.cvat.servers import started
from tests.serving.conftest import here, parts
from tests.serving.ovms.networks import walk

__all__ = ["here", "parts"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def pipeline(folder):
    with started(str(walk(folder))) as server:
        yield server


@pytest.fixture
def ask(capsys):
    """Run a command: its exit status, what it printed (as JSON where asked for), what it said."""
    from quorate.cli import main

    def run(*words):
        status = main([*map(str, words)])
        said = capsys.readouterr()
        out = json.loads(said.out) if "--json" in words and said.out else said.out
        return status, out, said.err

    return run
