import pytest

from quorate.cvat import Client
from tests.cvat.real import Real


@pytest.fixture
def real(monkeypatch, tmp_path):
    """A real CVAT; what a test makes there goes away with it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    server = Real(Client.connect())
    yield server
    server.close()
