"""Exports of a real CVAT, in every format it offers: read with its own names, or named."""

import pytest

from quorate.annotations import Kind
from quorate.errors import FormatError
from quorate.formats import read
from tests.cvat.real import labels, needs_cvat, zipped
from tests.spots import pool

pytestmark = needs_cvat
BOXES = (
    "CVAT for images 1.1",
    "COCO 1.0",
    "PASCAL VOC 1.1",
    "YOLO 1.1",
    "Ultralytics YOLO Detection 1.0",
    "Ultralytics YOLO Detection Track 1.0",
)
"""Formats that hold boxes and the names of pictures."""
NEAR = 0.51
"""Of a pixel: VOC and YOLO round."""


def put(real, task, frames):
    """A box on each frame; where it is and what it is called, by frame."""
    told = real.get(f"labels?task_id={task}&page_size=100")["results"]
    ids = {label["name"]: label["id"] for label in told}
    boxes = {n: [n + 1.0, 2.0, n + 20.0, 30.0] for n in frames}
    words = {n: ("red", "green")[n % 2] for n in frames}
    shapes = [
        {"type": "rectangle", "frame": n, "points": boxes[n], "label_id": ids[words[n]]}
        for n in frames
    ]
    body = {"version": 0, "tags": [], "tracks": [], "shapes": shapes}
    real.send("PATCH", f"tasks/{task}/annotations?action=create", body=body)
    return {n: (words[n], boxes[n]) for n in frames}


def found(dataset):
    """Label and box of each picture, by subset and name."""
    shapes = dataset.annotations
    assert set(shapes.kind.tolist()) == {Kind.BOX}
    names = {image.id: (image.subset, image.name) for image in dataset.images}
    columns = (shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist())
    told = {}
    for image, category, box in zip(*columns, strict=True):
        assert names[image] not in told
        told[names[image]] = (dataset.labels.name_of(category), box)
    return told


def same(told, wanted):
    assert told.keys() == wanted.keys()
    for key, (word, box) in wanted.items():
        assert told[key][0] == word
        assert told[key][1] == pytest.approx(box, abs=NEAR)


@pytest.mark.parametrize("step", [{}, {"frame_filter": "step=2", "start_frame": 1}])
def test_a_task_is_read_with_the_names_that_cvat_gave(real, tmp_path, step):
    task = real.task(files=[zipped(pool(tmp_path / "pool", 6))], data=step)
    names = [frame["name"] for frame in real.get(f"tasks/{task}/data/meta")["frames"]]
    boxes = put(real, task, range(len(names)))
    real.send("PATCH", f"tasks/{task}/data/meta", body={"deleted_frames": [1]})
    wanted = {("", names[n]): told for n, told in boxes.items() if n != 1}
    for format in BOXES:
        (tmp_path / "x.zip").write_bytes(real.export(f"tasks/{task}", format, pictures=True))
        dataset = read(tmp_path / "x.zip")
        same(found(dataset), wanted)
        assert len(dataset.images) == len(wanted), format


def test_a_project_is_read_with_its_subsets(real, tmp_path):
    project = real.made("projects", name="quorate test", labels=labels(("red", "green")))
    wanted = {}
    for subset in ("Train", "My set"):
        packed = zipped(pool(tmp_path / subset, 4))
        task = real.task(files=[packed], project_id=project, subset=subset)
        names = [frame["name"] for frame in real.get(f"tasks/{task}/data/meta")["frames"]]
        boxes = put(real, task, range(4))
        wanted |= {(subset, names[n]): told for n, told in boxes.items()}
    # CVAT itself puts both subsets' pictures of one name into one file in the other formats.
    for format in ("CVAT for images 1.1", "COCO 1.0", "Ultralytics YOLO Detection 1.0"):
        (tmp_path / "x.zip").write_bytes(real.export(f"projects/{project}", format, pictures=True))
        same(found(read(tmp_path / "x.zip")), wanted)


def test_every_other_format_is_named(real, tmp_path):
    """What is neither read nor told from a folder of pictures: ImageNet's with pictures."""
    task = real.task(files=[zipped(pool(tmp_path / "pool", 2))])
    put(real, task, range(2))
    offered = real.get("server/annotation/formats")["exporters"]
    names = {one["name"] for one in offered if one["enabled"] and one["dimension"] == "2d"}
    read_too = {
        "CVAT for video 1.1",
        "COCO Keypoints 1.0",
        "Ultralytics YOLO Oriented Bounding Boxes 1.0",
        "Ultralytics YOLO Segmentation 1.0",
        "Ultralytics YOLO Pose 1.0",
    }
    named = set()
    for name in sorted(names - {*BOXES} - read_too - {"ImageNet 1.0"}):
        if name.startswith("ICDAR Segmentation"):
            continue  # its labels must be of its own
        (tmp_path / "x.zip").write_bytes(real.export(f"tasks/{task}", name, pictures=True))
        with pytest.raises(FormatError, match="which is not read"):
            read(tmp_path / "x.zip")
        named.add(name)
    assert len(named) > 10
