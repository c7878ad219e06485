"""The models of CVAT's dialog: a real server over HTTP, asked as CVAT asks."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
import yaml

from quorate.cvat.functions import Function
from quorate.cvat.nuclio.served import Memory, Served
from quorate.cvat.nuclio.serving import serve
from quorate.detections import Detections
from quorate.ensemble import DetectionEnsemble
from quorate.errors import InputError, QuorumError, SpecError
from quorate.steps.look import Answer
from tests.cvat.lambda_manager import Label, Lambda, Task, stored
from tests.cvat.local import PARTS, WORDS, local_run
from tests.cvat.puppets import Puppet, install
from tests.cvat.servers import serving
from tests.spots import draw, rectangles
from tests.waiting import until

TEXT = {"votes": ("text", ["1"]), "confidence": ("text", ["1"])}


def labels(*names: str) -> list[Label]:
    return [Label(name, "rectangle", dict(TEXT)) for name in names]


@pytest.fixture(scope="module")
def parts():
    with serving(PARTS / "spec.yaml") as server:
        yield server


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install(folder)
    return folder


@pytest.fixture
def puppets(tmp_path, plugins):
    """A spec of three detectors that obey files `a`, `b` and `c`, and what starts its server."""
    draw(tmp_path / "0.png", 3)
    spec = {
        "name": "spots",
        "labels": ["red", "green"],
        "detectors": [
            {"name": name, "kind": "puppet", "score": score, "switch": str(tmp_path / name)}
            for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))
        ],
    }

    def start(*options, **more):
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec | more))
        return serving(tmp_path / "spec.yaml", options=options, plugins=plugins)

    start.folder = tmp_path
    start.picture = (tmp_path / "0.png").read_bytes()
    return start


def invoke(url: str, body, name: str | None = "spots") -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if name is None else {"x-nuclio-function-name": name}
    return requests.post(f"{url}/api/function_invocations", data=data, headers=headers)


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def test_all_pictures_of_the_demo_have_the_very_boxes_of_a_run(parts, tmp_path):
    names, published = local_run(tmp_path)
    files = {name: (PARTS / "images" / name).read_bytes() for name in names}
    assert len(names) == 60
    task = Task([files[name] for name in names], labels(*WORDS))
    Lambda(parts.url).annotate(task, "parts")
    count = 0
    for frame, name in enumerate(names):
        shapes = [
            (s["label"], s["points"], s["attributes"]) for s in task.shapes if s["frame"] == frame
        ]
        assert shapes == published[name], name
        count += len(shapes)
    assert count == len(task.shapes) == sum(map(len, published.values())) > 400


def test_the_model_is_listed_with_its_labels_and_attributes(parts):
    [model] = Lambda(parts.url).list()
    assert model == Lambda(parts.url).get("parts")
    assert model.id == model.name == "parts"
    assert [one["name"] for one in model.labels] == [*WORDS]
    assert {one["type"] for one in model.labels} == {"any"}
    assert model.labels[0]["attributes"] == [
        {"name": name, "input_type": "text", "values": ["1"]} for name in ("votes", "confidence")
    ]
    assert "yolo, detr and frcnn, at least 2 of 3" in model.description
    assert f":{model.port}" in parts.url


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9, 1.0])
def test_a_threshold_takes_the_place_of_the_published_score(parts, tmp_path, threshold):
    _, published = local_run(tmp_path, min_score=threshold)
    names = [*published][:6]
    frames = [(PARTS / "images" / name).read_bytes() for name in names]
    task = Task(frames, labels(*WORDS))
    Lambda(parts.url).annotate(task, "parts", threshold=threshold)
    assert [(s["label"], s["points"]) for s in task.shapes] == [
        (label, box) for name in names for label, box, _ in published[name]
    ]


def test_labels_are_mapped_and_types_that_do_not_fit_are_cvats_to_drop(parts):
    frames = [file.read_bytes() for file in (PARTS / "images/bench-card").glob("*.*")]
    number = Label("piece", "any", {"n": ("number", ["0", "9", "1"]), "c": ("text", [])})
    task = Task(frames, [number, Label("nut", "polygon")])
    mapping = {"bolt": {"name": "piece", "attributes": {"votes": "n", "confidence": "c"}}}
    lambda_manager = Lambda(parts.url)
    lambda_manager.annotate(task, "parts", mapping=mapping)
    assert {s["label"] for s in task.shapes} == {"piece"}
    assert all(s["attributes"]["n"] in "23" and float(s["attributes"]["c"]) for s in task.shapes)


def test_a_region_of_interest_is_looked_at_alone_and_moved_back(parts):
    file = next((PARTS / "images/bench-card").glob("*.*"))
    task, cut = Task([file.read_bytes()], labels(*WORDS)), (100, 50, 400, 300)
    Lambda(parts.url).annotate(task, "parts", roi=cut)
    assert task.shapes
    for shape in task.shapes:
        x1, y1, x2, y2 = shape["points"]
        assert 100 <= x1 < x2 <= 400 and 50 <= y1 < y2 <= 300  # noqa: PT018


def test_masks_arrive_as_pixels_or_as_polygons(puppets):
    picture = Puppet(name="a", kind="puppet", masks=True)
    stripe = puppets.folder / "stripe.png"
    draw(stripe, 3)
    from PIL import Image

    pixels = np.array(Image.open(stripe))
    for x1, y1, x2, y2 in rectangles(3, 64, 48):
        middle = (y1 + y2) // 2
        pixels[middle : middle + 2, x1:x2] = 128
    Image.fromarray(pixels).save(stripe)
    ensemble = DetectionEnsemble(
        name="spots", labels=("red", "green"), detectors=(picture,), publish={"tolerance": 0}
    )
    with ensemble.load() as loaded:
        expected = loaded.look(stripe)
    one = [{"name": "a", "kind": "puppet", "masks": True}]
    with puppets(detectors=one, publish={"tolerance": 0}) as server:
        found = {}
        for poly in (False, True):
            task = Task([stripe.read_bytes()], [Label("red"), Label("green")])
            Lambda(server.url).annotate(task, "spots", conv_mask_to_poly=poly)
            found[poly] = task.shapes
    from cvat_sdk.masks import decode_mask

    for row, (mask, polygon) in enumerate(zip(found[False], found[True], strict=True)):
        assert (mask["type"], polygon["type"]) == ("mask", "polygon")
        drawn = decode_mask(mask["points"], image_width=64, image_height=48)
        assert (drawn == expected.masks.bitmap(row)).all()
        rows = drawn.any(axis=1).nonzero()[0]
        assert np.diff(rows).max() == 3  # two parts, which the polygon joins
        assert (filled(polygon["points"]) == drawn).all()
    with puppets(detectors=one, publish={"masks": "polygon", "tolerance": 0}) as server:
        task = Task([stripe.read_bytes()] * 2, [Label("red"), Label("green")])
        Lambda(server.url).annotate(task, "spots")
    parts = [s for s in task.shapes if s["group"]]
    assert {s["type"] for s in task.shapes} == {"polygon"}
    assert len(parts) > len({s["group"] for s in parts}) > 0
    with puppets(detectors=one, publish={"masks": "box"}) as server:
        [model] = Lambda(server.url).list()
        assert {one["type"] for one in model.labels} == {"rectangle"}


def filled(points: list[float]) -> np.ndarray:
    """The pixels within a polygon of whole corners, by the rule of odd crossings."""
    xy = np.array(points).reshape(-1, 2)
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    inside = np.zeros(x.shape, int)
    for (x1, y1), (x2, y2) in zip(xy, np.roll(xy, -1, axis=0), strict=True):
        if y1 != y2:
            at = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
            inside += ((y1 > y) != (y2 > y)) & (x < at)
    return inside % 2 == 1


def test_a_detector_that_fails_costs_its_votes_alone(puppets):
    with puppets() as server:
        (puppets.folder / "c").write_text("fail")
        [first, _] = invoke(server.url, {"image": encoded(puppets.picture)}).json()
        assert {"name": "votes", "value": "2"} in first["attributes"]
        (puppets.folder / "c").write_text("away")
        assert len(invoke(server.url, {"image": encoded(puppets.picture)}).json()) == 2
        page = requests.get(server.url).text
        assert "without c" in page and "out of order" in page and "no answer" in page  # noqa: PT018
        assert server.says("without c: RuntimeError('out of order')")
        (puppets.folder / "c").unlink()  # what was found without it is not kept
        [first, _] = invoke(server.url, {"image": encoded(puppets.picture)}).json()
        assert {"name": "votes", "value": "3"} in first["attributes"]


def test_nothing_works_is_said_before_anything_is_deleted(puppets):
    by_hand = [{"drawn": "by hand"}]
    task = Task([puppets.picture] * 3, [Label("red"), Label("green")], shapes=[*by_hand])
    with puppets() as server:
        cvat = Lambda(server.url)
        for name in "ab":
            (puppets.folder / name).write_text("away")
        answer = invoke(server.url, {"image": encoded(puppets.picture)})
        assert answer.status_code == 503
        assert "1 of 3 detectors succeeded, need 2" in answer.json()["error"]
        with pytest.raises(requests.HTTPError, match="503"):
            cvat.annotate(task, "spots", cleanup=True)
        assert task.shapes == by_hand
        assert [model.id for model in cvat.list()] == ["spots"]
        assert "not ready" in requests.get(server.url).text
        (puppets.folder / "a").unlink()
        cvat.annotate(task, "spots", cleanup=True)
        assert len(task.shapes) == 6
        assert "not ready" not in requests.get(server.url).text


def test_a_frame_that_fails_costs_no_other(puppets):
    """Two of three fail at pictures 63 pixels wide, and one frame is no picture."""
    odd = puppets.folder / "odd.png"
    draw(odd, 3, width=63)
    named = [
        {"name": name, "kind": "puppet", "score": 0.9, "fails_at_width": width}
        for name, width in (("a", 63), ("b", 63), ("c", 0))
    ]
    frames = [puppets.picture] * 3 + [odd.read_bytes(), b"no picture", b""] + [puppets.picture]
    task = Task(frames, [Label("red"), Label("green")])
    with puppets(detectors=named) as server:
        Lambda(server.url).annotate(task, "spots")
        assert [s["frame"] for s in task.shapes] == [0, 0, 1, 1, 2, 2, 6, 6]
        page = requests.get(server.url).text
    assert page.count("no boxes") == 3
    assert "1 of 3 detectors succeeded" in page
    assert "not a picture" in page
    assert "the file is empty" in page
    until(lambda: server.log.count("no boxes") == 3)


def test_a_picture_of_too_many_pixels_has_no_boxes(puppets):
    with puppets(max_pixels=1000) as server:
        answer = invoke(server.url, {"image": encoded(puppets.picture)})
        assert (answer.status_code, answer.json()) == (200, [])
        assert server.says("too large")


def test_nan_from_a_detector_never_leaves(puppets):
    named = [{"name": name, "kind": "puppet", "nan": name == "c", "score": 0.9} for name in "abc"]
    with puppets(detectors=named) as server:
        answer = invoke(server.url, {"image": encoded(puppets.picture)})
        assert "NaN" not in answer.text and "null" not in answer.text  # noqa: PT018
        assert len(answer.json()) == 2
        assert server.says("without c", "NaN")


def test_nan_from_fusion_never_leaves(tmp_path):
    """No method gives one; should one do so, the box is left out and told."""
    draw(tmp_path / "0.png", 3)
    ensemble = DetectionEnsemble(
        name="e", labels=("red", "green"), detectors=(Puppet(name="a", kind="puppet"),)
    )
    with Function(ensemble) as function:
        served = Served(function)
        found = function.look(tmp_path / "0.png")
        found.boxes.xyxy[0, 2] = np.inf
        function.look = lambda picture: found
        [shape] = json.loads(served.answer(b"any", None))
        assert np.isfinite(shape["points"]).all()
        assert served.record.failures[0].what == "without 1 boxes"
        found.boxes.score[1] = np.nan
        assert json.loads(served.answer(b"any", None)) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no call"),
        (b"{", "no call"),
        (b"[]", "no call"),
        (b'{"threshold": 0.5}', "image"),
        (b'{"image": "&&&"}', "base64"),
        (b'{"image": "YQ=="', "no call"),
        (b'{"image": "YQ==", "threshold": NaN}', "no call"),
        (b'{"image": "YQ==", "threshold": 1e999}', "no call"),
        (b'{"image": "YQ==", "threshold": "high"}', "threshold"),
        (b'{"image": "YQ==", "more": ' + b"[" * 100_000, "no call"),
        (b'{"image": "\xff\xfe"}', "no call"),
    ],
    ids=range(11),
)
def test_what_can_never_work_is_refused_with_a_sentence(parts, body, said):
    answer = invoke(parts.url, body, "parts")
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]


def test_functions_that_are_not_there_are_named(parts):
    picture = {"image": encoded(b"x")}
    assert "did you mean 'parts'" in invoke(parts.url, picture, "part").json()["error"]
    assert invoke(parts.url, picture, "part").status_code == 404
    answer = invoke(parts.url, picture, None)
    assert (answer.status_code, "CVAT_NUCLIO_INVOKE_METHOD" in answer.text) == (400, True)
    answer = requests.get(f"{parts.url}/api/functions/part")
    assert (answer.status_code, "did you mean" in answer.text) == (404, True)
    assert requests.get(f"{parts.url}/else").status_code == 404


def test_cvat_may_call_directly_where_one_model_is_served(parts):
    file = next((PARTS / "images/bench-card").glob("*.*"))
    body = {"image": encoded(file.read_bytes())}
    direct = requests.post(parts.url, json=body)
    assert direct.json() == invoke(parts.url, body, "parts").json() != []


def test_a_body_that_is_too_long_is_not_read(parts):
    import socket

    address = parts.url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(
            b"POST /api/function_invocations HTTP/1.1\r\nHost: x\r\n"
            b"x-nuclio-function-name: parts\r\nContent-Length: 999999999999\r\n\r\n{"
        )
        assert b" 413 " in connection.recv(4096)


def test_a_frame_that_takes_too_long_is_given_up_and_threads_are_bounded(puppets):
    with puppets("--timeout", "0.5", "--workers", "1") as server:
        (puppets.folder / "a").write_text("hang")
        answer = invoke(server.url, {"image": encoded(puppets.picture)})
        assert (answer.status_code, answer.json()) == (200, [])
        assert server.says("it took more than 0.5 s")
        answer = invoke(server.url, {"image": encoded(puppets.picture)})
        assert answer.status_code == 503
        assert "no thread was free" in requests.get(server.url).text
        answer = requests.get(f"{server.url}/api/functions/spots")
        assert (answer.status_code, "no answer within 0.5 s" in answer.text) == (503, True)
        (puppets.folder / "a").unlink()
        until(lambda: invoke(server.url, {"image": encoded(puppets.picture)}).status_code == 200)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.slow
def test_ten_thousand_requests_leave_memory_as_it_was(puppets):
    with puppets() as server:
        rng = np.random.default_rng(0)

        def ask(number: int) -> int:
            # Each is another file: what was found is kept for some.
            body = {"image": encoded(puppets.picture + bytes([number % 256]) + rng.bytes(8))}
            return invoke(server.url, body).status_code

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(ask, range(2000))) == {200}
            before = resident(server.process.pid)
            assert set(threads.map(ask, range(8000))) == {200}
        # 8,000 kept answers of some 5 kB would be 40 MB; they are bounded by 64 MB.
        assert resident(server.process.pid) - before < 80e6


def test_memory_is_bounded_in_bytes():
    memory = Memory(limit=20_000)
    empty = Answer(Detections.empty(), {}, {})
    for number in range(100):
        memory.put(bytes([number]), empty)
    kept = [number for number in range(100) if memory.get(bytes([number]))]
    assert kept == list(range(kept[0], 100))
    assert 1 < len(kept) < 6
    assert memory.size <= 20_000


def test_a_frame_that_is_asked_about_again_is_not_looked_at_again(tmp_path):
    draw(tmp_path / "0.png", 3)
    data = (tmp_path / "0.png").read_bytes()
    detectors = [Puppet(name="a", kind="puppet", score=0.6), Puppet(name="b", kind="puppet")]
    ensemble = DetectionEnsemble(name="e", labels=("red", "green"), detectors=detectors)
    with Function(ensemble) as function:
        served, looked = Served(function), []
        look = function.look
        function.look = lambda picture: looked.append(picture) or look(picture)
        counts = [len(json.loads(served.answer(data, threshold))) for threshold in (None, 0.99, 0)]
        assert counts[0] == counts[2] == 2
        assert counts[1] == 0
        assert len(looked) == 1
        assert served.record.repeated == 2


def test_names_and_reasons_are_shown_as_text(tmp_path):
    from quorate.cvat.nuclio.page import page

    ensemble = DetectionEnsemble(
        name="e", labels=("red", "<b>x</b>"), detectors=(Puppet(name="a", kind="puppet"),)
    )
    with Function(ensemble) as function:
        served = Served(function)
        served.failed("picture", "no boxes", "<script>alert(1)</script>")
        shown = page({"e": served}, None)
    assert "&lt;script&gt;" in shown and "&lt;b&gt;x" in shown  # noqa: PT018
    assert "<script" not in shown


class Behind(BaseHTTPRequestHandler):
    """A Nuclio dashboard: two functions, and what it was asked."""

    asked: list[tuple[str, str, bytes]] = []  # noqa: RUF012

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.asked.append((self.command, self.path, body))
        about = {"metadata": {"name": "theirs", "annotations": {"type": "detector", "spec": ""}},
                 "spec": {"description": ""}, "status": {}}  # fmt: skip
        told = {
            "/api/functions": {"theirs": about, "spots": about},
            "/api/functions/theirs": about,
        }.get(self.path, [{"project": self.headers["x-nuclio-function-name"]}])
        text = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def behind():
    Behind.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_not_ours_is_passed_on(puppets, behind):
    url = f"http://127.0.0.1:{behind.server_port}"
    with puppets("--upstream", url) as server:
        cvat = Lambda(server.url)
        models = {model.id: model for model in cvat.list()}
        assert sorted(models) == ["spots", "theirs"]
        assert models["spots"].labels
        assert server.says("it has a function 'spots' too: ours is called")
        assert cvat.get("theirs").id == "theirs"
        assert cvat.invoke(models["theirs"], {"image": "YQ=="}) == [{"project": "theirs"}]
        method, path, body = Behind.asked[-1]
        assert (method, path, json.loads(body)) == (
            "POST", "/api/function_invocations", {"image": "YQ=="},
        )  # fmt: skip
        assert requests.get(f"{server.url}/api/projects/a%2Fb?x=1").ok
        assert Behind.asked[-1][1] == "/api/projects/a%2Fb?x=1"
        before = len(Behind.asked)
        assert len(invoke(server.url, {"image": encoded(puppets.picture)}).json()) == 2
        assert len(Behind.asked) == before
        assert "ours is called" in requests.get(server.url).text


def test_a_dashboard_behind_that_is_away_takes_none_of_ours_with_it(puppets):
    with puppets("--upstream", "http://127.0.0.1:1") as server:
        assert [model.id for model in Lambda(server.url).list()] == ["spots"]
        answer = requests.get(f"{server.url}/api/functions/theirs")
        assert answer.status_code == 502
        assert "does not answer" in answer.json()["error"]
        assert "its functions are not listed" in requests.get(server.url).text


def test_what_cannot_be_served_is_said_before_anything_is_loaded(tmp_path):
    one = DetectionEnsemble(name="e", labels=("red",), detectors=(Puppet(name="a", kind="puppet"),))
    with pytest.raises(SpecError, match="name 'e'"):
        serve([one, one])
    with pytest.raises(InputError, match="no address of a dashboard"):
        serve([one], upstream="ftp://x")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Behind) as taken,
        pytest.raises(InputError, match="cannot be listened at"),
    ):
        serve([one], port=taken.server_port)


def test_an_ensemble_that_cannot_work_is_not_served(tmp_path):
    (tmp_path / "a").write_text("fail")
    broken = Puppet(name="a", kind="puppet", switch=str(tmp_path / "a"))
    one = DetectionEnsemble(name="e", labels=("red",), detectors=(broken,))
    with pytest.raises(QuorumError, match="out of order"):
        serve([one], port=0)


def test_the_driver_makes_of_pixels_what_the_sdk_makes_of_them():
    """CVAT's way from pixels to run lengths, against the one of its own SDK."""
    from cvat_sdk.masks import encode_mask

    rng = np.random.default_rng(1)
    for _ in range(20):
        bitmap = rng.random((6, 5)) > 0.5
        box = [1, 2, 4, 5]
        pixels = bitmap[2:5, 1:4].astype(int).reshape(-1).tolist()
        item = {"type": "mask", "mask": [*pixels, 1, 2, 3, 4]}
        found = stored(item, 0, Label("x"), {}, conv_mask_to_poly=False)["points"]
        assert found == encode_mask(bitmap, box)


def test_the_page_is_there_while_frames_are_looked_at(puppets):
    with puppets("--workers", "1") as server:
        (puppets.folder / "a").write_text("hang")
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(invoke, server.url, {"image": encoded(puppets.picture)})
            time.sleep(0.2)
            assert requests.get(server.url, timeout=60).ok
            (puppets.folder / "a").unlink()
            assert len(waiting.result().json()) == 2
