"""measure: the sizes of many pictures are read shard by shard, and the results are the same."""

import json
import os

import pytest

from quorate.detectors.container import ContainerDetector
from quorate.errors import InputError
from quorate.steps import Voter, Work, detect, fuse, measure, prepare, publish, sharding
from quorate.steps.container import Runner
from tests.spots import pool
from tests.steps.test_steps import LABELS, A, B, ensemble, voters

PUBLISHED = {"formats": ["cvat", "coco"], "review": "disagreement", "report": False}


@pytest.fixture
def many(monkeypatch):
    """Every picture more is worth a pod."""
    monkeypatch.setattr(sharding, "TOGETHER", 0)


def damaged(data):
    """One picture cut short, whose size can still be read, and three that are no pictures."""
    good = (data / "north/0001.png").read_bytes()
    (data / "north/0003.png").write_bytes(good[: len(good) // 2])
    (data / "north/0007.png").write_bytes(b"")
    for name in ("north/aaa.png", "south/0004.png"):
        (data / name).write_bytes(b"version https://git-lfs")
    return data


def results(spec, work, out, *, size, apart):
    plan = prepare(spec, work, shard_size=size, apart=apart)
    assert plan.apart == apart
    for shard in range(plan.shards):
        if apart:
            measure(work, shard)
        detect(work, shard, voters(spec), workers=2)
        fuse(work, shard, spec)
    summary = publish(spec, work, out)
    return summary, {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in (".published.json", "summary.json")
    }


@pytest.mark.parametrize("size", [1, 3, 100])
def test_measured_apart_the_results_are_the_same_and_damaged_pictures_are_told(
    tmp_path, many, size
):
    """With one picture a shard, there are shards without a readable one."""
    spec = ensemble(damaged(pool(tmp_path / "pool", 10)), A, B, publish=PUBLISHED)
    here, files = results(spec, Work(tmp_path / "a"), tmp_path / "here", size=100, apart=False)
    apart, others = results(spec, Work(tmp_path / "b"), tmp_path / "apart", size=size, apart=True)
    assert others == files
    assert len(files) == 4
    assert apart.skipped == here.skipped
    assert len(here.skipped) == 4
    assert (apart.images, apart.detectors) == (here.images, here.detectors)
    assert not apart.degraded
    assert apart.review == here.review


def test_a_shard_that_is_not_measured_is_not_worked_on(tmp_path, many):
    spec = ensemble(pool(tmp_path / "pool", 4), A)
    work = Work(tmp_path / "work")
    prepare(spec, work, shard_size=2, apart=True)
    with pytest.raises(InputError, match="00001: the sizes of its pictures") as caught:
        detect(work, 1, voters(spec), workers=1)
    assert "quorate step measure --shard 1" in caught.value.hint
    contents = measure(work, 1)
    assert {(image.width, image.height) for image in contents.images} == {(64, 48)}
    before = (work.shard(1) / "images.json").stat().st_ino
    assert measure(work, 1) == contents == work.images(1)
    assert (work.shard(1) / "images.json").stat().st_ino == before  # written once
    detect(work, 1, voters(spec), workers=1)


def test_few_pictures_and_those_of_stated_size_are_not_measured_apart(tmp_path, monkeypatch):
    data = pool(tmp_path / "pool", 3)
    work = Work(tmp_path / "work")
    assert not prepare(ensemble(data, A), work, apart=True).apart  # few
    monkeypatch.setattr(sharding, "TOGETHER", 0)
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    stated = [{"id": i, "file_name": n, "width": 64, "height": 48} for i, n in enumerate(names)]
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    (data / "instances_default.json").write_text(
        json.dumps({"images": stated, "categories": categories})
    )
    work = Work(tmp_path / "stated")
    assert not prepare(ensemble(data, A), work, apart=True).apart
    assert [image.width for image in work.images(0).images] == [64] * 3


def test_where_not_one_picture_can_be_read_nothing_is_published(tmp_path, many):
    data = tmp_path / "pool"
    data.mkdir()
    for name in "ab":
        (data / f"{name}.png").write_bytes(b"")
    spec = ensemble(data, A)
    with pytest.raises(InputError, match="not one readable picture") as said:
        prepare(spec, Work(tmp_path / "here"))
    with pytest.raises(InputError, match="not one readable picture") as apart:
        results(spec, Work(tmp_path / "work"), tmp_path / "out", size=1, apart=True)
    assert apart.value.hint == said.value.hint
    assert not os.listdir(tmp_path / "out")


def test_a_container_that_fails_on_no_picture_loses_no_vote(tmp_path, many):
    """It is not to know that a shard may be empty."""
    data = pool(tmp_path / "pool", 2)
    (data / "aaa.png").write_bytes(b"")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os\n"
        "images = json.load(open(os.environ['QUORATE_IMAGES_JSON']))['images']\n"
        "assert images\n"
        "found = [{'image_id': i['id'], 'category_id': 1, 'bbox': [1, 1, 9, 9], 'score': 0.9}\n"
        "         for i in images]\n"
        "out = os.environ['QUORATE_OUTPUT']\n"
        "json.dump(found, open(f'{out}/detections.json', 'w'))\n"
        "json.dump({'images': len(images)}, open(f'{out}/manifest.json', 'w'))\n"
    )
    own = ContainerDetector(name="own", command=("python3", str(script)))
    spec = ensemble(data, own, A, quorum=2, publish=PUBLISHED)
    work = Work(tmp_path / "work")
    plan = prepare(spec, work, shard_size=1, apart=True)
    assert plan.shards == 3
    for shard in range(plan.shards):
        contents = measure(work, shard)
        detect(work, shard, [Voter.load(A, LABELS)], workers=1)
        if contents.images:
            Runner.of(own).run(work, shard)
        else:
            work.failed(shard, "own", "it ended with status 1")
        fuse(work, shard, spec)
    summary = publish(spec, work, tmp_path / "out")
    assert not summary.degraded
    assert [skipped.file_name for skipped in summary.skipped] == ["aaa.png"]


@pytest.mark.parametrize(
    ("formats", "annotated", "said"),
    [
        (("cvat", "coco"), False, None),
        (("cvat", "voc"), False, "publish writes voc, for which it holds all boxes"),
        (("cvat",), True, "publish measures them against their annotations, for"),
    ],
)
def test_what_grows_with_very_many_pictures_is_said_before_the_run(
    tmp_path, monkeypatch, formats, annotated, said
):
    monkeypatch.setattr(sharding, "MANY", 3)
    data = pool(tmp_path / "pool", 3)
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    if annotated:
        told = {
            "images": [{"id": i, "file_name": n} for i, n in enumerate(names)],
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        }
        (data / "instances_default.json").write_text(json.dumps(told))
    spec = ensemble(data, A, publish={"formats": formats})
    notes = prepare(spec, Work(tmp_path / "work")).notes
    found = [note for note in notes if "holds all boxes at once" in note]
    assert len(found) == (said is not None)
    assert not said or found[0].startswith(said)
