"""The page at the server's root, in a real Chromium."""

import pytest
import requests
from PIL import Image

from tests.chromium import NEEDED, PHONE, watched
from tests.classifiers.models import colour_ensemble
from tests.cvat.servers import started
from tests.serving.conftest import PICTURES

api = pytest.importorskip("playwright.sync_api", reason="needs Playwright, of the group `test`")
pytestmark = NEEDED
LONG = 60_000


def show(one, path):
    one.locator("#file").set_input_files(path)
    api.expect(one.get_by_role("status")).to_contain_text("answered in", timeout=LONG)


def figure(one, what):
    """A live figure, by its words."""
    return one.locator(".figures div").filter(has_text=what).locator("dd").first


def test_each_detectors_boxes_stand_beside_the_decision(parts, here, chromium):
    _, answers = here
    with watched(chromium, beside={""}) as one:
        one.goto(parts.url)
        card = one.get_by_role("region", name="parts")
        api.expect(card.locator(".state")).to_have_text("ready")
        api.expect(card.locator("tbody th")).to_have_text(["yolo", "detr", "frcnn"])
        counted = figure(one, "pictures answered")
        before = int(counted.inner_text())
        show(one, PICTURES[0])
        views = one.locator(".view")
        api.expect(views.locator("h3")).to_have_text(["Decision", "yolo", "detr", "frcnn"])
        decided = answers[0].boxes
        rects = views.nth(0).locator("rect:not(.under)")
        assert rects.count() == len(decided) > 0
        # The surest is drawn last, above the others, at its place in the picture.
        last = rects.last
        got = [float(last.get_attribute(name)) for name in ("x", "y", "width", "height")]
        x1, y1, x2, y2 = decided.xyxy[0].tolist()
        assert got == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
        with Image.open(PICTURES[0]) as image:
            box = f"0 0 {image.width} {image.height}"
        assert views.nth(0).locator("svg").get_attribute("viewBox") == box
        for least in (0.3, 0.05):
            one.get_by_label("Members' boxes from score").fill(str(least))
            for place, name in enumerate(("yolo", "detr", "frcnn"), 1):
                number = sum(answers[0].own[name].score >= least)
                assert views.nth(place).locator("rect:not(.under)").count() == number > 0
            assert rects.count() == len(decided)
        # The overlay lies on the picture.
        img, svg = (
            views.nth(0).locator(f".picture {tag}").bounding_box() for tag in ("img", "svg")
        )
        assert img == pytest.approx(svg, abs=1)
        api.expect(counted).to_have_text(str(before + 1), timeout=10_000)


def test_a_picture_may_be_dropped(parts, chromium):
    with watched(chromium, beside={""}) as one:
        one.goto(parts.url)
        api.expect(one.locator("#try")).to_be_visible()
        data = one.evaluate_handle(
            """bytes => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg"));
            return data; }""",
            [*PICTURES[1].read_bytes()],
        )
        one.dispatch_event("#drop", "drop", {"dataTransfer": data})
        api.expect(one.get_by_role("status")).to_contain_text(
            "dropped.jpg: answered in", timeout=LONG
        )
        assert one.locator(".view").count() == 4


def test_a_file_that_is_no_picture_is_told(parts, chromium, tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_text("nothing")
    with watched(chromium, beside={""}, refused=1) as one:
        one.goto(parts.url)
        one.locator("#file").set_input_files(path)
        api.expect(one.get_by_role("status")).to_contain_text("bad.jpg: ", timeout=LONG)
        api.expect(one.get_by_role("status")).not_to_contain_text("looks at")
        assert one.locator(".view").count() == 0


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A classification ensemble that knows three colours."""
    with started(str(colour_ensemble(tmp_path_factory.mktemp("colour")))) as server:
        yield server


def test_labels_have_bars(colour, chromium, tmp_path):
    path = tmp_path / "green.png"
    Image.new("RGB", (64, 48), (0, 255, 0)).save(path)
    with watched(chromium, beside={""}) as one:
        one.goto(colour.url)
        show(one, path)
        views = one.locator(".view")
        api.expect(views.locator("h3")).to_have_text(["Decision", "sure", "unsure"])
        for place in range(3):
            rows = views.nth(place).locator(".bars li")
            assert rows.count() == 3
            assert rows.first.locator("b").inner_text() == "green"
            said = float(rows.first.locator("span").inner_text())
            bar, fill = (rows.first.locator(of).bounding_box()["width"] for of in (".bar", "i"))
            assert fill / bar == pytest.approx(said, abs=0.02)
        assert said < float(views.nth(1).locator(".bars span").first.inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(parts, chromium, scheme):
    with watched(chromium, beside={""}, viewport=PHONE, color_scheme=scheme) as one:
        one.goto(parts.url)
        show(one, PICTURES[0])
        for within in ("html", ".card .scroll"):
            each = one.locator(within).evaluate_all(
                "e => e.map(e => e.scrollWidth - e.clientWidth)"
            )
            assert max(each) <= 0, within
        ground = one.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(251, 251, 249)", "dark": "rgb(16, 21, 20)"}[scheme]


def test_a_token_is_asked_for_and_a_failed_member_is_told(puppets, chromium, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    with (
        puppets.start("--token-file", str(tmp_path / "token")) as server,
        watched(chromium, beside={""}, refused=3) as one,
    ):
        assert requests.get(f"{server.url}/metrics").status_code == 401
        one.goto(server.url)
        field = one.get_by_label("This server asks for a token")
        field.fill("wrong")
        field.press("Enter")
        api.expect(one.get_by_role("alert")).to_have_text("That is not the token.")
        field.fill("open-sesame")
        field.press("Enter")
        api.expect(one.locator(".state")).to_have_text("ready")
        api.expect(field).to_be_hidden()
        puppets.tell("b", "fail")
        one.locator("#file").set_input_files(puppets.folder / "0.png")
        api.expect(one.get_by_role("status")).to_contain_text("degraded", timeout=LONG)
        assert one.locator("#answer h3").all_inner_texts() == ["Decision", "a", "b", "c"]
        told = one.locator("#answer .alarm").inner_text()
        assert told.startswith("took no part: ")
        assert "c:" not in told
        api.expect(figure(one, "degraded")).to_have_text("1", timeout=10_000)


def test_the_page_is_told_what_it_may_load(parts):
    answer = requests.get(parts.url)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    for path in ("/page.css", "/page.js", "/icon.svg"):
        assert requests.get(parts.url + path).status_code == 200
