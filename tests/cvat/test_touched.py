"""What a person did to a shape that a run made, and what only looks so."""

import pytest

from quorate.cvat import Client, annotate, undo
from tests.cvat.server import TOKEN
from tests.cvat.test_run import LABELS, TELLING, ensemble
from tests.spots import pool


@pytest.fixture
def run(cvat, tmp_path):
    client = Client.connect(cvat.url, access_token=TOKEN)

    def run(place, shift=0.0, **more):
        more |= {"client": client, "out": tmp_path / "out"}
        return annotate(str(place), ensemble(shift), **more)[0].published

    return run


@pytest.fixture
def task(cvat, tmp_path, request):
    files = sorted(pool(tmp_path / "pool", 4).rglob("*.png"))
    return cvat.add_task(files, getattr(request, "param", TELLING))


@pytest.mark.parametrize("mark", [{"occluded": True}, {"z_order": 3}, {"group": 7}], ids=str)
@pytest.mark.parametrize("task", [LABELS, TELLING], ids=["journal", "attribute"], indirect=True)
def test_what_a_person_marked_stays(cvat, run, task, mark):
    first = run(task)
    mine = cvat.drawn(task)[0]
    mine |= mark
    second = run(task, 3.0, replace=True)
    assert (second.removed, second.touched) == (first.created - 1, 1)
    assert mine in cvat.drawn(task)
    of_second = next(one for one in cvat.drawn(task) if one != mine)
    of_second |= mark
    gone = undo(second.run, client=Client.connect(cvat.url, access_token=TOKEN))
    assert (gone.removed, gone.touched) == (second.created - 1, 1)
    assert cvat.drawn(task) == [mine, of_second]


@pytest.mark.parametrize("task", [LABELS], ids=["journal"], indirect=True)
def test_attributes_that_a_label_gets_later_touch_nothing(cvat, run, task):
    first = run(task)
    second = run(task, 3.0, replace=True, add_labels=True)
    assert (second.removed, second.touched) == (first.created, 0)
    for label in [one for one in cvat.labels.values() if one["_task"] == task]:
        label["attributes"].append(
            {"name": "colour", "id": cvat.next_id(), "input_type": "select", "mutable": False}
            | {"values": ["grey", "blue"], "default_value": "grey"}
        )
    gone = undo(second.run, client=Client.connect(cvat.url, access_token=TOKEN))
    assert (gone.removed, gone.touched) == (second.created, 0)
    assert cvat.drawn(task) == []
