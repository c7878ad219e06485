"""The guide's way to verify a message accepts ours, and nothing else."""

import base64
import re
import time
from pathlib import Path

import pytest

from quorate.notifications import Notice, notify
from quorate.spec import SecretKey, Webhook
from tests.notifications.receivers import web

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "notifications.md"
SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"


@pytest.fixture
def verified():
    (code,) = re.findall(r"```python\n(import base64.*?)```", GUIDE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    return names["verified"]


@pytest.fixture
def message(monkeypatch):
    monkeypatch.setenv("Q_KEY", SECRET)
    with web() as server:
        target = Webhook(url=server.url, signing=SecretKey(secret="q", key="key"))
        notify(Notice(event="succeeded", ensemble="e", run="r"), (target,))
    ((_, headers, body),) = server.came
    return headers, body


def test_our_message_is_accepted(verified, message):
    assert verified(SECRET, *message)


def test_any_other_is_not(verified, message):
    headers, body = message
    other = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    assert not verified(other, headers, body)
    assert not verified(SECRET, headers, body + b" ")
    assert not verified(SECRET, headers | {"webhook-id": "msg_other"}, body)
    assert not verified(SECRET, headers | {"webhook-timestamp": str(int(time.time()) - 600)}, body)
