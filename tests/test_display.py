"""A repr of anything fits a screen; in a notebook values show themselves."""

import html.parser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quorate
from quorate import (
    Annotations,
    Dataset,
    DetectionEnsemble,
    Detections,
    Labels,
    OnnxDetector,
    compare,
    effort,
    evaluate,
    fuse_files,
    read,
    read_detections,
    write,
)
from quorate.evaluation.agreement import agreement
from quorate.formats import write_results
from quorate.spec import Affirmative

EXAMPLE = Path(__file__).parents[1] / "docs/examples/parts"
SCREEN = 24 * 80


@pytest.fixture(scope="module")
def many():
    """Boxes of two detectors in 500 pictures, and the data set."""
    rng = np.random.default_rng(0)
    labels = Labels.from_names([f"label {i}" for i in range(365)])
    images = tuple(quorate.Image(id=i, file_name=f"{i:06}.jpg", width=100, height=100)
                   for i in range(1, 501))  # fmt: skip
    low = rng.uniform(0, 60, (3000, 2))
    boxes = Detections.build(
        image_id=np.repeat(np.arange(1, 501), 6), category_id=rng.integers(1, 366, 3000),
        xyxy=np.concatenate([low, low + rng.uniform(5, 40, (3000, 2))], axis=1),
        score=rng.random(3000), detector=np.tile([0, 1], 1500), detectors=("a", "b"),
    )  # fmt: skip
    truth = Annotations.from_detections(boxes.of("a"))
    return boxes, Dataset(root="pool", images=images, labels=labels, annotations=truth)


def shown(tmp_path, boxes, dataset):
    fused = quorate.fuse(boxes, Affirmative(), labels=dataset.labels)
    yield from (boxes, fused, fused.members, dataset, dataset.annotations, dataset.labels)
    yield dataset.annotations.points
    yield evaluate(boxes.of("b"), dataset)
    yield effort(boxes.of("b"), dataset)
    found = {name: boxes.of(name) for name in "ab"}
    comparison = compare(found, dataset, samples=20)
    yield from (comparison, comparison["a"])
    yield agreement(boxes, dataset, detectors=("a", "b"), iou=0.5)
    yield write(dataset, dataset.annotations, tmp_path / "voc", format="voc")
    for name, one in found.items():
        write_results(one, tmp_path / f"{name}.json")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    yield read_detections(files[0], dataset=dataset)
    yield fuse_files(files, Affirmative(), dataset=dataset)
    ensemble = DetectionEnsemble(
        name="many",
        detectors=[
            OnnxDetector(name=f"d{i}", weights=f"models/long/way/to/a/file/{i}.onnx", tta=["hflip"])
            for i in range(20)
        ],
        labels=dataset.labels.names,
    )
    yield from (ensemble, ensemble.detectors[0], ensemble.fusion, ensemble.publish)


def test_every_repr_fits_a_screen(many, tmp_path):
    for value in shown(tmp_path, *many):
        text = repr(value)
        assert text.startswith(type(value).__name__ + "("), text
        assert len(text) < SCREEN, text
        assert "object at 0x" not in text


def test_what_a_run_gives_fits_a_screen(tmp_path):
    (tmp_path / "pool").mkdir()
    for i in range(40):
        Image.new("RGB", (20, 20)).save(tmp_path / f"pool/a picture with a long name {i}.png")
        (tmp_path / f"pool/no picture {i}.jpg").write_text("no")
    spec = DetectionEnsemble.from_yaml(EXAMPLE / "spec.yaml")
    summary = spec.run(tmp_path / "pool", tmp_path / "out")
    assert len(repr(summary)) < SCREEN
    assert "skipped=<40 × Skipped>" in repr(summary)
    with spec.load() as loaded:
        assert repr(loaded) == "LoadedEnsemble('parts', detectors=['yolo', 'detr', 'frcnn'])"
    for value in (summary, spec):
        assert "frcnn" in well_formed(value._repr_html_())


def well_formed(page: str) -> str:
    """The text of a piece of HTML whose tags all close."""

    class Reader(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.opened, self.text = [], ""

        def handle_starttag(self, tag, attributes):
            self.opened.append(tag)

        def handle_endtag(self, tag):
            assert self.opened.pop() == tag

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(page)
    assert not reader.opened
    return reader.text


def test_boxes_show_themselves_as_a_table():
    boxes = Detections.build(
        image_id=range(30), category_id=1, xyxy=[[0, 0, 5, 5]] * 30, score=0.5, detectors=("<b>",)
    )
    page = boxes._repr_html_()
    assert "<b>" not in page.partition("</p>")[2]
    assert "… and 20 more" in well_formed(page)
    assert Detections.empty()._repr_html_()
    assert repr(Detections.empty(("a",))) == "Detections(no box, by ('a',))"


def test_the_names_of_quorate_are_its_public_ones():
    assert sorted(dir(quorate)) == sorted([*quorate.__all__, "__version__"])


def test_labels_of_masks_and_members_are_told(many):
    boxes, dataset = many
    fused = quorate.fuse(boxes, Affirmative(), labels=dataset.labels)
    assert "in 500 pictures, by ('a', 'b'), scores " in repr(boxes)
    assert repr(fused).endswith(", with members)")


def test_a_spec_does_not_show_what_may_be_a_secret():
    from quorate.detectors.remote import RemoteDetector

    one = RemoteDetector(name="a", url="http://m", model="m", headers={"Authorization": "TOKEN"})
    assert "TOKEN" not in repr(one)
    assert repr(one) == ("RemoteDetector(name='a', kind='remote', url='http://m', model='m')")


def test_a_data_set_is_short(many):
    assert repr(many[1]).startswith("Dataset(root='pool', images=<500 × Image>, labels=Labels(")
    assert len(repr(read(EXAMPLE / "images"))) < SCREEN
