"""An ensemble as a detection function: cvat-sdk's own driver calls it, and judges its answers.

What the driver would download is put in its place: pictures and labels, as the SDK's own models.
"""

import logging
import sys
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from cvat_cli._internal.agent_driver_detection import AgentDetectionFunctionDriver
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk import auto_annotation, models
from cvat_sdk.auto_annotation import driver
from cvat_sdk.masks import decode_mask
from PIL import ExifTags, Image

from quorate.cvat import detection_function
from quorate.ensemble import DetectionEnsemble
from quorate.errors import MissingExtraError, QuorumError
from tests.cvat.local import PARTS, WORDS, local_run
from tests.cvat.puppets import Puppet
from tests.spots import draw

SHOWN = ("votes", "confidence")


def label(number: int, name: str, type: str = "any", attributes=SHOWN) -> models.Label:
    """A label of a task, as a server tells it."""
    return models.Label(
        id=number,
        name=name,
        type=type,
        attributes=[
            models.Attribute(
                id=100 * number + i,
                name=one,
                mutable=False,
                input_type=models.InputTypeEnum("text"),
                values=["1"],
                default_value="1",
            )
            for i, one in enumerate(attributes)
        ],
        sublabels=[],
    )


@pytest.fixture
def annotate(monkeypatch):
    """Annotate files as a task of these labels; the shapes that would be sent."""

    def run(function, files, labels, **options):
        samples = [
            SimpleNamespace(
                frame_index=2 * i,  # deleted frames leave gaps
                frame_name=file.name,
                media=SimpleNamespace(
                    load_image=lambda file=file: Image.open(BytesIO(file.read_bytes()))
                ),
            )
            for i, file in enumerate(files)
        ]
        dataset = SimpleNamespace(labels=labels, samples=samples)
        monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: dataset)
        sent = []
        api = SimpleNamespace(
            partial_update_annotations=lambda action, task, patched_labeled_data_request: (
                sent.extend(patched_labeled_data_request.shapes)
            )
        )
        client = SimpleNamespace(logger=logging.getLogger("test"), tasks=SimpleNamespace(api=api))
        auto_annotation.annotate_task(client, 1, function, **options)
        return sent

    return run


def test_the_demo_has_the_very_boxes_of_a_run(annotate, tmp_path):
    names, published = local_run(tmp_path)
    labels = [label(7 + i, word) for i, word in enumerate(WORDS)]
    loader = FunctionLoader("quorate.cvat.function", None, {"spec": str(PARTS / "spec.yaml")})
    shapes = annotate(loader.load(), [PARTS / "images" / name for name in names], labels)
    told = {one.id: one.name for one in labels}
    words = {a.id: a.name for one in labels for a in one.attributes}
    for frame, name in enumerate(names):
        assert [
            (told[s.label_id], s.points, {words[a.spec_id]: a.value for a in s.attributes})
            for s in shapes
            if s.frame == 2 * frame
        ] == published[name], name
    assert len(shapes) == sum(map(len, published.values())) > 400
    assert {s.source for s in shapes} == {"auto"}


def puppets(*, masks=False, **more) -> DetectionEnsemble:
    detectors = tuple(
        Puppet(name=name, kind="puppet", score=score, masks=masks, **more)
        for name, score in (("a", 0.9), ("b", 0.5))
    )
    return DetectionEnsemble(
        name="e",
        labels=("red", "green"),
        detectors=detectors,
        fusion={"method": "affirmative"},
        publish={"tolerance": 0, "min_score": 0.3},
    )


@pytest.mark.parametrize(("threshold", "count"), [(None, 2), (0.0, 2), (0.95, 0)])
def test_a_threshold_takes_the_place_of_the_published_score(annotate, tmp_path, threshold, count):
    draw(tmp_path / "a.png", 3)
    labels = [label(1, "red"), label(2, "green", attributes=())]
    shapes = annotate(
        detection_function(puppets()), [tmp_path / "a.png"], labels,
        conf_threshold=threshold, allow_unmatched_labels=True,
    )  # fmt: skip
    assert len(shapes) == count
    assert all(len(s.attributes) == 2 * (s.label_id == 1) for s in shapes)


def test_masks_are_masks_or_polygons_as_asked(annotate, tmp_path):
    draw(tmp_path / "a.png", 3)
    ensemble = puppets(masks=True)
    labels = [label(1, "red"), label(2, "green")]
    with ensemble.load() as loaded:
        expected = loaded.look(tmp_path / "a.png")
    function = detection_function(ensemble)
    shapes = annotate(function, [tmp_path / "a.png"], labels)
    assert [s.type.value for s in shapes] == ["mask", "mask"]
    for row, shape in enumerate(shapes):
        drawn = decode_mask(shape.points, image_width=64, image_height=48)
        assert (drawn == expected.masks.bitmap(row)).all()
    shapes = annotate(function, [tmp_path / "a.png"], labels, conv_mask_to_poly=True)
    assert [s.type.value for s in shapes] == ["polygon", "polygon"]


def test_frames_are_looked_at_upright(annotate, tmp_path):
    draw(tmp_path / "a.png", 3)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.open(tmp_path / "a.png").transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "turned.png", exif=turned
    )
    labels = [label(1, "red"), label(2, "green")]
    shapes = annotate(
        detection_function(puppets()), [tmp_path / "a.png", tmp_path / "turned.png"], labels
    )
    assert [s.points for s in shapes if s.frame == 0] == [s.points for s in shapes if s.frame == 2]


def test_a_frame_that_is_cut_short_is_told_and_costs_itself(annotate, tmp_path, caplog):
    draw(tmp_path / "a.png", 3)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    labels = [label(1, "red"), label(2, "green")]
    files = [tmp_path / "b.png", tmp_path / "a.png"]
    shapes = annotate(detection_function(puppets()), files, labels)
    assert [s.frame for s in shapes] == [2, 2]
    assert "b.png: no boxes" in caplog.text


def test_a_quorum_that_is_missed_sends_nothing(annotate, tmp_path, caplog):
    draw(tmp_path / "a.png", 3)
    switch = tmp_path / "switch"
    function = detection_function(puppets(switch=str(switch)))
    switch.write_text("fail")
    with pytest.raises(QuorumError, match="out of order"):
        annotate(function, [tmp_path / "a.png"], [label(1, "red"), label(2, "green")])


def test_labels_that_a_task_lacks_are_cvats_to_refuse(annotate, tmp_path):
    draw(tmp_path / "a.png", 3)
    function = detection_function(puppets())
    with pytest.raises(auto_annotation.BadFunctionError, match="green"):
        annotate(function, [tmp_path / "a.png"], [label(1, "red")])
    boxes = puppets().model_copy(
        update={"publish": puppets().publish.model_copy(update={"masks": "box"})}
    )
    labels = [label(1, "red", "polygon"), label(2, "green")]
    with pytest.raises(auto_annotation.BadFunctionError, match="rectangle"):
        annotate(detection_function(boxes), [tmp_path / "a.png"], labels)


def test_an_agent_tells_a_server_the_labels_and_takes_them_back():
    """`cvat-cli function create-native` sends the first, `run-agent` compares with the second."""
    spec = detection_function(puppets()).spec
    fields = AgentDetectionFunctionDriver.get_remote_function_fields(spec)
    assert [one["name"] for one in fields["labels_v2"]] == ["red", "green"]
    assert [a["values"] for a in fields["labels_v2"][0]["attributes"]] == [["1"], ["1"]]
    remote = {
        "labels_v2": [
            {
                "type": "any",
                **one,
                "attributes": [a | {"input_type": str(a["input_type"])} for a in one["attributes"]],
            }
            for one in fields["labels_v2"]
        ]
    }
    agent = object.__new__(AgentDetectionFunctionDriver)
    agent._function_spec = spec
    agent.validate_function_compatibility(remote)


def test_without_the_sdk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(MissingExtraError) as caught:
        detection_function(puppets())
    assert caught.value.hint == "pip install 'quorate[cvat]'"


def test_a_context_of_an_older_sdk_knows_neither_threshold_nor_polygons(tmp_path):
    draw(tmp_path / "a.png", 1)
    function = detection_function(puppets())
    picture = Image.open(tmp_path / "a.png")
    newer = SimpleNamespace(frame_name="a.png", conf_threshold=None, conv_mask_to_poly=False)
    older = SimpleNamespace(frame_name="a.png")
    assert function.detect(older, picture) == function.detect(newer, picture) != []
