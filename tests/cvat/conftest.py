import pytest

from quorate.cvat import Client
from tests.cvat.real import Real
from tests.cvat.server import TOKEN, Cvat, serving


@pytest.fixture
def cvat(monkeypatch, tmp_path):
    """A server that answers as CVAT does; nothing of the environment leads to another."""
    for name in ("CVAT_URL", "CVAT_ACCESS_TOKEN", "CVAT_USERNAME", "CVAT_ORGANIZATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("quorate.cvat.client.FIRST_WAIT", 0.01)
    with serving(Cvat()) as server:
        yield server


@pytest.fixture
def client(cvat):
    return Client.connect(cvat.url, access_token=TOKEN)


@pytest.fixture
def real(monkeypatch, tmp_path):
    """A real CVAT; what a test makes there goes away with it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    server = Real(Client.connect())
    yield server
    server.close()
