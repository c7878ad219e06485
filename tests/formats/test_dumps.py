"""Every dump that CVAT exports of a task has the boxes of that task's COCO."""

import pytest

from quorate.annotations import Kind
from quorate.formats import read
from tests.formats.samples import sample, truth

GROUP = "cam1/front gate 01.jpg"
"""The picture of task A with a group of boxes, which COCO has as the one box around them."""


def boxes(name, *, within=0.01):
    """(label, x1, y1, x2, y2) of each picture by rising name, of shapes that are boxes alone."""
    data = read(sample(name))
    shapes = data.annotations
    found = {(image.subset, image.name): [] for image in data.images}
    keys = {image.id: (image.subset, image.name) for image in data.images}
    for row in (shapes.kind == Kind.BOX).nonzero()[0].tolist():
        label = data.labels.name_of(int(shapes.category_id[row]))
        box = (round(value / within) for value in shapes.xyxy[row].tolist())
        found[keys[int(shapes.image_id[row])]].append((label, *box))
    return {key: sorted(told) for key, told in found.items()}


def coco(name):
    """The same of COCO, with the boxes of the group as they were put in for the one around them."""
    found = boxes(f"{name}.cvat-2.15.coco-1.0")
    if name != "task-a":
        return found
    put = truth(name)[GROUP]
    group = [shape for shape in put if shape["group"]]
    sides = zip(*(shape["points"] for shape in group), strict=True)
    left, top, right, bottom = (
        round(100 * pick(side)) for pick, side in zip((min, min, max, max), sides, strict=True)
    )
    merged = next(box for box in found["", GROUP] if box[1:] == (left, top, right, bottom))
    found["", GROUP].remove(merged)
    found["", GROUP] += [(s["label"], *(round(100 * v) for v in s["points"])) for s in group]
    found["", GROUP].sort()
    return found


@pytest.mark.parametrize("name", ["task-a", "project-b"])
@pytest.mark.parametrize("format", ["mot-1.1", "labelme-3.0", "datumaro-1.0", "pascal-voc-1.1"])
def test_a_dump_has_the_boxes_of_the_tasks_coco(name, format):
    found, expected = boxes(f"{name}.cvat-2.15.{format}"), coco(name)
    if format == "mot-1.1":  # which knows frames alone, and only those with boxes
        expected = {key: told for key, told in expected.items() if told}
        assert list(found.values()) == [expected[key] for key in sorted(expected)]
        return
    if format == "datumaro-1.0":  # without pictures, names have no endings
        expected = {(s, name.rpartition(".")[0]): told for (s, name), told in expected.items()}
    elif format == "pascal-voc-1.1":  # which has one file for pictures of one name
        found, expected = (
            {
                (s, name.rpartition(".")[0]): told
                for (s, name), told in one.items()
                if "shared" not in name
            }
            for one in (found, expected)
        )
    assert found == expected
