from datetime import UTC, datetime

import msgspec
import pytest

from quorate.notifications import Counts, Failure, Link, Notice
from quorate.notifications.channels import mail_message as mail
from quorate.notifications.channels import slack_message as slack
from quorate.notifications.notice import Unread, Voter, line
from quorate.spec import Email
from quorate.steps import Summary
from quorate.steps.summary import Voted

COUNTS = Counts(
    method="consensus",
    images=60,
    published=1234,
    degraded=True,
    detectors=(
        Voter("yolo", 1951, ap50=0.4321),
        Voter("frcnn", 0, failed="its weights are not there"),
    ),
    skipped=(Unread("a.jpg", "cut short"),),
)


def notice(event="degraded", **what):
    given = {"ensemble": "street", "run": "argo/street-x", "counts": COUNTS} | what
    return Notice(event=event, time=datetime(2026, 1, 2, tzinfo=UTC), **given)


def test_what_is_told_of_a_degraded_run():
    told = notice()
    assert told.title == "street is degraded: 1,234 boxes on 60 pictures without frcnn"
    assert told.lines == (
        "Run: argo/street-x",
        "Method: consensus",
        "yolo: 1,951 boxes, AP50 0.432",
        "frcnn: failed, its weights are not there",
        "Could not be read: a.jpg, cut short",
    )


def test_what_is_told_of_the_other_ends():
    failure = Failure("fuse", "1 of 3 detectors succeeded, need 2")
    failed = notice("failed", counts=None, failures=(failure,))
    assert failed.title == "street failed: 1 of 3 detectors succeeded, need 2"
    assert failed.lines[-1] == "Failed: fuse: 1 of 3 detectors succeeded, need 2"
    assert notice("failed", counts=None).title == "street failed: no part of it said why"
    assert notice("started", counts=None).title == "street started"
    good = msgspec.structs.replace(COUNTS, images=1, published=1)
    assert notice("succeeded", counts=good).title == "street succeeded: 1 box on 1 picture"


def test_long_lists_are_counted():
    lost = tuple(Unread(f"{i}.jpg", "cut") for i in range(1000))
    told = notice(counts=msgspec.structs.replace(COUNTS, skipped=lost))
    assert told.lines[-1] == "… and 995 more"
    assert len(told.lines) == 10


def test_an_event_of_a_run_keeps_its_id_and_no_other_has_it():
    one = notice(uid="u")
    later = Notice(event="degraded", ensemble="street", run="argo/street-x", uid="u")
    assert one.id == later.id
    others = [notice(uid="v"), notice("failed", uid="u"), notice(uid="u", run="argo/street-y")]
    assert len({one.id, *(other.id for other in others)}) == 4


def test_what_is_told_is_read_from_the_summary():
    summary = Summary(
        name="street",
        method="wbf",
        images=3,
        detectors=(Voted("yolo", 5, ap=0.1, ap50=0.2),),
        ensemble=Voted("ensemble", 4),
        published=4,
        votes={},
        degraded=False,
        skipped=(),
        notes=(),
        review=(),
        files=(),
    )
    counts = msgspec.json.decode(msgspec.json.encode(summary), type=Counts)
    assert counts == msgspec.convert(summary, Counts, from_attributes=True)
    assert counts == Counts("wbf", 3, 4, False, (Voter("yolo", 5, 0.2),))


EVIL = "a\r\nBcc: x@evil.example\x00\x1b[31m <!channel> & <https://evil.example|click>"


def test_a_line_is_one_line_of_plain_characters():
    assert line(EVIL).startswith("a Bcc: x@evil.example [31m <!channel>")
    assert line("x" * 700) == "x" * 599 + "…"
    assert line("grüße 漢字 🎉") == "grüße 漢字 🎉"


@pytest.mark.parametrize("place", ["ensemble", "run"])
def test_no_name_becomes_a_header(place):
    target = Email(to=("a@example.org", "b@example.org"), sender="q@example.org", host="h")
    made = mail(notice("failed", failures=(Failure(EVIL, EVIL),), **{place: EVIL}), target)
    assert made["Bcc"] is None
    headers = made.as_bytes().partition(b"\r\n\r\n")[0]
    assert not [one for one in headers.split(b"\r\n") if one.lower().startswith(b"bcc")]
    assert made["To"] == "a@example.org, b@example.org"


def test_no_name_becomes_a_link_or_a_mention_in_slack():
    links = (
        Link("<!here>", "https://argo.example/a|b>c"),
        Link("Results", "s3://bucket/a b"),
    )
    made = slack(notice("failed", ensemble=EVIL, failures=(Failure(EVIL, EVIL),), links=links))
    text = made["text"] + made["attachments"][0]["text"]
    assert "<!" not in text
    assert "<https://evil" not in text
    assert "<https://argo.example/a%7Cb%3Ec|&lt;!here&gt;>" in text
    assert "Results: s3://bucket/a b" in text


def test_mail_of_any_script_is_read_as_it_was_meant():
    target = Email(to=("a@example.org",), sender="q@example.org", host="h")
    made = mail(notice(ensemble="straße-漢字 🎉"), target)
    raw = made.as_bytes()
    assert raw.isascii()
    assert "straße-漢字 🎉 is degraded" in made["Subject"]
    assert made.get_content_type() == "text/plain"
    assert made.get_content().splitlines()[0].startswith("straße-漢字 🎉 is degraded")
    assert made["Message-ID"] == f"<{notice(ensemble='straße-漢字 🎉').id}@example.org>"
    assert max(map(len, raw.split(b"\r\n"))) <= 998
