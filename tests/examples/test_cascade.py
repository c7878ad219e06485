"""The plug-in of docs/examples/cascade, registered as an installation would register it."""

import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from quorate.errors import DetectorError, SpecError
from quorate.spec import EnsembleSpec, json_schema
from quorate.spec.detector import ENTRY_POINTS, detector_kinds

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "cascade"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example's module `faces`, while the plug-in is installed."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path_factory.mktemp("site")
    info = site / "quorate_cascade-0.1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"][ENTRY_POINTS]
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    info.joinpath("entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{lines}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.syspath_prepend(FOLDER)
        import faces

        yield faces
    for name in ("faces", "quorate_cascade"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def spec(example):
    return EnsembleSpec.from_yaml(FOLDER / "spec.yaml")


@pytest.fixture(scope="module")
def photographs(example, tmp_path_factory):
    return example.copy_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def found(example, spec, photographs):
    return example.find(spec, photographs)


def test_the_entry_point_makes_the_kind_known(example, spec):
    assert "cascade" in detector_kinds()
    assert [detector.kind for detector in spec.detectors] == ["cascade"] * 3
    assert "CascadeDetector" in json_schema()["$defs"]


def test_the_plug_ins_fields_are_checked_like_our_own(example, tmp_path):
    text = (FOLDER / "spec.yaml").read_text(encoding="utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(text.replace("cascade: frontalface_alt2", "cascad: frontalface_alt2"))
    with pytest.raises(SpecError, match="did you mean 'cascade'"):
        EnsembleSpec.from_yaml(path)


def test_a_cascade_that_opencv_has_not_is_an_error_with_the_nearest_name(spec):
    wrong = spec.detectors[0].model_copy(update={"cascade": "frontalface_alt3"})
    with pytest.raises(DetectorError, match="frontalface_alt3") as caught:
        wrong.load()
    assert "did you mean 'frontalface_alt" in caught.value.hint


def test_the_quorum_keeps_the_face_and_drops_what_one_cascade_alone_sees(example, spec, found):
    boxes, fused = found
    assert (boxes.score >= 0.05).all()
    assert (boxes.score < 1).all()
    astronaut = 1 + example.PHOTOGRAPHS.index("astronaut.png")
    coins = 1 + example.PHOTOGRAPHS.index("coins.png")
    for detector in spec.detectors:
        alone = boxes.of(detector.name)
        assert (alone.image_id == astronaut).any(), "each finds the face"
        nowhere = ~np.isin(alone.image_id, [astronaut, coins])
        assert nowhere.any(), "and each has a false alarm where there is no face"
    kept = fused.take(fused.image_id == astronaut)
    assert kept.votes.tolist() == [3]
    assert np.abs(kept.xyxy[0] - [177, 66, 273, 162]).max() < 4
    assert set(fused.image_id.tolist()) <= {astronaut, coins}
    assert (fused.votes >= 2).all()


def test_a_cascade_gives_the_same_boxes_from_any_thread(example, spec, photographs):
    predictor = spec.detectors[2].load()
    pictures = [
        example.decode((photographs / name).read_bytes(), name=name)
        for name in ("astronaut.png", "coins.png", "clock_motion.png")
    ]
    alone = [predictor.predict([picture])[0] for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        at_once = list(pool.map(lambda picture: predictor.predict([picture])[0], pictures * 2))
    for got, expected in zip(at_once, alone * 2, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    assert predictor.predict(pictures)[1].xyxy.tolist() == alone[1].xyxy.tolist()


def test_the_picture_of_the_page_is_drawn(example, spec, photographs, found):
    page = example.draw(spec, photographs, *found, height=120)
    colours = {colour for _, colour in page.getcolors(1 << 24)}
    assert example.QUORUM in colours
    assert set(example.COLOURS) <= colours
