"""darknet detectors as a whole, held to OpenCV 4's own reader of darknet's files."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.darknet import DarknetDetector
from quorate.detectors.darknet.conversion import cache_folder
from quorate.spec import EnsembleSpec
from quorate.spec.detector import detector_kinds
from tests.detectors import darknet_files as darknet
from tests.waiting import PATIENCE

NAMES = ("ant", "bee", "big cat")
ALL = {"min_score": 0.0, "max_detections": 10_000}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path / "cache"))


def picture(height, width, seed=3):
    """Blurred noise: smooth enough to be resized, and different everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (5, 5), 0), None, 0, 255, cv2.NORM_MINMAX)


def rows_of_opencv(files, tensor):
    """float32 (rows, 5 + c) of OpenCV: boxes in 0..1, objectness, objectness x category."""
    net = cv2.dnn.readNetFromDarknet(str(files.cfg), str(files.weights))
    net.setInput(tensor)
    return np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))


def rows_of(predictor, tensor):
    """The same of ours."""
    [rows] = predictor.network.session.run(None, {"images": tensor})
    height, width = tensor.shape[2:]
    rows = rows[0].copy()
    rows[:, :4] /= [width, height, width, height]
    rows[:, 5:] *= rows[:, 4:5]
    return rows


def fed(predictor, shown):
    """What the network is fed for one picture."""
    return predictor.tensors([shown], [predictor.place(shown.shape[:2])])["images"].copy()


def boxes_of_opencv(rows, shape, iou):
    """(n, 6) xyxy, score, label of a picture, as OpenCV's own samples make them of its rows."""
    height, width = shape
    label, score = rows[:, 5:].argmax(axis=1), rows[:, 5:].max(axis=1)
    size = rows[:, 2:4] * [width, height]
    corner = rows[:, :2] * [width, height] - size / 2
    found = []
    for category in np.unique(label):
        mine = np.flatnonzero(label == category)
        rects = np.concatenate([corner[mine], size[mine]], axis=1).astype(np.float64)
        kept = cv2.dnn.NMSBoxes(rects.tolist(), score[mine].tolist(), 0.0, iou)
        for i in np.array(kept, dtype=int).reshape(-1):
            xyxy = np.concatenate([rects[i, :2], rects[i, :2] + rects[i, 2:]])
            xyxy = xyxy.clip(0, [width, height, width, height])
            if (xyxy[2:] > xyxy[:2]).all():
                found.append([*xyxy, score[mine[i]], category])
    return np.array(found)


def as_table(boxes):
    return np.concatenate([boxes.xyxy, boxes.score[:, None], boxes.label[:, None]], axis=1)


def paired(ours, theirs):
    """`theirs` in the order of `ours`, each with the one nearest to it."""
    assert len(ours) == len(theirs) > 5
    nearest = np.abs(ours[:, None] - theirs[None]).sum(axis=2).argmin(axis=1)
    assert len(set(nearest)) == len(ours)
    return theirs[nearest]


def test_the_kind_is_found_by_entry_point_and_describing_it_loads_nothing_heavy():
    assert detector_kinds()["darknet"].load() is DarknetDetector
    code = (
        "import sys; from quorate.detectors.darknet import DarknetDetector;"
        "DarknetDetector(name='a', cfg='c', weights='w', names='n');"
        "print([m for m in ('onnxruntime', 'onnx', 'numba', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_spec_names_the_files_from_its_own_folder(tmp_path):
    darknet.write(tmp_path, darknet.V2)
    (tmp_path / "spec.yaml").write_text(
        "kind: DetectionEnsemble\nname: e\ndetectors:\n"
        "- {name: a, kind: darknet, cfg: m.cfg, weights: m.weights, names: m.names}\n"
        "- {name: b, kind: darknet, cfg: m.cfg, weights: m.weights, names: [x, y, z]}\n"
    )
    first, second = EnsembleSpec.from_yaml(tmp_path / "spec.yaml").detectors
    assert (first.load().labels, second.load().labels) == (NAMES, ("x", "y", "z"))


def test_auto_takes_the_fastest_provider_and_says_which(tmp_path, caplog):
    caplog.set_level("INFO", logger="quorate.detectors")
    files = darknet.write(tmp_path, darknet.V2)
    plain = files.detector().load().predict([picture(40, 60)])[0]
    found = files.detector(providers="auto").load().predict([picture(40, 60)])[0]
    assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True))
    assert "runs on CPUExecutionProvider" in caplog.text


# The same numbers as OpenCV


@pytest.mark.parametrize("kind", darknet.CFGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_forward_pass_is_opencvs(tmp_path, kind, seed):
    files = darknet.write(tmp_path, darknet.CFGS[kind], seed=seed)
    predictor = files.detector().load()
    tensor = fed(predictor, picture(77, 103, seed))
    ours, theirs = rows_of(predictor, tensor), rows_of_opencv(files, tensor)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:, :5], theirs[:, :5], rtol=1e-4, atol=1e-4)
    # OpenCV's region layer suppresses by itself: the scores of a suppressed box become 0.
    stays = theirs[:, 5:] != 0
    assert stays.all() if kind != "v2" else stays.mean() > 0.3
    np.testing.assert_allclose(ours[:, 5:][stays], theirs[:, 5:][stays], atol=1e-4)


@pytest.mark.parametrize("kind", darknet.CFGS)
@pytest.mark.parametrize("size", [(77, 103), (33, 250), (21, 8)])
def test_the_boxes_after_suppression_are_opencvs(tmp_path, kind, size):
    files = darknet.write(tmp_path, darknet.CFGS[kind])
    predictor = files.detector(**ALL).load()
    shown = picture(*size)
    tensor = fed(predictor, shown)
    rows = rows_of_opencv(files, tensor)
    # The region layer's own suppression, which knows no best category, took some scores away.
    rows[:, 5:] = np.where(rows[:, 5:] > 0, rows[:, 5:], rows_of(predictor, tensor)[:, 5:])
    # The best hundred: among thousands, some pair overlaps by 0.45 to the last digit.
    best = np.sort(rows[:, 5:].max(axis=1))[::-1]
    floor = float(best[100] + best[101]) / 2
    rows = rows[rows[:, 5:].max(axis=1) > floor]
    predictor = files.detector(**(ALL | {"min_score": floor})).load()
    ours = as_table(predictor.predict([shown])[0])
    theirs = paired(ours, boxes_of_opencv(rows, size, 0.45))
    np.testing.assert_allclose(ours[:, :4], theirs[:, :4], atol=1e-4 * max(size))
    np.testing.assert_allclose(ours[:, 4:], theirs[:, 4:], atol=1e-4)


def test_the_picture_is_stretched_as_opencvs_samples_do(tmp_path):
    files = darknet.write(tmp_path, darknet.V3)
    predictor = files.detector().load()
    shown = picture(201, 133)
    blob = cv2.dnn.blobFromImage(shown, 1 / 255, (64, 96), swapRB=False, crop=False)
    assert np.abs(fed(predictor, shown) - blob).max() <= 1 / 255
    np.testing.assert_allclose(
        rows_of(predictor, fed(predictor, shown))[:, 4:],
        rows_of_opencv(files, blob)[:, 4:],
        atol=0.02,
    )


def test_an_old_file_counts_the_pictures_seen_in_32_bits(tmp_path):
    old = darknet.header(major=0, minor=1) + darknet.numbers(darknet.V3_TINY).tobytes()
    files = darknet.write(tmp_path, darknet.V3_TINY, weights=old)
    predictor = files.detector().load()
    tensor = fed(predictor, picture(50, 50))
    np.testing.assert_allclose(
        rows_of(predictor, tensor), rows_of_opencv(files, tensor), rtol=1e-4, atol=1e-4
    )


def test_another_size_than_the_cfgs(tmp_path):
    files = darknet.write(tmp_path, darknet.V3)
    predictor = files.detector(image_size=[128, 160]).load()
    tensor = fed(predictor, picture(50, 50))
    assert tensor.shape == (1, 3, 128, 160)
    theirs = rows_of_opencv(files, tensor)
    np.testing.assert_allclose(rows_of(predictor, tensor), theirs, rtol=1e-4, atol=1e-4)


# A predictor's duties


def test_batch_equals_single_and_threads_equal_one(tmp_path):
    files = darknet.write(tmp_path, darknet.V4)
    shown = [picture(50 + 7 * i, 81 - 5 * i, seed=i) for i in range(7)]
    single = files.detector(**ALL).load()
    one_by_one = [single.predict([p])[0] for p in shown]
    together = files.detector(batch=4, **ALL).load().predict(shown)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda p: single.predict([p])[0], shown))
    for alone, beside, elsewhere in zip(one_by_one, together, threaded, strict=True):
        np.testing.assert_allclose(as_table(beside), as_table(alone), atol=1e-3)
        np.testing.assert_array_equal(as_table(elsewhere), as_table(alone))
    assert single.labels == NAMES
    assert_conforms(single)


def test_defaults(tmp_path):
    predictor = darknet.write(tmp_path, darknet.V3).detector().load()
    assert (predictor.resize, predictor.min_score) == ("stretch", 0.05)
    assert predictor.layout.nms_iou == 0.45
    assert predictor.told["layout"] == "darknet, by its .cfg"
    assert (predictor.normalisation.channels, predictor.antialias) == ("rgb", False)


@pytest.mark.parametrize(
    ("letter_box", "asked", "resize"),
    [(0, None, "stretch"), (1, None, "letterbox"), (1, "stretch", "stretch")],
)
def test_letterbox_where_the_cfg_or_the_spec_says_so(tmp_path, letter_box, asked, resize):
    cfg = darknet.V3.replace("channels=3", f"channels=3\nletter_box={letter_box}", 1)
    files = darknet.write(tmp_path, cfg)
    options = {} if asked is None else {"resize": asked}
    predictor = files.detector(**options).load()
    assert predictor.resize == resize
    if resize == "letterbox":
        tensor = fed(predictor, np.zeros((10, 40, 3), np.uint8))
        assert np.unique(tensor) == pytest.approx([0, 0.5], abs=0.002)


def test_one_pixel_is_a_picture(tmp_path):
    [boxes] = darknet.write(tmp_path, darknet.V2).detector().load().predict([picture(1, 1)])
    assert len(boxes.score)
    assert ((boxes.xyxy >= 0) & (boxes.xyxy <= 1)).all()


# The cache


def cached(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.*"))


def test_files_become_onnx_once(tmp_path, monkeypatch):
    files = darknet.write(tmp_path, darknet.V3_TINY)
    first = files.detector().load()
    [made] = cached(tmp_path)
    before = made.stat().st_mtime_ns, made.read_bytes()
    monkeypatch.setattr("quorate.detectors.darknet.conversion.onnx_model", pytest.fail)
    shown = picture(40, 60)
    again = files.detector().load().predict([shown])[0]
    np.testing.assert_array_equal(as_table(again), as_table(first.predict([shown])[0]))
    assert (made.stat().st_mtime_ns, made.read_bytes()) == before
    assert cached(tmp_path) == [made]


def test_other_files_or_another_size_are_another_model(tmp_path):
    files = darknet.write(tmp_path, darknet.V3_TINY)
    files.detector().load()
    files.detector(image_size=128).load()
    files.cfg.write_text(darknet.V3_TINY.replace("leaky", "relu"))
    files.detector().load()
    darknet.write(tmp_path, darknet.V3_TINY, seed=1)
    files.detector().load()
    assert len(cached(tmp_path)) == 4


@pytest.mark.parametrize("damage", [b"", b"not ONNX", "cut"])
def test_a_damaged_file_in_the_cache_is_made_anew(tmp_path, damage):
    files = darknet.write(tmp_path, darknet.V3_TINY)
    files.detector().load()
    [made] = cached(tmp_path)
    whole = made.read_bytes()
    made.write_bytes(whole[: len(whole) // 2] if damage == "cut" else damage)
    files.detector().load()
    assert made.read_bytes() == whole
    assert cached(tmp_path) == [made]


@pytest.mark.parametrize("where", ["a file", "/proc/nowhere"])
def test_where_nothing_can_be_kept_it_works_all_the_same(tmp_path, monkeypatch, where):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path / where))
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    predictor = darknet.write(tmp_path, darknet.V3_TINY).detector().load()
    assert predictor.predict([picture(20, 20)])[0].score.size


def test_without_the_onnx_package_a_model_is_made_by_nobody_but_a_made_one_is_used(tmp_path):
    files = darknet.write(tmp_path, darknet.V3_TINY)
    code = (
        "import sys; sys.modules['onnx'] = None;"
        "from quorate.detectors.darknet import DarknetDetector as D;"
        "from quorate.errors import MissingExtraError;"
        "cfg, weights = sys.argv[1:];"
        "d = D(name='d', cfg=cfg, weights=weights, names=('a', 'b', 'c'))"
        "\ntry: print(d.load().labels)"
        "\nexcept MissingExtraError as error: print(error.hint)"
    )

    def said():
        command = [sys.executable, "-c", code, str(files.cfg), str(files.weights)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip(), done.stderr

    assert said() == ("pip install 'quorate[darknet]'", "")
    files.detector().load()
    assert said() == ("('a', 'b', 'c')", "")


def test_the_users_cache_is_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("QUORATE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "quorate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "quorate"


def test_two_processes_may_make_the_same_file_at_once(tmp_path):
    files = darknet.write(tmp_path, darknet.V3)
    code = (
        "import sys; from quorate.detectors.darknet import DarknetDetector as D;"
        "sys.stdin.readline();"
        "p = D(name='d', cfg=sys.argv[1], weights=sys.argv[2], names=sys.argv[3]).load();"
        "print(p.labels)"
    )
    paths = [str(files.cfg), str(files.weights), str(files.names)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(2)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        said, _ = process.communicate(timeout=PATIENCE)
        assert said.strip() == str(NAMES)
    assert [path.suffix for path in cached(tmp_path)] == [".onnx"]


def test_all_its_files_count_when_a_run_goes_on():
    """A changed .cfg is another network: what an older one saw is not kept."""
    from quorate.detectors.darknet import DarknetDetector

    given = {"name": "d", "cfg": "d.cfg", "weights": "d.weights"}
    assert DarknetDetector(**given, names="d.names").files == ("d.weights", "d.names", "d.cfg")
    assert DarknetDetector(**given, names=("car",)).files == ("d.weights", "d.cfg")
