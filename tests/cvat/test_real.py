"""The same on a real CVAT, the one that CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD lead to."""

from collections import Counter

from quorate.cvat import annotate, undo
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from tests.cvat.real import needs_cvat, zipped
from tests.spots import Spots, pool

pytestmark = needs_cvat


def boxes(real, number):
    """What the server has: name, label and coordinates of each box."""
    task = next(tasks(real.client, Place("task", number)))
    names = {frame.number: frame.name for frame in task.frames}
    words = {label.id: label.name for label in task.labels}
    shapes = real.shapes(number)
    return Counter((names[s["frame"]], words[s["label_id"]], *s["points"]) for s in shapes)


def test_boxes_arrive_once_and_go_again(real, tmp_path):
    client = real.client
    task = real.task(files=[zipped(pool(tmp_path / "pool", 6))], segment_size=2)
    ensemble = DetectionEnsemble(
        name="spots",
        detectors=(Spots(name="a", kind="spots"), Spots(name="b", kind="spots", shift=1.0)),
    )
    (done,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    told = read(tmp_path / "out" / "cvat")
    names = {image.id: image.name for image in told.images}
    shapes = told.annotations
    columns = (shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist())
    local = Counter(
        (names[image], told.labels.name_of(category), *box)
        for image, category, box in zip(*columns, strict=True)
    )
    assert boxes(real, task) == local
    assert done.published.created == local.total() == 12
    (again,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    assert (again.published.created, again.published.there) == (0, 12)
    assert boxes(real, task) == local
    assert undo(done.published.run, client=client).removed == 12
    assert boxes(real, task) == Counter()
