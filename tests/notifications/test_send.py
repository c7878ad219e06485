"""Real receivers: what arrives, what is tried again, and what is said where nothing arrives."""

import base64
import json
import re
import time

import pytest

from quorate.notifications import Failure, Link, Notice, channels, counts_of, notify, send
from quorate.notifications.channels import signature, signing_key
from quorate.spec import Email, SecretKey, Slack, Webhook
from tests.notifications.receivers import certificate, post, slack_refuses, web
from tests.waiting import PATIENCE, until

AT_ONCE = (0.0, 0.0, 0.0)
ALL = ("started", "succeeded", "degraded", "failed")
SECRET = "XOXB-very-secret"


def failed(**what):
    failure = Failure(node="fuse 00003", message="1 of 3 detectors succeeded, need 2")
    return Notice(event="failed", ensemble="street", run="argo/street-x", failures=(failure,),
                  **what)  # fmt: skip


@pytest.fixture
def server():
    with web() as given:
        yield given


@pytest.fixture
def slack(server, monkeypatch):
    monkeypatch.setenv("QUORATE_NOTIFY_SLACK", f"{server.url}/services/{SECRET}\n")
    return Slack(url=SecretKey(secret="quorate-notify", key="slack"))


def told(notice, *targets, waits=AT_ONCE):
    return notify(notice, targets, waits=waits)


def problem(notice, target, **more):
    count, problems = told(notice, target, **more)
    assert count == 0
    (only,) = problems
    assert SECRET not in str(only)
    return str(only)


def test_slack_is_told(server, slack):
    assert told(failed(), slack) == (1, [])
    ((path, headers, body),) = server.came
    assert path == f"/services/{SECRET}"
    assert headers["content-type"] == "application/json"
    message = json.loads(body)
    assert message["text"] == "street failed: 1 of 3 detectors succeeded, need 2"
    assert "Failed: fuse 00003: 1 of 3" in message["attachments"][0]["text"]
    assert slack_refuses(headers, body) == []


def test_slack_takes_the_longest_message(server, slack):
    voters = [{"name": f"{i}", "failed": "<&>" * 900, "boxes": 0} for i in range(200)]
    counts = counts_of({"method": "wbf", "images": 1, "published": 0, "degraded": True,
                        "detectors": voters})  # fmt: skip
    links = (Link("Results", "https://argo.example/" + "x" * 900),)
    assert told(failed(counts=counts, links=links), slack) == (1, [])
    ((_, headers, body),) = server.came
    assert slack_refuses(headers, body) == []
    lines = json.loads(body)["attachments"][0]["text"].splitlines()
    assert sum(map(len, lines[:-1])) < 3050
    # 200 detectors, the run, the method and what failed: all are told or counted, the link is last.
    more = re.fullmatch("… and (\\d+) more lines", lines[-2])
    assert len(lines) - 2 + int(more[1]) == 203
    assert lines[-1].startswith("<https://argo.example/xxx")


def test_who_did_not_ask_is_not_told(server, slack):
    quiet = slack.model_copy(update={"when": ("succeeded",)})
    assert told(failed(), quiet) == (0, [])
    assert server.came == []


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_what_may_pass_is_tried_again(server, slack, status):
    server.statuses = [status, status]
    assert told(failed(), slack) == (1, [])
    assert len(server.came) == 3


def test_after_the_last_try_it_is_said_that_nobody_was_told(server, slack):
    server.statuses = [503] * 9
    assert problem(failed(), slack) == "slack was not told: it answered 503 (4 tries)."
    assert len(server.came) == 4


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"no_service", "it answered 404, no_service."),
        (400, b"Cannot POST /services/" + SECRET.encode(), "it answered 400."),
        (403, b"", "it answered 403."),
    ],
)
def test_what_stays_wrong_is_not_tried_again(server, slack, status, body, said):
    server.statuses, server.body = [status], body
    assert problem(failed(), slack) == f"slack was not told: {said}"
    assert len(server.came) == 1


def test_a_message_goes_nowhere_else(server, slack):
    server.statuses, server.headers = [307], {"Location": f"{server.url}/elsewhere"}
    assert problem(failed(), slack) == "slack was not told: it answered 307."
    assert len(server.came) == 1


def test_a_receiver_says_how_long_to_wait(server, slack, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server.statuses, server.headers = [429, 503], {"Retry-After": "7"}
    assert told(failed(), slack, waits=(1.0, 9.0)) == (1, [])
    assert slept == [7.0, 9.0]


def test_a_receiver_that_hangs_is_given_up(server, slack, monkeypatch):
    monkeypatch.setattr(channels, "TIMEOUT", 0.2)
    server.hang = PATIENCE
    assert "it did not answer within 0.2 s (2 tries)" in problem(failed(), slack, waits=(0.0,))
    until(lambda: len(server.came) == 2)


def test_nobody_there(monkeypatch):
    monkeypatch.setenv("QUORATE_NOTIFY_SLACK", f"http://127.0.0.1:9/{SECRET}")
    target = Slack(url=SecretKey(secret="quorate-notify", key="slack"))
    assert "it cannot be reached (Connection refused) (4 tries)" in problem(failed(), target)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "the secret quorate-notify/slack is not there"),
        ("  \n", "the secret quorate-notify/slack is not there"),
        (SECRET, "is not an http or https URL"),
        (f"ftp://{SECRET}", "is not an http or https URL"),
        (f"https://host/{SECRET}\r\nX: y", "is not an http or https URL"),
        (f"https://[{SECRET}", "is not an http or https URL"),
        (f"https://host:{SECRET}/", "is not an http or https URL"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(monkeypatch, value, said):
    monkeypatch.delenv("QUORATE_NOTIFY_SLACK", raising=False)
    if value is not None:
        monkeypatch.setenv("QUORATE_NOTIFY_SLACK", value)
    assert said in problem(failed(), Slack(url=SecretKey(secret="quorate-notify", key="slack")))


def test_a_webhook_is_signed_over_what_is_sent(server, monkeypatch):
    key = b"0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("Q_KEY", f"whsec_{base64.b64encode(key).decode()}")
    target = Webhook(url=f"{server.url}/hook", signing=SecretKey(secret="q", key="key"))
    server.statuses = [500]
    assert told(failed(uid="u"), target) == (1, [])
    assert len({headers["webhook-id"] for _, headers, _ in server.came}) == 1
    _, headers, body = server.came[-1]
    id_, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert id_ == failed(uid="u").id
    assert abs(int(stamp) - time.time()) < PATIENCE
    assert headers["webhook-signature"] == signature(key, id_, stamp, body)
    assert headers["webhook-signature"] != signature(key, id_, stamp, body + b" ")
    value = json.loads(body)
    assert value["type"] == "run.failed"
    assert value["data"]["failures"][0]["node"] == "fuse 00003"


def test_a_webhook_without_a_key_is_not_signed(server):
    assert told(failed(), Webhook(url=f"{server.url}/hook")) == (1, [])
    assert "webhook-signature" not in server.came[0][1]


def test_a_signature_as_standard_webhooks_makes_it():
    # The example of github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_key_that_is_no_base64(monkeypatch, server):
    monkeypatch.setenv("Q_KEY", f"whsec_{SECRET}!")
    target = Webhook(url=f"{server.url}/hook", signing=SecretKey(secret="q", key="key"))
    assert "what follows is not base64" in problem(failed(), target)
    assert server.came == []


def email(port, **more):
    given = {"to": ("a@example.org", "b@example.org"), "sender": "q@example.org"}
    return Email(**given | {"host": "localhost", "port": port} | more)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(signed, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[0]))
    monkeypatch.setenv("MAIL_PASSWORD", "opensesame")
    return {"username": "quorate", "password": SecretKey(secret="mail", key="password")}


def test_mail_without_encryption():
    with post() as server:
        assert told(failed(), email(server.port, security="none")) == (1, [])
    ((sender, recipients, message, raw),) = server.came
    assert sender == "q@example.org"
    assert recipients == ["a@example.org", "b@example.org"]
    assert message["Subject"] == "[quorate] street failed: 1 of 3 detectors succeeded, need 2"
    assert "Failed: fuse 00003: 1 of 3 detectors succeeded, need 2" in message.get_content()
    assert raw.isascii()


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_with_encryption_and_password(signed, trusted, security):
    with post(certificate=signed, tls=security == "tls", auth=True) as server:
        assert told(failed(), email(server.port, security=security, **trusted)) == (1, [])
    assert server.logins == [("quorate", "opensesame")]
    assert len(server.came) == 1


def test_a_password_goes_to_no_stranger(signed, trusted, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with post(certificate=signed, auth=True) as server:
        said = problem(failed(), email(server.port, **trusted))
    assert "the server's certificate is not trusted here" in said
    assert server.logins == []


def test_a_server_without_encryption_gets_no_mail(trusted):
    with post() as server:
        said = problem(failed(), email(server.port))
    assert "the server offers less than is asked of it" in said
    assert server.came == []


def test_a_password_that_is_refused_is_not_tried_again(signed, trusted, monkeypatch):
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)
    with post(certificate=signed, auth=True) as server:
        said = problem(failed(), email(server.port, **trusted))
    assert said == "email was not told: the server refuses the password (535)."
    assert len(server.logins) == 2  # smtplib's own two ways of one try


def test_a_recipient_who_is_refused_is_named_and_the_others_are_told():
    with post() as server:
        server.refuse["b@example.org"] = ["550 no such user"]
        said = problem(failed(), email(server.port, security="none"))
    assert said == "email was not told: the server refuses b@example.org (550)."
    assert [recipients for _, recipients, _, _ in server.came] == [["a@example.org"]]


def test_mail_is_tried_again_when_the_server_says_later():
    with post() as server:
        target = email(server.port, to=("a@example.org",), security="none")
        server.refuse["a@example.org"] = ["451 later"]
        assert told(failed(), target) == (1, [])
    assert len(server.came) == 1


def test_no_mail_server():
    said = problem(failed(), email(9, security="none"))
    assert (
        said == "email was not told: the server cannot be reached (Connection refused) (4 tries)."
    )


def test_all_are_told_though_one_is_not_there(server, slack):
    lost = Webhook(url="http://127.0.0.1:9/")
    count, problems = told(failed(), lost, slack, Webhook(url=f"{server.url}/hook"))
    assert count == 2
    assert [str(one).partition(":")[0] for one in problems] == ["webhook was not told"]
    assert len(server.came) == 2


def test_the_tries_are_over_before_a_pod_is():
    tries = len(send.WAITS) + 1
    assert sum(send.WAITS) + tries * channels.TIMEOUT < 120
