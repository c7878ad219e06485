import base64
import html
import json
import re
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
from quorate.report import Report, write_report
from quorate.report import page as page_of_report
from tests.chromium import PATH
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


def data(page: str) -> dict:
    """What the page's script draws."""
    return json.loads(re.search(r'id="wall-data">(.*?)</script>', page)[1])


def panels(page: str, at: int = 0) -> dict[str, list]:
    """The boxes of each panel of a picture."""
    told = data(page)
    keys = [key for key, _ in told["panels"]]
    return dict(zip(keys, told["pictures"][at]["boxes"], strict=True))


LABEL, LEFT, TOP, RIGHT, BOTTOM, SCORE, DASHED, TOLD, MASK = range(9)


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


def test_the_first_sentence_tells_the_edits_saved_and_the_next_the_metric():
    words = Page(example.rendered(small())).words
    assert (
        "The quorum leaves 0 edits to a person, 0 fewer than the best single detector, left (0)."
        in words
    )
    assert "It reaches 1.000 mAP, as much as left alone (1.000)." in words
    report = small()
    efforts = {**report.efforts, "ensemble": replace(report.efforts["right"])}
    metrics = {**report.metrics, "ensemble": replace(report.ensemble, ap=0.4)}
    worse = replace(report, efforts=efforts, metrics=metrics)
    words = Page(example.rendered(worse)).words
    assert "The quorum leaves 1 edit to a person, 1 more than the best" in words
    assert "0.400 mAP, 0.600 less than left alone" in words


def test_what_is_doubted_is_told_before_all():
    words = Page(
        example.rendered(replace(small(), doubts=["labels may be in another order."]))
    ).words
    assert words.index("Labels may be in another order.") < words.index("mAP of the quorum")


def test_what_is_left_to_do_is_told_for_each_detector_and_label_with_what_was_confused():
    page = example.rendered(example.report(12))
    part = page[page.index('<section id="work">') : page.index('<section id="quality">')]
    assert part.count("<table>") == 3
    report = example.report(12)
    words = re.sub(r"<[^>]*>", " ", part)
    for name, done in report.efforts.items():
        row = [f"{n:,}" for n in (done.edits.add, done.edits.delete, done.edits.relabel,
                                  done.edits.move, done.edits.total)]  # fmt: skip
        assert re.search(r"\s+".join([name.replace("ensemble", "quorum"), *row]), words), name


def test_what_is_published_is_told_by_label_and_votes():
    page = example.rendered(small())
    part = page[page.index('<section id="published">') :]
    words = re.sub(r"(<[^>]*>)+", " ", part[: part.index("</section>")])
    assert "label 1 vote 2 votes boxes all labels 0 1 1 bolt 0 1 1" in words


def test_without_truth_the_first_sentence_is_about_agreement_and_no_metric_is_shown():
    page = Page(example.rendered(small(truth=False)))
    assert (
        "The quorum stands behind 50\N{NO-BREAK SPACE}% of what the 2 detectors saw." in page.words
    )
    assert "mAP" not in page.words
    assert not page.classes("pt")


def test_each_panel_shows_its_boxes_and_the_doubted_ones_dashed():
    shown = panels(example.rendered(small()))
    assert {key: len(boxes) for key, boxes in shown.items()} == {"pq": 1, "pt": 1, "p0": 1, "p1": 2}
    assert [box[DASHED] for box in shown["p1"]] == [0, 1]  # by falling score
    assert not any(box[DASHED] for key in ("pq", "pt", "p0") for box in shown[key])


def test_what_the_truth_denies_and_what_the_quorum_missed_is_dashed():
    report = small()
    elsewhere = Annotations.build(image_id=[5], category_id=[1], xyxy=[[0, 40, 20, 60]])
    page = example.rendered(replace(report, dataset=replace(report.dataset, annotations=elsewhere)))
    shown = panels(page)
    assert shown["pt"][0][DASHED:] == [1, "to add: missed by the quorum"]
    assert shown["pq"][0][DASHED] == 1
    assert shown["pq"][0][TOLD].endswith("to delete")
    assert data(page)["pictures"][0]["edits"] == [1, 1, 0, 0]


def test_a_mask_is_drawn_as_its_outline_beside_its_box():
    pixels = np.zeros((60, 80), dtype=bool)
    pixels[10:40, 10:40] = True
    report = small()
    masks = Masks.concat([Masks.from_bitmaps(pixels[None]), len(report.detections) - 1])
    masked = replace(report, detections=replace(report.detections, masks=masks))
    shown = panels(example.rendered(masked))
    assert shown["p0"][0][MASK:] == ["M40,10L40,40L10,40L10,10Z"]
    assert len(shown["p1"][0]) == MASK


def test_a_box_tells_its_label_its_score_its_votes_and_who_gave_them():
    page = example.rendered(small())
    (box,) = panels(page)["pq"]
    assert data(page)["labels"][box[LABEL]] == "bolt"
    assert box[SCORE] == 0.85
    assert box[TOLD] == "2 of 2 votes: left 0.90, right 0.80"


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
    )
    text = example.rendered(replace(report, name=HOSTILE))
    text.encode("utf-8")
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("iframe", "object", "base")]
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert picture.keys() == {"loading", "alt", "src"}
    assert picture["src"].startswith("data:image/jpeg;base64,")
    kinds = [attributes.get("type", "") for tag, attributes in page.tags if tag == "script"]
    assert sorted(kinds) == ["", "application/json"]
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "</script><img src=x onerror=alert(1)>\"'&�txt" in page.words
    shown = data(text)
    assert shown["labels"] == ["</script><img src=x onerror=alert(1)>\"'&�txt"]
    assert shown["pictures"][0]["name"].startswith("</script><img")
    assert "\u202e" not in text


def test_the_page_loads_nothing():
    text = example.rendered(small())
    page = Page(text)
    for _, attributes in page.tags:
        for key in ("src", "href", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:"))
    assert set(re.findall(r"\w+://[\w./]*", text)) == {"http://www.w3.org/2000/svg"}  # a name
    assert "@import" not in text
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "connect-src" not in policy


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one.html", "two.html"):
        write_report(tmp_path / "new" / name, small())
    one, two = (tmp_path / "new" / name for name in ("one.html", "two.html"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in one.parent.iterdir()) == ["one.html", "two.html"]


def test_a_picture_is_shown_once_and_small_with_its_boxes_scaled():
    def read(image_id: int) -> np.ndarray:
        return np.full((1500, 2000, 3), 120, dtype=np.uint8)

    text = example.rendered(small(read=read))
    jpegs = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(jpegs) == 1
    assert Pillow.open(BytesIO(base64.b64decode(jpegs[0]))).size == (640, 480)
    (box,) = panels(text)["pq"]
    assert box[LEFT : BOTTOM + 1] == [3.2, 3.2, 12.8, 12.8]


def test_a_picture_that_cannot_be_read_costs_only_its_own_place():
    def read(image_id: int) -> np.ndarray:
        raise ImageError("a.jpg: the file ends early.")

    (picture,) = data(example.rendered(small(read=read)))["pictures"]
    assert picture["reason"] == "a.jpg: the file ends early."
    assert "boxes" not in picture


def test_trouble_is_told_first():
    page = example.rendered(
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
    shown = [picture["name"] for picture in data(example.rendered(report))["pictures"]]
    by_id = {image.id: image.file_name for image in report.dataset.images}
    level = dict(zip(report.agreement.image_id, report.agreement.disagreement, strict=True))
    worst = sorted(level, key=lambda i: -level[i])[:3]
    assert shown == [by_id[int(i)] for i in worst]


def test_the_tile_of_disagreement_singles_out_the_worst_tenth():
    report = example.report(20, read=grey)
    level = np.sort(report.agreement.disagreement)
    told = f"<b>{level.mean():.2f}</b><span>the worst 2 pictures: {level[-2]:.2f} or more<"
    assert f"mean disagreement</dt><dd>{told}" in example.rendered(report)


def test_a_detector_that_found_nothing_has_its_place():
    report = small()
    silent = Report.of(
        "parts", report.dataset, report.detections, report.fused, detectors=["left", "silent"]
    )
    page = Page(example.rendered(replace(silent, read=grey, fusion="consensus")))
    assert "Decided by consensus." in page.words
    assert silent.metrics["silent"].ap == 0
    assert panels(example.rendered(replace(silent, read=grey)))["p1"] == []


def test_nothing_at_all_is_still_a_page():
    nothing = Dataset("here", (), Labels.from_names(["bolt"]), Annotations.empty())
    report = Report.of("none", nothing, Detections.empty(["a"]), Detections.empty(["a"]), read=grey)
    assert "0 boxes on 0 pictures." in Page(example.rendered(report)).words


def test_one_detector_has_no_agreement_to_show():
    dataset, found = example.data(4)
    alone = found.of("yolo")
    report = Report.of("one", dataset, alone, alone, detectors=["yolo"], read=grey)
    assert "How far they agree" not in Page(example.rendered(report)).words


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
    text = example.rendered(Report.of("loud", dataset, found, found.of("a"), read=lambda _: noise))
    assert text.count("data:image/jpeg") == n
    assert len(text.encode()) < 8_500_000


def test_many_pictures_lie_in_a_folder_beside_the_page(tmp_path, monkeypatch):
    report = example.report(12, read=grey)
    assert write_report(tmp_path / "one.html", report) == ["one.html"]
    monkeypatch.setattr(page_of_report, "ONE_FILE", 1000)
    written = write_report(tmp_path / "many.html", report)
    assert written == [*(f"many-pictures/{i:05d}.jpg" for i in range(12)), "many.html"]
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")) == sorted(
        [*written, "one.html"]
    )
    text = (tmp_path / "many.html").read_text()
    assert "data:image" not in text
    assert "the folder many-pictures beside it" in Page(text).words
    assert data(text) == data((tmp_path / "one.html").read_text())


def browse(page, profile) -> tuple[str, str]:
    """The page's elements after its script, and what the console said."""
    if PATH is None:
        pytest.skip("there is no Chromium")
    done = subprocess.run(
        [
            PATH,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--window-size=1280,3000",
            "--virtual-time-budget=2000",
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
@pytest.mark.parametrize("most", [1_000_000, 1000], ids=["one file", "a folder"])
def test_in_a_browser_the_page_runs_its_script_and_complains_of_nothing(
    tmp_path, monkeypatch, most
):
    monkeypatch.setattr(page_of_report, "ONE_FILE", most)
    write_report(tmp_path / "report.html", example.report(12, on_the_wall=3))
    elements, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    page = Page(elements)
    assert ("html", {"lang": "en", "class": "js"}) in page.tags
    assert len(page.classes("view")) == 15
    assert len(page.classes("csv")) == sum(tag == "table" for tag, _ in page.tags)
    assert all("data-tip" in box for box in page.classes("b"))


@pytest.mark.browser
def test_in_a_browser_without_scripts_each_picture_is_shown_once(tmp_path):
    """A frame that allows no scripts shows what a browser without them does."""
    page = html.escape(example.rendered(example.report(12, on_the_wall=3)), quote=True)
    (tmp_path / "around.html").write_text(
        f"""<!doctype html><body><iframe sandbox="allow-same-origin" width="1200" height="9000"
        srcdoc="{page}"></iframe><script>addEventListener("load", () => {{
        const inside = document.querySelector("iframe").contentDocument;
        const sizes = [...inside.images].map((one) => one.naturalWidth > 300 && one.height > 100);
        const views = inside.querySelectorAll(".view").length;
        document.body.dataset.seen = JSON.stringify([sizes, views]);
        }});</script></body>""",
        encoding="utf-8",
    )
    elements, _ = browse(tmp_path / "around.html", tmp_path / "profile")
    body = next(attributes for tag, attributes in Page(elements).tags if tag == "body")
    assert json.loads(body["data-seen"]) == [[True] * 3, 0]


def act(tmp_path, report, script: str) -> dict:
    """What a script tells of the page that it acts on; nothing may be complained of."""
    text = example.rendered(report)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    script = f"""<script>
    const seen = {{}}, tell = (key, value) => {{ seen[key] = value; }};
    const find = (query) => document.querySelector(query);
    const count = (query) => document.querySelectorAll(query).length;
    const set = (query, value, ...events) => {{
      const control = find(query);
      control[typeof value === "boolean" ? "checked" : "value"] = value;
      for (const event of events.concat("input")) control.dispatchEvent(new Event(event));
    }};
    {script}
    document.body.dataset.seen = JSON.stringify(seen);
    </script></body>"""
    (tmp_path / "report.html").write_text(text.replace("</body>", script), encoding="utf-8")
    elements, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    body = next(a for t, a in Page(elements).tags if t == "body")
    return json.loads(body["data-seen"])


@pytest.mark.browser
def test_in_a_browser_the_controls_do_what_they_say(tmp_path):
    script = """
    const press = (key) => document.activeElement.dispatchEvent(
      new KeyboardEvent("keydown", {key, bubbles: true}));
    const title = () => find("#large-title").textContent;
    find("#show-p1").click();
    const styled = (query) => getComputedStyle(find(query)).display;
    tell("hidden", styled(".cards .p1") + " " + styled(".cards .p0"));
    set("#min-score", 1);
    tell("boxes", count(".cards .panel:not(.pt) .b:not(.low)"));
    tell("truth", count(".cards .pt .b:not(.low)") > 0);
    set("#min-score", 0, "change");
    tell("low", count(".cards .low"));
    find(".view").dispatchEvent(new MouseEvent("click", {bubbles: true}));
    tell("open", find("#large").open);
    const first = title();
    press("ArrowDown");
    tell("panel", find("#large [aria-pressed=true]").textContent);
    press("ArrowRight");
    tell("next", title() !== first);
    press("ArrowLeft");
    tell("back", title() === first);
    const box = find("#large .b rect");
    box.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 9, clientY: 9}));
    tell("tip", !find("#tip").hidden);
    """
    assert act(tmp_path, example.report(12, on_the_wall=3), script) == {
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


@pytest.mark.browser
def test_in_a_browser_pictures_are_found_and_sorted(tmp_path):
    report = example.report(40, on_the_wall=40)
    told = data(example.rendered(report))["pictures"]
    name = told[-1]["name"]
    script = """
    const names = () =>
      [...document.querySelectorAll(".card h3 bdi")].map((one) => one.textContent);
    const cards = () => find("#found").textContent;
    tell("all", cards());
    tell("drawn", count(".card") < 40);
    set("#find", "NAME");
    tell("name", [cards(), names()]);
    set("#find", "");
    set("#only-errors", true);
    tell("errors", cards());
    set("#only-errors", false);
    set("#with-label", "3");
    set("#in-panel", "0");
    tell("label", cards());
    set("#only-dashed", true);
    tell("dashed", cards());
    set("#only-dashed", false); set("#with-label", ""); set("#in-panel", "");
    set("#from-level", "0.4");
    tell("level", cards());
    set("#from-level", "0");
    set("#order", "edits");
    tell("first", names()[0]);
    """.replace("NAME", name.upper())
    edits = [sum(picture["edits"]) for picture in told]

    def on_quorum(dashed):
        return sum(
            any(
                box[LABEL] == 3 and box[SCORE] >= 0.25 and (box[DASHED] or not dashed)
                for box in p["boxes"][0]
            )
            for p in told
        )

    assert act(tmp_path, report, script) == {
        "all": "40 of 40",
        "drawn": True,
        "name": ["1 of 40", [name]],
        "errors": f"{sum(map(bool, edits))} of 40",
        "label": f"{on_quorum(False)} of 40",
        "dashed": f"{on_quorum(True)} of 40",
        "level": f"{sum(picture['level'] >= 0.4 for picture in told)} of 40",
        "first": told[edits.index(max(edits))]["name"],
    }


@pytest.mark.browser
def test_in_a_browser_no_label_covers_another_and_tables_become_csv(tmp_path):
    script = """
    document.querySelectorAll("svg.view").forEach((svg) => svg.paint?.());
    let covered = 0, texts = 0;
    for (const words of document.querySelectorAll(".words")) {
      const boxes = [...words.children].map((one) => one.getBoundingClientRect());
      texts += boxes.length;
      boxes.forEach((a, i) => boxes.slice(0, i).forEach((b) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 2 && down > 4) covered += 1;
      }));
    }
    tell("covered", covered);
    tell("texts", texts > 20);
    let csv;
    URL.createObjectURL = (blob) => { csv = blob; return "#csv"; };
    find("#work .csv").click();
    tell("csv", csv.type);
    """
    # Pictures are drawn once the browser has found which are in sight, however long that takes.
    found = act(tmp_path, example.report(12, on_the_wall=3), """
    const look = () => {
      if (count("svg.view") < 10) return setTimeout(look, 20);
    """ + script + """
      document.body.dataset.seen = JSON.stringify(seen);
    };
    look();""")  # fmt: skip
    assert found == {"covered": 0, "texts": True, "csv": "text/csv"}
