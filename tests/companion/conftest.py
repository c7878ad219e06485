import textwrap
from pathlib import Path

import pytest

from quorate.companion.settings import Settings
from quorate.cvat import client
from tests.companion.visitor import Visitor, companion
from tests.cvat import puppets
from tests.cvat.local import PARTS, WORDS
from tests.cvat.server import Cvat, Someone, serving

TOLD = [{"name": name} for name in ("votes", "confidence", "run")]


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    # A token of the environment is nobody's who visits.
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "of-the-environment")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)


@pytest.fixture
def cvat():
    with serving(Cvat()) as server:
        yield server


@pytest.fixture
def pictures() -> list[Path]:
    """Six pictures of the demo."""
    return sorted((PARTS / "images").rglob("*.jpg"))[:6]


@pytest.fixture
def task(cvat, pictures) -> int:
    """A task for the demo's ensemble, of two jobs; a guest may look at it, no more."""
    labels = [{"name": name, "attributes": TOLD} for name in WORDS]
    number = cvat.add_task(pictures, labels, segment=3)
    cvat.people["guest"] = Someone(2, "pass of guests", "guest-token", frozenset(), reads={number})
    cvat.people["other"] = Someone(3, "pass of others", "other-token", frozenset())
    return number


@pytest.fixture
def settings(cvat, tmp_path) -> Settings:
    spec = str(PARTS / "spec.yaml")
    return Settings.read(None, cvat=cvat.url, specs=(spec,), state=str(tmp_path / "companion"))


@pytest.fixture
def site(settings):
    """The companion's address, and its runs."""
    with companion(settings) as both:
        yield both


@pytest.fixture
def command(cvat, tmp_path):
    """A companion of an ensemble that waits while the file `switch` says so."""
    puppets.install(tmp_path / "plugins")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        textwrap.dedent(f"""
        name: puppets
        detectors:
          - {{name: a, kind: puppet, switch: {tmp_path}/switch}}
          - {{name: b, kind: puppet, shift: 1}}
        """)
    )
    return ["--cvat", cvat.url, "--spec", str(spec), "--state", str(tmp_path / "companion")]


@pytest.fixture
def visitor(site) -> Visitor:
    """Somebody who is not signed in."""
    return Visitor(site[0])
