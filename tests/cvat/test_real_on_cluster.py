"""A task of a real CVAT, handed over in each format that the form offers, and brought back."""

from quorate.argo.rendering.manifest import DUMPS
from quorate.cvat import annotate, undo
from quorate.cvat.cluster.bringing_back import bring_back
from quorate.cvat.cluster.handing_over import hand_over
from quorate.cvat.task import Place, tasks
from tests.cvat.real import needs_cvat, zipped
from tests.cvat.test_on_cluster import ensemble, ran
from tests.spots import pool

pytestmark = needs_cvat


def boxes(real, task):
    shapes = real.get(f"tasks/{task}/annotations")["shapes"]
    return sorted((s["frame"], s["label_id"], *s["points"], s["score"]) for s in shapes)


def test_boxes_over_s3_are_those_of_a_run_here(real, tmp_path, s3_prefix):
    task = real.task(files=[zipped(pool(tmp_path / "pool", 7))], segment_size=3)
    real.send("PATCH", f"tasks/{task}/data/meta", body={"deleted_frames": [2]})
    (local,) = annotate(str(task), ensemble(), client=real.client, out=tmp_path / "here")
    wanted = boxes(real, task)
    assert local.published.created == len(wanted) == 12
    undo(local.published.run, client=real.client)
    given = next(tasks(real.client, Place("task", task)))
    for number, name in enumerate((None, *DUMPS)):
        handed = hand_over(real.client, given, s3_prefix, dump_format=name)
        place = f"{s3_prefix}/results/{number}"
        workflow = ran(ensemble(), handed, tmp_path / f"there-{number}", place)
        done = bring_back(real.client, given, workflow)
        assert boxes(real, task) == wanted, name
        undo(done.run, client=real.client)
        assert boxes(real, task) == [], name


def test_a_job_is_handed_over_by_itself(real, tmp_path, s3_prefix):
    task = real.task(files=[zipped(pool(tmp_path / "pool", 4))], segment_size=2)
    job = sorted(one["id"] for one in real.get(f"jobs?task_id={task}")["results"])[1]
    given = next(tasks(real.client, Place("job", job)))
    handed = hand_over(real.client, given, s3_prefix, dump_format=DUMPS[0])
    assert handed.notes
    workflow = ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results")
    assert bring_back(real.client, given, workflow).created == 4
    assert {shape[0] for shape in boxes(real, task)} == {2, 3}
