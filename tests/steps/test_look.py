"""One picture in: the very boxes that a run publishes."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import ExifTags, Image

from quorate import pictures
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.ensemble import DetectionEnsemble
from quorate.errors import DetectorError, ImageError, InputError, QuorumError, ServerError
from quorate.formats import read
from quorate.labels import Labels
from quorate.spec import Publish
from quorate.steps import Work
from tests.spots import Spots, draw, pool

EXAMPLE = Path(__file__).parents[2] / "docs/examples/parts"
A = Spots(name="a", kind="spots")
B = Spots(name="b", kind="spots", shift=1.0, score=0.8)
C = Spots(name="c", kind="spots", blind="green", score=0.7)
LABELS = ("green", "red")


def ensemble(*detectors, **more):
    return DetectionEnsemble(name="e", detectors=detectors or (A, B, C), labels=LABELS, **more)


def same(one: Detections, other: Detections) -> bool:
    """Whether all columns but the picture's id are equal to the bit, members and masks too."""
    drop = lambda boxes: boxes.to_arrow().drop_columns(["image_id"])  # noqa: E731
    return drop(one).equals(drop(other))


def decided(out: Path, least: float) -> tuple[tuple, Detections]:
    """The pictures of a run of one shard, and what it decided and published."""
    work = Work(out / "work")
    fused = Detections.from_parquet(work.fused(0) / "detections.parquet")
    return work.images(0).images, fused.take(fused.score >= least)


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_the_demo_looked_at_picture_by_picture_is_the_demo_run(tmp_path, least):
    """Calibrations, labels, and views that are fused and that vote; tiles for the third."""
    spec = DetectionEnsemble.from_yaml(EXAMPLE / "spec.yaml")
    changes = ({"tta": ["hflip"], "views": "vote"}, {"tta": ["rotate-90"]}, {})
    detectors = [
        type(detector).model_validate(detector.model_dump() | change)
        for detector, change in zip(spec.detectors, changes, strict=True)
    ]
    assert any(detector.calibration for detector in detectors)
    for folder in ("bench-card", "bench-wood"):
        for file in sorted((EXAMPLE / "images").glob(f"{folder}/*.*"))[:2]:
            (tmp_path / "pool" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "pool" / folder)
    spec = spec.model_copy(
        update={
            "detectors": tuple(detectors),
            "data": str(tmp_path / "pool"),
            "labels": () if least else spec.labels,
            "publish": Publish(min_score=least, formats=("coco",), report=False),
        }
    )
    summary = spec.run(out=tmp_path / "out")
    images, published = decided(tmp_path / "out", least)
    assert summary.published == len(published) > 0
    assert len(read(tmp_path / "out/coco").annotations) == len(published)
    places = [tmp_path / "pool" / image.file_name for image in images]
    with spec.load() as loaded:
        one_by_one = [loaded.look(place) for place in places]
        many = loaded.look_many(places)
        with ThreadPoolExecutor(4) as threads:
            at_once = list(threads.map(loaded.look, places))
    for image, *found in zip(images, one_by_one, many, at_once, strict=True):
        expected = published.take(published.image_id == image.id)
        assert all(same(one, expected) for one in found)
    assert [set(one.image_id.tolist()) - {i} for i, one in enumerate(many)] == [set()] * len(many)
    assert loaded.labels == Work(tmp_path / "out/work").images(0).labels


def test_any_kind_of_picture_gives_the_same(tmp_path):
    draw(tmp_path / "a.png", 3)
    data = (tmp_path / "a.png").read_bytes()
    image = Image.open(tmp_path / "a.png")
    with ensemble().load() as loaded:
        expected = loaded.look(tmp_path / "a.png")
        assert len(expected) == 2
        for picture in (str(tmp_path / "a.png"), data, image, image.convert("RGBA"),
                        np.array(image), pictures.decode(data, name="x")):  # fmt: skip
            assert same(loaded.look(picture), expected)


class Meeting(Spots):
    """Answers once another detector looks at the same time."""

    def load(self):
        predictor = super().load()
        alone = predictor.predict

        def predict(shown):
            TOGETHER.wait(60)
            return alone(shown)

        predictor.predict = predict
        return predictor


TOGETHER = threading.Barrier(2)


def test_the_detectors_look_at_a_picture_at_the_same_time(tmp_path):
    draw(tmp_path / "a.png", 3)
    detectors = tuple(Meeting(name=name, kind="spots") for name in "ab")
    with DetectionEnsemble(name="e", labels=("red", "green"), detectors=detectors).load() as loaded:
        assert loaded.look(tmp_path / "a.png").votes.tolist() == [2, 2]


def test_files_are_looked_at_upright_and_pixels_as_they_stand(tmp_path):
    draw(tmp_path / "a.png", 3)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    upright = Image.open(tmp_path / "a.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turned)
    with ensemble().load() as loaded:
        expected = loaded.look(upright)
        assert same(loaded.look(tmp_path / "turned.png"), expected)
        assert not same(loaded.look(Image.open(tmp_path / "turned.png")), expected)


def test_what_is_no_picture_is_refused(tmp_path):
    with ensemble().load() as loaded:
        with pytest.raises(ImageError, match="picture 0"):
            loaded.look(b"no picture")
        with pytest.raises(InputError, match=r"gone\.png"):
            loaded.look_many([tmp_path / "gone.png"])
        for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
                      np.zeros((0, 4, 3), np.uint8)):  # fmt: skip
            with pytest.raises(InputError, match="picture 0"):
                loaded.look(wrong)
        assert loaded.look_many([]) == []


def test_a_detector_that_fails_costs_its_votes_and_is_told(tmp_path):
    draw(tmp_path / "wide.png", 7, width=80)
    draw(tmp_path / "plain.png", 7)
    broken = C.model_copy(update={"fails_at_width": 80})
    told = []
    with ensemble(A, B, broken).load(on_failure=lambda *words: told.append(words)) as loaded:
        wide, plain = loaded.look_many([tmp_path / "wide.png", tmp_path / "plain.png"])
        assert wide.detectors == ("a", "b")
        assert plain.detectors == ("a", "b", "c")
        assert told == [("c", f"{tmp_path}/wide.png: RuntimeError('out of sorts')")]
    with ensemble(A, B, broken).load() as loaded, pytest.warns(RuntimeWarning, match="out of sor"):
        loaded.look(tmp_path / "wide.png")
    with (
        ensemble(A, B, broken, quorum=3).load() as loaded,
        pytest.raises(QuorumError, match="2 of 3 detectors succeeded, need 3: c: "),
    ):
        loaded.look(tmp_path / "wide.png")


def test_a_container_cannot_be_asked_for_one_picture():
    theirs = ContainerDetector(name="theirs", command=("true",))
    with pytest.raises(DetectorError, match="theirs: a container sees a whole shard") as caught:
        ensemble(A, theirs).load()
    assert "kind: remote" in caught.value.hint


def test_category_ids_are_those_of_the_data_set_or_as_given(tmp_path):
    first = ensemble(A).model_copy(update={"data": str(pool(tmp_path / "pool", 2)), "publish":
                     Publish(formats=("coco",), report=False)})  # fmt: skip
    first.run(out=tmp_path / "first")
    file = tmp_path / "first/coco/annotations/instances_default.json"
    (tmp_path / "pool/annotations").mkdir()
    text = file.read_text().replace('"id": 1, "name": "green"', '"id": 77, "name": "green"')
    text = text.replace('"id":1,"name":"green"', '"id":77,"name":"green"')
    text = text.replace('"category_id":1,', '"category_id":77,')
    text = text.replace('"category_id": 1,', '"category_id": 77,')
    (tmp_path / "pool/annotations/instances_default.json").write_text(text)
    picture = tmp_path / "pool/south/0000.png"
    with first.load() as loaded:
        assert loaded.labels.id_of("green") == 77
        assert 77 in loaded.look(picture).category_id
    given = Labels(names=("red", "green"), ids=(5, 6))
    with ensemble(A).load(labels=given) as loaded:
        assert sorted(loaded.look(picture).category_id.tolist()) == [5, 6]


def test_what_is_no_picture_is_told(tmp_path):
    draw(tmp_path / "a.png", 1)
    whole = (tmp_path / "a.png").read_bytes()
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    with ensemble().load() as loaded:
        for picture in (None, 5, [[1]], Image.new("RGB", (0, 0)), "a\0b"):
            with pytest.raises(InputError):
                loaded.look(picture)
        for picture in (closed, b"", b"abc"):
            with pytest.raises((ImageError, InputError)):
                loaded.look(picture)
        first = loaded.look(whole)
        assert same(loaded.look(bytearray(whole)), first)
        assert same(loaded.look(memoryview(whole)), first)
        assert [len(boxes) for boxes in loaded.look_many(one for one in [whole] * 2)] == [2, 2]


STRIPS = """
import resource, sys
import numpy as np
from quorate.ensemble import DetectionEnsemble
spec = DetectionEnsemble.from_yaml(sys.argv[1])
tiled = [type(d).model_validate(d.model_dump() | {"tiles": {}}) for d in spec.detectors]
with spec.model_copy(update={"detectors": tuple(tiled), "data": None}).load() as loaded:
    for shape in ((3000, 2), (1, 2999), (701, 333)):
        loaded.look(np.zeros((*shape, 3), np.uint8))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def test_strips_in_tiles_take_no_more_memory_than_other_pictures():
    run = [sys.executable, "-c", STRIPS, str(EXAMPLE / "spec.yaml")]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 2000  # MB; one strip alone took five thousand


class Away(Spots):
    kind: Literal["spots"] = "spots"

    def load(self):
        predictor = super().load()
        predictor.predict = lambda pictures: (_ for _ in ()).throw(ServerError("http://m: away"))
        return predictor


def test_a_server_that_is_away_raises_or_costs_its_votes(tmp_path):
    draw(tmp_path / "a.png", 3)
    detectors = (A, B, Away(name="m", kind="spots"))
    with ensemble(*detectors).load() as loaded, pytest.raises(ServerError, match="away"):
        loaded.look(tmp_path / "a.png")
    told = []
    with ensemble(*detectors).load(
        servers_may_fail=True, on_failure=lambda *failed: told.append(failed)
    ) as loaded:
        assert loaded.look(tmp_path / "a.png").detectors == ("a", "b")
    assert told == [("m", "http://m: away")]
    with (
        ensemble(A, *[Away(name=n, kind="spots") for n in "mn"]).load(
            servers_may_fail=True
        ) as loaded,
        pytest.raises(QuorumError, match="away"),
    ):
        loaded.look(tmp_path / "a.png")
