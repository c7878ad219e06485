"""What is wrong with darknet's files is said in one sentence; nothing absurd is allocated."""

import contextlib
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detectors.darknet.config import read_config
from quorate.detectors.darknet.network import read_network
from quorate.detectors.darknet.weights import read_filters, read_floats
from quorate.errors import DetectorError
from tests.detectors import darknet_files as darknet
from tests.detectors.darknet_files import ANCHORS, conv, net, section, yolo

HEAD = conv(24, 1, activation="linear", normalised=0) + yolo(ANCHORS, "0,1,2")
SMALL = net() + conv(8, stride=8) + HEAD


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path / "cache"))


def refused(cfg, *, match):
    with pytest.raises(DetectorError, match=match) as caught:
        read_network(cfg.encode() if isinstance(cfg, str) else cfg, origin="m.cfg")
    return caught.value


def with_layer(name, **options):
    return net() + conv(8) + section(name, **options) + HEAD


# The cfg


def test_blanks_comments_and_repeated_sections_and_keys_are_read_as_darknet_does():
    text = b"\xef\xbb\xbf[net]\r\nwidth = 6 4\nheight=32 # low\n\n;x\n[conv]\n[ conv ]\na=1\na=2\n"
    sections = read_config(text, origin="m.cfg")
    assert [s.name for s in sections] == ["net", "conv", "conv"]
    assert sections[0].integer("width", 0, least=1, most=99) == 64
    assert sections[0].integer("height", 0, least=1, most=99) == 32
    assert sections[2].options == {"a": ("1", 8)}


def test_keys_that_nobody_asks_for_are_passed_over():
    read_network(
        SMALL.replace("channels=3", "channels=3\npolicy=steps\nfoo=bar").encode(), origin="c"
    )


@pytest.mark.parametrize(
    ("cfg", "match"),
    [
        ("", "no \\[section\\]"),
        ("hello", "m.cfg:1: 'hello' is neither"),
        ("[net\n", "not a \\[section\\]"),
        ("width=3\n[net]", "neither a \\[section\\] nor"),
        (conv(3), "the first section of a cfg is \\[net\\]"),
        (b"\x00\x00\x00\x00", "not a darknet cfg"),
        (b"[net]\n" * 200_000, "not a darknet cfg"),
        ("[net]\n" * 3000, "more than 2000 sections"),
        (net(), "finds no boxes"),
        (net() + conv(3), "finds no boxes"),
        ("[net]\nchannels=3\n" + HEAD, "width and height are missing"),
        ("[net]\nwidth=64\nheight=64\nchannels=1\n" + HEAD, ":4: \\[net\\].*three channels"),
        ("[net]\nwidth=64\nheight=64x\n" + HEAD, "height='64x' is not a whole number"),
        ("[net]\nwidth=1e9\nheight=64\n" + HEAD, "width='1e9' is not a whole number"),
        ("[net]\nwidth=99999\nheight=64\n" + HEAD, "width=99999 is outside 1..8192"),
        ("[net]\nwidth=" + "9" * 5000 + "\nheight=64\n" + HEAD, "is not a whole number"),
        (with_layer("avgpool"), ":16: \\[avgpool\\]: layers of this kind are not supported"),
        (with_layer("connected", output=9), "\\[connected\\]"),
        (with_layer("softmax"), "\\[softmax\\]"),
        (with_layer("Gaussian_yolo"), "\\[gaussian_yolo\\]"),
        (net() + conv(0) + HEAD, "filters=0 is outside"),
        (net() + conv(8, size=0) + HEAD, "size=0 is outside"),
        (net() + conv(8, stride=0) + HEAD, "stride=0 is outside"),
        (net() + conv(8, stride=-1) + HEAD, "stride=-1 is outside"),
        (net(128, 128) + conv(60_000) * 2 + HEAD, "too large: 60000 x 128 x 128"),
        (net() + conv(8) + section("maxpool", size=64, stride=64, padding=0) * 2, "be empty: 8 x"),
        (net() + conv(8, activation="leeky") + HEAD, "activation=leeky is not known here"),
        (net() + conv(8, groups=3) + HEAD, "3 channels and 8 filters cannot be split"),
        (net() + conv(8, dilation=2) + HEAD, "dilation=2 is not supported"),
        (net() + conv(8, xnor=1) + HEAD, "xnor=1 is not supported"),
        (net() + conv(8, share_index=0) + HEAD, "share_index=0 is not supported"),
        (with_layer("route"), "layers is missing"),
        (with_layer("route", layers=1), "layers=1 is outside -1..0"),
        (with_layer("route", layers="-2"), "layers=-2 is outside"),
        (with_layer("route", layers="-1,,-1"), "layers='' is not a whole number"),
        (with_layer("route", layers="-1," * 2000), "lists more than 1000"),
        (with_layer("route", layers=-1, groups=3), "8 channels cannot be split into 3 groups"),
        (with_layer("route", layers=-1, groups=2, group_id=2), "group_id=2 is outside 0..1"),
        (net() + conv(8) + conv(8, stride=2) + section("route", layers="-1,-2"), "different sizes"),
        (with_layer("shortcut"), "from is missing"),
        (with_layer("shortcut", **{"from": "-1,-1"}), "more than one layer to add"),
        (with_layer("shortcut", **{"from": -1}, weights_type="per_feature"), "not supported"),
        (
            net() + conv(8) + conv(8, stride=2) + section("shortcut", **{"from": -2}),
            "adds layers of different sizes: 8 x 32 x 32 and 8 x 64 x 64",
        ),
        (with_layer("reorg", stride=3), "stride=3 does not divide 8 x 64 x 64"),
        (with_layer("reorg", stride=2, reverse=1), "reverse=1 is not supported"),
        (with_layer("upsample", stride=0), "stride=0 is outside"),
        (with_layer("upsample", stride=-2), "stride=-2 is outside"),
        (net() + conv(8) + section("upsample", stride=32) * 2, "too large: 8 x 65536 x 65536"),
        (with_layer("upsample", scale="nan"), "scale='nan' is not a number"),
        (with_layer("maxpool", size=2, padding=9), "padding=9 is outside"),
        (with_layer("maxpool", maxpool_depth=1), "maxpool_depth=1 is not supported"),
        (net() + conv(23) + yolo(ANCHORS, "0,1,2"), "3 anchors of 3 classes need 24 channels"),
        (net() + conv(24) + yolo(ANCHORS, "0,1,6"), "mask=6 is outside 0..5"),
        (SMALL.replace("num=6", "num=5"), "num=5 needs 10 numbers under anchors, found 12"),
        (SMALL.replace("10,14,", "inf,14,"), "anchors='inf' is not a number"),
        (SMALL.replace("10,14,", "1e99,14,"), "anchors=1e\\+99 is outside"),
        (SMALL.replace("classes=3", "classes=three"), "classes='three' is not a whole number"),
        (SMALL + conv(3), "after a layer that gives boxes"),
        (SMALL + section("route", layers=-1), "names a layer that gives boxes"),
        (SMALL + section("route", layers=0) + conv(27, 1) + yolo(ANCHORS, "0,1,2", 4),
         "different numbers of classes: \\[3, 4\\]"),
        (net() + conv(24) + section("region", classes=3, num=3, tree="9k.tree"), "tree of labels"),
        (net() + conv(24) + section("region", classes=3, num=3, background=1), "background=1"),
    ],
)  # fmt: skip
def test_a_wrong_cfg_is_said_to_be_wrong(cfg, match):
    error = refused(cfg, match=match)
    assert str(error).startswith("m.cfg")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(SMALL)))
def test_any_cfg_is_a_network_or_an_error(noise, place):
    raw = SMALL.encode()
    for data in (noise, raw[:place] + noise + raw[place:], raw[:place]):
        with contextlib.suppress(DetectorError):
            read_network(data, origin="m.cfg")


def test_a_size_that_the_network_does_not_divide_has_a_hint(tmp_path):
    files = darknet.write(tmp_path, darknet.V3_TINY)
    with pytest.raises(DetectorError, match="different sizes") as caught:
        files.detector(image_size=100).load()
    assert "multiples of 32" in caught.value.hint


# The weights


def load(tmp_path, cfg=SMALL, **options):
    return darknet.write(tmp_path, cfg, **options).detector().load()


@pytest.mark.parametrize("missing", [1, 2, 4, 400])
def test_weights_cut_short(tmp_path, missing):
    whole = darknet.header() + darknet.numbers(SMALL).tobytes()
    wanted = len(darknet.numbers(SMALL))
    with pytest.raises(DetectorError, match=f"cut short.*need {wanted} numbers") as caught:
        load(tmp_path, weights=whole[:-missing])
    assert f"the file has {wanted - -(-missing // 4)}" in caught.value.message


@pytest.mark.parametrize("extra", [1, 4, 4000])
def test_weights_too_long(tmp_path, extra):
    whole = darknet.header() + darknet.numbers(SMALL).tobytes()
    with pytest.raises(DetectorError, match=r"too long for .*m\.cfg"):
        load(tmp_path, weights=whole + bytes(extra))


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (b"", "the file is empty"),
        (b"\0" * 15, "not a darknet .weights file: only 15 bytes"),
        (darknet.header(), "cut short.*the file has 0"),
        (darknet.header()[:18], "cut short.*the file has 0"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "cut short"),
    ],
)
def test_what_is_no_weights(tmp_path, weights, match):
    with pytest.raises(DetectorError, match=match):
        load(tmp_path, weights=weights)


def test_a_small_file_for_a_huge_cfg_costs_nothing(tmp_path):
    cfg = net() + conv(60_000, stride=64) + conv(60_000, 63) + HEAD
    with pytest.raises(DetectorError, match="need 14,288,403,540,024 numbers, the file has 16"):
        load(tmp_path, cfg=cfg, weights=darknet.header() + bytes(64))


@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (0, np.nan, "layer 0 .*NaN or infinite"),
        (9, np.inf, "layer 0 .*NaN or infinite"),
        (8 * 3, -0.1, "layer 0 .*a variance is negative"),
        (8 * 3 + 1, np.nan, "layer 0 .*a variance is negative or no number"),
        (-1, np.nan, "layer 1 .*NaN or infinite"),
    ],
)
def test_numbers_that_no_weights_have(tmp_path, position, value, match):
    numbers = darknet.numbers(SMALL)
    numbers[position] = value
    with pytest.raises(DetectorError, match=match):
        load(tmp_path, weights=darknet.header() + numbers.tobytes())


def test_numbers_too_large_together(tmp_path):
    numbers = darknet.numbers(SMALL)
    numbers[8], numbers[32] = 1e30, 1e30  # a scale and what it scales
    with pytest.raises(DetectorError, match=r"layer 0 .*NaN or infinite"):
        load(tmp_path, weights=darknet.header() + numbers.tobytes())


def test_a_variance_of_nought_is_a_dead_channel(tmp_path):
    numbers = darknet.numbers(SMALL)
    numbers[24:32] = 0
    load(tmp_path, weights=darknet.header() + numbers.tobytes())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(-3, 1200), st.integers(-3, 1200))
def test_any_weights_are_numbers_or_an_error(body, major, minor):
    network = read_network(SMALL.encode(), origin="m.cfg")
    data = struct.pack("<iii", major, minor, 0) + body
    with pytest.raises(DetectorError):
        read_filters(read_floats(data, network, origin="w"), network, origin="w")


@pytest.mark.parametrize("which", ["cfg", "weights", "names"])
def test_a_missing_file(tmp_path, which):
    files = darknet.write(tmp_path, SMALL)
    os.remove(getattr(files, which))
    with pytest.raises(DetectorError, match=rf"m\.{which}: there is no such file"):
        files.detector().load()


def test_cfg_and_weights_swapped(tmp_path):
    files = darknet.write(tmp_path, SMALL)
    with pytest.raises(DetectorError, match="not a darknet cfg") as caught:
        files.detector(cfg=str(files.weights), weights=str(files.cfg)).load()
    assert "swapped" in caught.value.hint


# The names


def test_names_in_the_spec_in_place_of_a_file(tmp_path):
    files = darknet.write(tmp_path, SMALL)
    assert files.detector(names=("x", "y", "z")).load().labels == ("x", "y", "z")


@pytest.mark.parametrize("text", ["ant\r\nbee\r\nbig cat\r\n\r\n", "\ufeffant\nbee \nbig cat"])
def test_names_with_other_line_ends(tmp_path, text):
    files = darknet.write(tmp_path, SMALL)
    files.names.write_bytes(text.encode())
    assert files.detector().load().labels == ("ant", "bee", "big cat")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ("ant\nbee\n", r"m\.names: 2 labels, but .*m\.cfg has classes=3"),
        ("a\nb\nc\nd\n", "4 labels"),
        ("a\n\nc\n", r"m\.names:2: the line is empty"),
        ("\n", r"m\.names:1: the line is empty"),
        ("", "the file is empty"),
        ("a\n" * 600_000, "larger than 1 MiB"),
    ],
)
def test_names_that_do_not_fit(tmp_path, names, match):
    files = darknet.write(tmp_path, SMALL, names=names)
    with pytest.raises(DetectorError, match=match):
        files.detector().load()


def test_names_that_are_no_text(tmp_path):
    files = darknet.write(tmp_path, SMALL)
    files.names.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(DetectorError, match="cannot be read as text"):
        files.detector().load()


def test_too_few_names_in_the_spec(tmp_path):
    with pytest.raises(DetectorError, match="`names` of the detector 'd': 1 labels"):
        darknet.write(tmp_path, SMALL).detector(names=("x",)).load()
