"""Latency, loops and truth, without a server."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from quorate.client.answers import Label, label_of, label_outputs
from quorate.client.load import Latency, closed, opened
from quorate.client.model import Model
from quorate.client.truth import Truth, accuracy
from quorate.detectors.remote.client import Refused
from quorate.errors import DetectorError, FormatError, InputError
from quorate.http.retrying import Busy
from quorate.networks import Graph, tensor
from quorate.open_inference.tensors import datatype_of, from_bytes, from_list, to_bytes


def test_the_figures_are_those_of_the_book():
    found = Latency.of([0.010, 0.020, 0.030, 0.040, 0.100])
    assert found.mean == pytest.approx(40)
    assert found.median == pytest.approx(30)
    assert found.p90 == pytest.approx(76)
    assert found.p99 == pytest.approx(97.6)
    assert (found.min, found.max) == pytest.approx((10, 100))
    assert found.variance == pytest.approx(1000)
    assert found.deviation == pytest.approx(1000**0.5)
    assert Latency.of([]) is None


STALL = 0.5


def stalling():
    """A server of one thread that stalls once, at its third request."""
    lock = threading.Lock()

    def ask(number):
        with lock:
            time.sleep(STALL if number == 2 else 0)
        return {}

    return ask


def test_an_open_loop_counts_what_a_stall_kept_waiting():
    load = opened(stalling(), rate=100, seconds=0.4)
    assert load.requests == len(load.seconds) == 40
    # Requests 2..39 were due within 0.4 s, and the stall ended 0.5 s after the third was due.
    assert sum(one > 0.1 for one in load.seconds) >= 37
    alone = closed(stalling(), clients=1, seconds=9, most=40)
    assert sum(one > 0.1 for one in alone.seconds) == 1


def test_every_end_is_counted():
    ends = {0: Busy("HTTP 429, later"), 1: Refused("HTTP 400, bad"), 2: Busy("HTTP 429, no"),
            3: Busy("connection refused"), 4: Busy("RESOURCE_EXHAUSTED, full"),
            5: Busy("UNAVAILABLE, failed to connect"), 6: DetectorError("no sense")}  # fmt: skip

    def ask(number):
        if number in ends:
            raise ends[number]
        return {"x": number}

    load = closed(ask, clients=2, seconds=9, most=9, keep=True)
    assert load.requests == 9
    assert load.refused == {"HTTP 429": 2, "HTTP 400": 1, "RESOURCE_EXHAUSTED": 1}
    assert load.failed == {
        "connection refused": 1, "UNAVAILABLE, failed to connect": 1, "no sense": 1,
    }  # fmt: skip
    assert load.answers == {7: {"x": 7}, 8: {"x": 8}}


def graph(*outputs):
    return Graph((), tuple(tensor(*one) for one in outputs), {})


OURS = (
    ("label", (-1,), "BYTES"), ("probability", (-1,), "float"), ("index", (-1,), "int32"),
    ("categories", (-1,), "int32"), ("votes", (-1,), "int32"), ("voters", (-1,), "BYTES"),
    ("probabilities", (-1, 3), "float"), ("one.label", (-1,), "BYTES"),
)  # fmt: skip


@pytest.mark.parametrize(("outputs", "wanted"), [
    ([("label", (1,), "int32")], ["label"]),
    ([("prob", (1, 1001), "float")], ["prob"]),
    ([("prob", (-1, 1001, 1, 1), "float")], ["prob"]),
    ([("class", (1,), "int64"), ("prob", (1, 7), "float")], ["class", "prob"]),
    (OURS, ["label", "index", "probability", "voters"]),
])  # fmt: skip
def test_the_output_that_is_the_label_is_found(outputs, wanted):
    assert label_outputs(graph(*outputs)) == wanted


@pytest.mark.parametrize("outputs", [
    [("score", (1,), "float")],
    [("a", (1, 3), "float"), ("b", (1, 3), "float")],
    [("boxes", (-1, 4, 8), "float")],
])  # fmt: skip
def test_doubt_is_no_label(outputs):
    with pytest.raises(DetectorError, match="do not say which one is the label"):
        label_outputs(graph(*outputs))


def texts(*words):
    found = np.empty(len(words), object)
    found[:] = [word.encode() for word in words]
    return found


def test_labels_are_read_in_each_way():
    names = ("cat", "dog", "cow")
    row = np.array([[0.1, 0.7, 0.2]], np.float32)
    assert label_of({"p": row}, names, ()) == Label("dog", 1, pytest.approx(0.7))
    assert label_of({"p": row[..., None, None]}, (), ()) == Label("1", 1, pytest.approx(0.7))
    assert label_of({"label": np.array([2])}, names, ()) == Label("cow", 2, None)
    assert label_of({"label": np.array([9])}, names, ()) == Label("9", 9, None)
    both = {"label": np.array([2]), "p": row}
    assert label_of(both, names, ()) == Label("cow", 2, pytest.approx(0.2))
    ours = {"label": texts("dog"), "index": np.array([1]), "probability": row[0, 1:2],
            "voters": texts("one,three")}  # fmt: skip
    found = label_of(ours, (), ("one", "two", "three"))
    assert found == Label("dog", 1, pytest.approx(0.7), ("two",))
    with pytest.raises(DetectorError, match="NaN"):
        label_of({"p": row * np.nan}, names, ())


def test_the_truth_is_a_line_a_picture(tmp_path):
    path = tmp_path / "truth.txt"
    path.write_text("a.jpg cat\n\nb c.jpg,  sea lion \nin/d.jpg\t2\n")
    truth = Truth.read(str(path))
    assert truth.right("x/a.jpg", Label("cat", None, None)) is True
    assert truth.right("x/b c.jpg", Label("sea lion", 0, None)) is True
    assert truth.right("in/d.jpg", Label("cow", 2, None)) is True
    assert truth.right("in/d.jpg", Label("cow", 1, None)) is False
    assert truth.right("e.jpg", Label("cow", 1, None)) is None
    assert accuracy([True, None, False, True]) == pytest.approx(2 / 3)
    assert accuracy([None]) is None


@pytest.mark.parametrize("text", ["a.jpg", "a.jpg cat\na.jpg dog"])
def test_a_line_without_a_label_is_refused(tmp_path, text):
    path = tmp_path / "truth.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match="line"):
        Truth.read(str(path))


def test_files_and_texts_are_tensors_too():
    value = texts("one", "", "drei €").reshape(3, 1)
    assert datatype_of(value) == "BYTES"
    again = from_bytes("it", "BYTES", [3, 1], to_bytes(value))
    assert again.tolist() == value.tolist()
    assert again.shape == (3, 1)
    assert from_list("it", "BYTES", [2], ["a", "€"]).tolist() == [b"a", "€".encode()]
    for shape, data in (([3], ["a"]), ([1], [1]), ([-1], []), ([1], None)):
        with pytest.raises(DetectorError):
            from_list("it", "BYTES", shape, data)
    numbers = np.arange(6, dtype=">i4").reshape(2, 3)
    assert to_bytes(numbers) == numbers.astype("<i4").tobytes()


def test_no_numbers_are_made_for_an_input_of_texts():
    model = SimpleNamespace(graph=Graph((tensor("words", (-1, 1), "BYTES"),), (), {}))
    with pytest.raises(InputError, match="not of numbers that can be made"):
        Model.made(model, {"words": (1, 1)})
