"""The pages in a real Chromium: the whole story, by keyboard, without scripts, on a phone."""

import pytest

from quorate.companion.store import Run, Step, new_id
from tests.chromium import NEEDED, PHONE, watched
from tests.companion.visitor import Process
from tests.cvat.server import PASSWORD, USER
from tests.spots import pool

api = pytest.importorskip("playwright.sync_api", reason="needs Playwright, of the group `test`")
pytestmark = NEEDED


def sign_in(one):
    one.get_by_label("User name").fill(USER)
    one.get_by_label("Password").fill(PASSWORD)
    one.get_by_role("button", name="Sign in").first.click()


def boxes(cvat, task):
    return [(s["frame"], *s["points"]) for s in cvat.drawn(task)]


def test_from_the_tasks_link_to_its_boxes(cvat, tmp_path, command, chromium):
    files = sorted(pool(tmp_path / "pool", 6).rglob("*.png"))
    task = cvat.add_task(files, ["red", "green"])
    switch = tmp_path / "switch"
    switch.write_text("hang")
    server = Process(command, tmp_path / "plugins")
    with watched(chromium, beside={"cvat.test"}) as one:
        # The task's link is one of another site, CVAT's; who is signed in, is so from there too.
        link = f'<a href="{server.url}/tasks/{task}">the task\'s link</a>'
        one.route(
            "http://cvat.test/", lambda route: route.fulfill(content_type="text/html", body=link)
        )
        for signed_in in (False, True):
            one.goto("http://cvat.test/")
            one.get_by_text("the task's link").click()
            if not signed_in:
                sign_in(one)
            one.wait_for_url(f"{server.url}/tasks/{task}")
        one.get_by_role("link", name="puppets").click()
        one.get_by_label("Frames", exact=True).fill("0-3")
        one.get_by_label("Lowest score").fill("0.1")
        one.get_by_role("button", name="Run").click()
        api.expect(one.get_by_text("Find objects")).to_be_visible(timeout=60_000)
        api.expect(one.locator(".steps .working")).to_have_count(1, timeout=60_000)
        api.expect(one.locator("progress").first).to_be_visible()
        # It follows the run without being loaded again.
        one.evaluate("window.stays = true")
        since = one.locator(".state span").nth(1)
        api.expect(since).not_to_have_text(since.inner_text(), timeout=60_000)
        assert one.evaluate("window.stays")
        switch.unlink()
        look = one.get_by_role("link", name="Look at them in CVAT")
        api.expect(look).to_be_visible(timeout=60_000)
        assert one.locator(".mark").inner_text() == "done"
        drawn = boxes(cvat, task)
        assert {frame for frame, *_ in drawn} == {0, 1, 2, 3}
        assert one.locator(".figures").inner_text().startswith(str(len(drawn)))
        job = next(job for job, about in cvat.jobs.items() if about["task_id"] == task)
        assert look.get_attribute("href") == f"{cvat.url}/tasks/{task}/jobs/{job}"
        one.get_by_role("button", name="Undo").click()
        api.expect(one.locator(".mark.undone")).to_be_visible(timeout=60_000)
        assert boxes(cvat, task) == []
    server.end(15)


def test_without_scripts_and_by_keyboard_alone(cvat, tmp_path, command, chromium):
    task = cvat.add_task(sorted(pool(tmp_path / "pool", 2).rglob("*.png")), ["red", "green"])
    server = Process(command, tmp_path / "plugins")
    with watched(chromium, java_script_enabled=False) as one:
        one.goto(f"{server.url}/tasks/{task}")
        one.keyboard.press("Tab")
        api.expect(one.get_by_role("link", name="To the content")).to_be_focused()
        one.get_by_label("User name").focus()
        one.keyboard.type(USER)
        one.keyboard.press("Tab")
        one.keyboard.type(PASSWORD)
        one.keyboard.press("Enter")
        one.wait_for_url(f"**/tasks/{task}")
        card = one.get_by_role("link", name="puppets")
        for _ in range(20):
            one.keyboard.press("Tab")
            if card.evaluate("e => e === document.activeElement"):
                break
        assert card.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        one.keyboard.press("Enter")
        one.get_by_label("Frames", exact=True).focus()
        one.keyboard.press("Enter")
        # The page of a run loads itself again until it has ended.
        api.expect(one.locator(".mark.done")).to_be_visible(timeout=60_000)
    assert boxes(cvat, task)
    server.end(15)


LONG = "AVeryLongNameWithoutAnySpace" * 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_can_be_read(cvat, task, site, chromium, scheme):
    url, running = site
    cvat.tasks[task]["name"] = LONG
    run = Run(id=new_id(), task=task, template="parts", runner="here", title=LONG, person=1,
              who=LONG, made=1.0, began=1.0, ended=2.0, error=LONG, hint=LONG, state="failed",
              values={"frames": LONG},
              steps=[Step(LONG, "failed", 3, 10, LONG, 3, "k")])  # fmt: skip
    running.store.add(run, {})
    running.store.release(run)
    running.store.say(run.id, LONG)
    paths = ["/sign-in", "/", f"/tasks/{task}", f"/tasks/{task}/start/parts",
             f"/tasks/{task}/history", f"/runs/{run.id}"]  # fmt: skip
    with watched(chromium, viewport=PHONE, color_scheme=scheme) as one:
        one.goto(url)
        sign_in(one)
        for path in paths:
            one.goto(url + path)
            wide = one.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], f"{path} is {wide} pixels wide"
            assert one.evaluate(FAINT) == [], path
            unnamed = "e => e.filter(i => !i.labels?.length && !i.textContent.trim()).length"
            controls = "input:not([type=hidden]), select, textarea, button"
            assert one.locator(controls).evaluate_all(unnamed) == 0, path


FAINT = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour, under) => {
    canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => c.map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.offsetParent) continue;
    let under = e, ground = 'rgb(255, 255, 255)';
    while (under) {
      const own = getComputedStyle(under).backgroundColor;
      if (!/, 0\\)$|transparent/.test(own)) { ground = own; break; }
      under = under.parentElement;
    }
    const [a, b] = [getComputedStyle(e).color, ground].map(c => light(rgb(c, ground)));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`${e.tagName} ${e.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""Texts whose contrast with what is below them is less than WCAG's 4.5."""
