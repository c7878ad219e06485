"""The demo's ensemble behind the server, and what the same ensemble says here."""

import pytest

from quorate.ensemble import DetectionEnsemble
from tests.cvat.local import PARTS
from tests.cvat.servers import started
from tests.serving.puppets import Puppets, install

PICTURES = sorted((PARTS / "images").glob("bench-card/*.jpg"))[:3]


@pytest.fixture(scope="session")
def parts():
    with started(str(PARTS / "spec.yaml")) as server:
        yield server


@pytest.fixture(scope="session")
def here():
    """The answers of the loaded ensemble to `PICTURES`, with the detectors' own."""
    with DetectionEnsemble.from_yaml(PARTS / "spec.yaml").load() as loaded:
        yield loaded, loaded.answers([one.read_bytes() for one in PICTURES])


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install(folder)
    return folder


@pytest.fixture
def puppets(tmp_path, plugins):
    return Puppets(tmp_path, plugins)
