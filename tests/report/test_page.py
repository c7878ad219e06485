import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import FUSED, Detections, Members
from quorate.errors import ImageError
from quorate.labels import Labels
from quorate.masks import Masks
from quorate.report import Report, Timing, render_report, write_report
from tests.evaluation import example
from tests.waiting import PATIENCE

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202etxt"


class Page(HTMLParser):
    """What a browser would make of the page: its elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data

    def classes(self, wanted: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.tags if wanted in (a.get("class") or "").split()]


def grey(_: int) -> np.ndarray:
    return np.full((60, 80, 3), 120, dtype=np.uint8)


def small(*, read=grey, truth=True, labels=("bolt",), **options) -> Report:
    """One picture; two detectors see the bolt, one a ghost as well."""
    bolt, ghost = [10, 10, 40, 40], [50, 5, 70, 25]
    dataset = Dataset(
        root="pictures",
        images=(Image(id=5, file_name=options.pop("file_name", "a.jpg")),),
        labels=Labels.from_names(labels),
        annotations=Annotations.build(image_id=[5], category_id=[1], xyxy=[bolt])
        if truth
        else None,
    )
    names = options.pop("detectors", ("left", "right"))
    found = Detections.build(
        image_id=[5, 5, 5],
        category_id=1,
        xyxy=[bolt, bolt, ghost],
        score=[0.9, 0.8, 0.7],
        detector=[0, 1, 1],
        detectors=names,
    )
    fused = Detections.build(
        image_id=[5],
        category_id=1,
        xyxy=[bolt],
        score=0.85,
        detector=FUSED,
        votes=2,
        detectors=names,
        members=Members(
            np.array([0, 2]), np.array([0, 1], np.int16), np.array([0.9, 0.8], np.float32)
        ),
    )
    return Report.of("parts", dataset, found, fused, read=read, **options)


def test_the_first_sentence_compares_the_quorum_with_the_best_detector():
    better = Page(render_report(small())).words
    assert (
        "The quorum reaches 1.000 mAP, as much as the best single detector, left (1.000)." in better
    )
    report = small()
    worse = replace(report.ensemble, ap=0.4)
    assert "0.600 less than the best" in Page(render_report(replace(report, ensemble=worse))).words


def test_without_truth_the_first_sentence_is_about_agreement_and_no_metric_is_shown():
    page = Page(render_report(small(truth=False)))
    assert (
        "The quorum stands behind 50\N{NO-BREAK SPACE}% of what the 2 detectors saw." in page.words
    )
    assert "mAP" not in page.words
    assert not page.classes("pt")


def test_each_panel_shows_its_boxes_and_the_doubted_ones_dashed():
    page = render_report(small())
    panels = re.findall(r'<figure class="panel (p\w)">(.*?)</figure>', page, re.S)
    boxes = {key: re.findall(r'<g class="b [^"]*"', body) for key, body in panels}
    assert {key: len(found) for key, found in boxes.items()} == {"pq": 1, "pt": 1, "p0": 1, "p1": 2}
    assert [("dash" in box) for box in boxes["p1"]] == [True, False]
    assert not any("dash" in box for key in ("pq", "pt", "p0") for box in boxes[key])


def test_what_the_truth_denies_and_what_the_quorum_missed_is_dashed():
    report = small()
    elsewhere = Annotations.build(image_id=[5], category_id=[1], xyxy=[[0, 40, 20, 60]])
    page = render_report(replace(report, dataset=replace(report.dataset, annotations=elsewhere)))
    assert "missed by the quorum" in page
    panels = dict(re.findall(r'<figure class="panel (p\w)">(.*?)</figure>', page, re.S))
    assert "dash" in panels["pq"]
    assert "dash" in panels["pt"]


def test_a_mask_is_drawn_as_its_outline_beside_its_box():
    pixels = np.zeros((60, 80), dtype=bool)
    pixels[10:40, 10:40] = True
    report = small()
    masks = Masks.concat([Masks.from_bitmaps(pixels[None]), len(report.detections) - 1])
    masked = replace(report, detections=replace(report.detections, masks=masks))
    paths = [a for tag, a in Page(render_report(masked)).tags if tag == "path" and "class" not in a]
    before = [
        a for tag, a in Page(render_report(report)).tags if tag == "path" and "class" not in a
    ]
    (drawn,) = [a for a in paths if a not in before]
    assert drawn["d"] == "M40,10L40,40L10,40L10,10Z"
    assert len(Page(render_report(masked)).classes("masked")) == 1


def test_a_box_tells_its_score_its_votes_and_who_gave_them():
    page = Page(render_report(small()))
    assert "bolt 0.850 · 2 of 2 votes: left 0.90, right 0.80" in page.words


def test_boxes_below_the_threshold_are_there_but_hidden_at_first():
    report = small(min_score=0.75)
    low = Page(render_report(report)).classes("low")
    assert [box["data-s"] for box in low] == ["0.700"]


def test_hostile_names_are_shown_and_never_obeyed():
    names = (HOSTILE, "right")
    report = small(
        labels=(HOSTILE,),
        file_name=HOSTILE + "\ud800.jpg",
        detectors=names,
        spec=HOSTILE,
        fusion=HOSTILE,
        skipped=[(HOSTILE, HOSTILE)],
        failed={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        timings=[Timing(HOSTILE, 1.0)],
    )
    text = render_report(replace(report, name=HOSTILE))
    text.encode("utf-8")
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "base")]
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "</script><img src=x onerror=alert(1)>\"'&�txt" in page.words
    assert "\u202e" not in text


def test_the_page_loads_nothing():
    text = render_report(small())
    page = Page(text)
    for _, attributes in page.tags:
        for key in ("src", "href", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:"))
    assert "://" not in text
    assert "@import" not in text
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "connect-src" not in policy


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one.html", "two.html"):
        write_report(tmp_path / "new" / name, small(timings=[Timing("detect", 1.5, 1)]))
    one, two = (tmp_path / "new" / name for name in ("one.html", "two.html"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in one.parent.iterdir()) == ["one.html", "two.html"]


def test_a_picture_is_shown_once_and_small_with_its_boxes_scaled():
    def read(image_id: int) -> np.ndarray:
        return np.full((1500, 2000, 3), 120, dtype=np.uint8)

    text = render_report(small(read=read))
    jpegs = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(jpegs) == 1
    assert Pillow.open(BytesIO(base64.b64decode(jpegs[0]))).size == (640, 480)
    boxes = [a for tag, a in Page(text).tags if tag == "rect" and a.get("class") == "halo"]
    assert (boxes[0]["x"], boxes[0]["width"]) == ("3.2", "9.6")


def test_a_picture_that_cannot_be_read_costs_only_its_own_place():
    def read(image_id: int) -> np.ndarray:
        raise ImageError("a.jpg: the file ends early.")

    page = Page(render_report(small(read=read)))
    assert "a.jpg: the file ends early." in page.words
    assert not page.classes("view")


def test_trouble_is_told_first():
    page = render_report(
        small(
            skipped=[("b.jpg", "no picture")],
            failed={"third": "out of memory"},
            notes=["left: knows nothing of 'nut'."],
        )
    )
    words = Page(page).words
    assert "Degraded: decided by left and right (2 of 3 detectors)." in words
    assert "third failed and has no vote: out of memory" in words
    assert "1 picture could not be read" in words
    assert words.index("Degraded") < words.index("mAP of the quorum")


def test_the_hardest_pictures_come_first_and_no_more_than_asked():
    report = example.report(20, on_the_wall=3, read=grey)
    shown = re.findall(
        r'<article class="card[^>]*>.*?<h3>.*?<bdi>(.*?)</bdi>', render_report(report)
    )
    by_id = {image.id: image.file_name for image in report.dataset.images}
    level = dict(zip(report.agreement.image_id, report.agreement.disagreement, strict=True))
    worst = sorted(level, key=lambda i: -level[i])[:3]
    assert shown == [by_id[int(i)] for i in worst]


def test_a_detector_that_found_nothing_has_its_place():
    report = small()
    silent = Report.of(
        "parts", report.dataset, report.detections, report.fused, detectors=["left", "silent"]
    )
    page = Page(render_report(replace(silent, read=grey, fusion="consensus")))
    assert "Decided by consensus." in page.words
    assert silent.metrics["silent"].ap == 0
    assert len(page.classes("p1")) == 1


def test_nothing_at_all_is_still_a_page():
    nothing = Dataset("here", (), Labels.from_names(["bolt"]), Annotations.empty())
    report = Report.of("none", nothing, Detections.empty(["a"]), Detections.empty(["a"]), read=grey)
    assert "0 boxes on 0 pictures." in Page(render_report(report)).words


def test_one_detector_has_no_agreement_to_show():
    dataset, found = example.data(4)
    alone = found.of("yolo")
    report = Report.of("one", dataset, alone, alone, detectors=["yolo"], read=grey)
    assert "How far they agree" not in Page(render_report(report)).words


def test_the_page_stays_small_however_loud_the_pictures():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    n, names = 24, tuple("abcdef")
    dataset = Dataset(
        root="pictures",
        images=tuple(Image(id=i, file_name=f"{i}.jpg") for i in range(n)),
        labels=Labels.from_names(["a rather long label"]),
    )
    boxes = n * 6 * 150
    corner = random.uniform(0, 600, (boxes, 2))
    found = Detections.build(
        image_id=np.arange(boxes) % n,
        category_id=1,
        xyxy=np.hstack([corner, corner + 20]),
        score=random.random(boxes),
        detector=np.arange(boxes) // n % 6,
        detectors=names,
    )
    text = render_report(Report.of("loud", dataset, found, found.of("a"), read=lambda _: noise))
    assert text.count("data:image/jpeg") == n
    assert len(text.encode()) < 8_500_000


def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if path is None:
        pytest.skip("there is no Chromium")
    return path


def browse(page, profile) -> tuple[str, str]:
    """The page's elements after its script, and what the console said."""
    done = subprocess.run(
        [
            chromium(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.browser
def test_in_a_browser_the_page_runs_its_script_and_complains_of_nothing(tmp_path):
    write_report(tmp_path / "report.html", example.report(12, on_the_wall=3))
    elements, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    page = Page(elements)
    assert ("html", {"lang": "en", "class": "js"}) in page.tags
    assert {a["id"] for t, a in page.tags if t == "input"} == {
        *("show-pq", "show-pt", "show-p0", "show-p1", "show-p2", "show-labels", "min-score")
    }
    assert len(page.classes("view")) == 15
    assert all("data-tip" in box for box in page.classes("b"))


@pytest.mark.browser
def test_in_a_browser_the_controls_do_what_they_say(tmp_path):
    text = render_report(example.report(12, on_the_wall=3))
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    script = """<script>
    const seen = {}, tell = (key, value) => { seen[key] = value; };
    const styled = (query) => getComputedStyle(document.querySelector(query)).display;
    const press = (key) => document.activeElement.dispatchEvent(
      new KeyboardEvent("keydown", {key, bubbles: true}));
    const title = () => document.querySelector("#large-title").textContent;
    document.querySelector("#show-p1").click();
    tell("hidden", styled(".cards .p1") + " " + styled(".cards .p0"));
    const slider = document.querySelector("#min-score");
    slider.value = 1;
    slider.dispatchEvent(new Event("input"));
    tell("boxes", document.querySelectorAll(".cards .b[data-s]:not(.low)").length);
    tell("truth", document.querySelectorAll(".cards .pt .b:not(.low)").length > 0);
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
    tell("low", document.querySelectorAll(".cards .low").length);
    document.querySelector(".view").dispatchEvent(new MouseEvent("click", {bubbles: true}));
    tell("open", document.querySelector("#large").open);
    const first = title();
    press("ArrowDown");
    tell("panel", document.querySelector("#large [aria-pressed=true]").textContent);
    press("ArrowRight");
    tell("next", title() !== first);
    press("ArrowLeft");
    tell("back", title() === first);
    const box = document.querySelector("#large .b rect");
    box.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 9, clientY: 9}));
    tell("tip", !document.querySelector("#tip").hidden);
    document.body.dataset.seen = JSON.stringify(seen);
    </script></body>"""
    (tmp_path / "report.html").write_text(text.replace("</body>", script), encoding="utf-8")
    elements, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    body = next(a for t, a in Page(elements).tags if t == "body")
    assert json.loads(body["data-seen"]) == {
        "hidden": "none block",
        "boxes": 0,
        "truth": True,
        "low": 0,
        "open": True,
        "panel": "truth",
        "next": True,
        "back": True,
        "tip": True,
    }
