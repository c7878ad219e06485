"""The four steps over a work folder, with detectors that see real pixels."""

import json
import re

import numpy as np
import pytest

from quorate.detections import Detections
from quorate.errors import BusyError, InputError, QuorumError, SpecError
from quorate.formats import read
from quorate.labels import Labels
from quorate.spec import EnsembleSpec, Publish, Votes
from quorate.steps import Voter, Work, detect, fuse, prepare, publish
from quorate.steps.detect import PART_SIZE
from quorate.storage.owner import owned
from tests.spots import Spots, draw, pool, rectangles

LABELS = Labels.from_names(["green", "red"])


def ensemble(data, *detectors: Spots, **more) -> EnsembleSpec:
    return EnsembleSpec(
        name="spots", data=str(data), labels=LABELS.names, detectors=detectors, **more
    )


A = Spots(name="a", kind="spots")
B = Spots(name="b", kind="spots", shift=1.0, score=0.8)
C = Spots(name="c", kind="spots", blind="green", score=0.7)


def prepared(tmp_path, spec: EnsembleSpec, shard_size: int = 1024) -> Work:
    work = Work(tmp_path / "work")
    prepare(spec, work, shard_size=shard_size)
    return work


def voters(spec: EnsembleSpec) -> list[Voter]:
    return [Voter.load(detector, LABELS) for detector in spec.detectors]


def test_prepare_cuts_contiguous_shards_in_order(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 10), A)
    work = prepared(tmp_path, spec, shard_size=4)
    images = [image for shard in range(3) for image in work.images(shard).images]
    assert [len(work.images(shard).images) for shard in range(3)] == [4, 4, 2]
    assert [image.file_name for image in images] == sorted(
        p.relative_to(tmp_path / "pool").as_posix() for p in (tmp_path / "pool").rglob("*.png")
    )
    assert len({image.id for image in images}) == 10
    assert {(image.width, image.height) for image in images} == {(64, 48)}


def test_preparing_fewer_pictures_leaves_no_shard_behind(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 4), A)
    work = prepared(tmp_path, spec, shard_size=1)
    (tmp_path / "pool/south/0002.png").unlink()
    prepare(spec, work, shard_size=2)
    assert sorted(p.name for p in (work.root / "shards").iterdir()) == ["00000", "00001"]


def test_a_detector_finds_the_pixels_and_its_labels_become_categories(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 3), A)
    work = prepared(tmp_path, spec)
    assert detect(work, 0, voters(spec), workers=2) == {}
    found = Detections.from_parquet(work.detections(0, "a") / "detections.parquet")
    for image in work.images(0).images:
        red, green = rectangles(int(image.file_name[-8:-4]), 64, 48)
        mine = found.take(found.image_id == image.id)
        boxes = dict(zip(mine.category_id.tolist(), mine.xyxy.tolist(), strict=True))
        assert boxes == {LABELS.id_of("red"): list(red), LABELS.id_of("green"): list(green)}


def test_a_bad_picture_costs_only_itself(tmp_path):
    data = pool(tmp_path / "pool", 4)
    good = (data / "north/0001.png").read_bytes()
    (data / "north/0003.png").write_bytes(good[: len(good) // 2])  # its header is still whole
    (data / "south/zero.png").write_bytes(b"")
    spec = ensemble(data, A, B)
    work = prepared(tmp_path, spec)
    assert [s.file_name for s in work.plan().skipped] == ["south/zero.png"]
    detect(work, 0, voters(spec), workers=2)
    manifest = fuse(work, 0, spec)
    assert manifest.images == 4
    fused = Detections.from_parquet(work.fused(0) / "detections.parquet")
    assert len(set(fused.image_id.tolist())) == 3
    skipped = [skipped.file_name for name in "ab" for skipped in read_manifest(work, name).skipped]
    assert skipped == ["north/0003.png"] * 2


def read_manifest(work, name, shard=0):
    from quorate.steps.work import Manifest, read_json

    return read_json(work.detections(shard, name) / "manifest.json", Manifest)


def test_a_finished_step_is_not_done_again(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 3), A)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    before = (work.detections(0, "a") / "manifest.json").stat().st_mtime_ns
    shown = []
    detect(work, 0, voters(spec), workers=1, progress=shown.append)
    assert (work.detections(0, "a") / "manifest.json").stat().st_mtime_ns == before
    assert sum(shown) == 3


@pytest.mark.parametrize("change", ["detector", "pictures"])
def test_another_input_is_another_run(tmp_path, change):
    data = pool(tmp_path / "pool", 3)
    spec = ensemble(data, A)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    before = read_manifest(work, "a")
    if change == "detector":
        spec = ensemble(data, A.model_copy(update={"shift": 2.0}))
    else:
        draw(data / "south/zzz.png", 99)
        prepare(spec, work)
    detect(work, 0, voters(spec), workers=1)
    assert read_manifest(work, "a").fingerprint != before.fingerprint


def test_a_killed_detector_goes_on_from_its_last_part(tmp_path):
    count = 2 * PART_SIZE + 5
    spec = ensemble(pool(tmp_path / "pool", count), A, B)
    whole, killed = Work(tmp_path / "whole"), Work(tmp_path / "killed")
    for work in (whole, killed):
        prepare(spec, work)
    detect(whole, 0, voters(spec), workers=2)

    class Killed(BaseException):
        pass

    def kill(after: int):
        seen = 0

        def progress(pictures: int) -> None:
            nonlocal seen
            seen += pictures
            if seen >= after:
                raise Killed

        return progress

    with pytest.raises(Killed):
        detect(killed, 0, voters(spec), workers=2, progress=kill(PART_SIZE + 7))
    assert len(list((killed.detections(0, "a") / "parts").glob("*.json"))) == 1
    shown: list[int] = []
    detect(killed, 0, voters(spec), workers=2, progress=shown.append)
    assert shown[0] == PART_SIZE  # what was finished is not shown again
    for name in "ab":
        one, other = (w.detections(0, name) / "detections.parquet" for w in (whole, killed))
        assert one.read_bytes() == other.read_bytes()
        assert sorted(p.name for p in other.parent.iterdir()) == [
            "detections.parquet",
            "manifest.json",
        ]


@pytest.mark.parametrize("workers", [1, 3])
def test_boxes_do_not_depend_on_threads_or_shards(tmp_path, workers):
    spec = ensemble(pool(tmp_path / "pool", 9), A, B, C)
    work = prepared(tmp_path, spec, shard_size=4)
    fused = []
    for shard in range(3):
        detect(work, shard, voters(spec), workers=workers)
        fuse(work, shard, spec)
        fused.append(Detections.from_parquet(work.fused(shard) / "detections.parquet"))
    one = Work(tmp_path / "one")
    prepare(spec, one)
    detect(one, 0, voters(spec), workers=2)
    fuse(one, 0, spec)
    together = Detections.from_parquet(one.fused(0) / "detections.parquet")
    assert Detections.concat(fused).to_arrow().equals(together.to_arrow())


def test_the_quorum_decides(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 5), A, B, C, fusion=Votes(min_votes=3))
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=2)
    fuse(work, 0, spec)
    fused = Detections.from_parquet(work.fused(0) / "detections.parquet")
    assert set(fused.category_id.tolist()) == {LABELS.id_of("red")}  # c is blind to green
    assert set(fused.votes.tolist()) == {3}


def test_a_detector_that_fails_costs_its_votes_while_the_quorum_holds(tmp_path):
    data = pool(tmp_path / "pool", 5)
    draw(data / "south/wide.png", 7, width=80)
    broken = C.model_copy(update={"fails_at_width": 80})
    spec = ensemble(data, A, B, broken)
    work = prepared(tmp_path, spec)
    failed = detect(work, 0, voters(spec), workers=2)
    assert failed == {"c": "south/wide.png: RuntimeError('out of sorts')"}
    manifest = fuse(work, 0, spec, failed=failed)
    assert manifest.detectors == ("a", "b")
    assert manifest.failed == failed
    strict = spec.model_copy(update={"quorum": 3})
    with pytest.raises(QuorumError, match="2 of 3 detectors succeeded, need 3: c: south/wide"):
        fuse(work, 0, strict, failed=failed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"nan": True}, "NaN or infinite"), ({"score": 1.5}, "score of 1.5, outside 0..1")],
)
def test_a_detector_that_talks_nonsense_fails(tmp_path, change, reason):
    spec = ensemble(pool(tmp_path / "pool", 2), A.model_copy(update=change))
    work = prepared(tmp_path, spec)
    assert reason in detect(work, 0, voters(spec), workers=1)["a"]


def test_boxes_are_clipped_and_what_is_outside_is_dropped(tmp_path):
    outside = A.model_copy(update={"shift": 200.0})
    partly = B.model_copy(update={"shift": 30.0})
    spec = ensemble(pool(tmp_path / "pool", 8), outside, partly)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    assert read_manifest(work, "a").detections == 0
    boxes = Detections.from_parquet(work.detections(0, "b") / "detections.parquet").xyxy
    assert len(boxes)
    assert boxes.min() >= 0
    assert boxes[:, [0, 2]].max() <= 64
    assert boxes[:, [1, 3]].max() <= 48
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_min_score_and_max_detections_hold_for_every_detector(tmp_path):
    quiet = A.model_copy(update={"score": 0.3, "min_score": 0.31})
    few = B.model_copy(update={"max_detections": 1})
    spec = ensemble(pool(tmp_path / "pool", 3), quiet, few)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    assert read_manifest(work, "a").detections == 0
    assert read_manifest(work, "b").detections == 3


def test_a_detector_of_a_shard_has_one_owner(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 2), A, B)
    work = prepared(tmp_path, spec)
    with owned(work.detections(0, "a").with_name(".a.owner")):
        with pytest.raises(BusyError, match="detections/a: is in use by process"):
            detect(work, 0, voters(spec), workers=1)
        assert detect(work, 0, voters(spec)[1:], workers=1) == {}  # another detector is free
    assert detect(work, 0, voters(spec), workers=1) == {}
    assert sorted(path.name for path in work.detections(0, "a").parent.iterdir()) == ["a", "b"]


def test_before_prepare_there_is_nothing(tmp_path):
    with pytest.raises(InputError, match="nothing is prepared"):
        Work(tmp_path).plan()


def test_no_pictures_no_labels_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    work = Work(tmp_path / "work")
    with pytest.raises(InputError, match="empty"):
        prepare(ensemble(tmp_path / "empty", A), work)
    unlabelled = EnsembleSpec(name="x", data=str(pool(tmp_path / "pool", 1)), detectors=(A,))
    with pytest.raises(SpecError, match="names no labels"):
        prepare(unlabelled, work)
    prepare(unlabelled, work, labels=LABELS)
    assert work.images(0).labels == LABELS
    with pytest.raises(SpecError, match="where the pictures are"):
        prepare(unlabelled.model_copy(update={"data": None}), work)


def test_columns_of_a_part_without_boxes(tmp_path):
    blind = A.model_copy(update={"blind": "red", "min_score": 1.0})
    spec = ensemble(pool(tmp_path / "pool", 2), blind)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    found = Detections.from_parquet(work.detections(0, "a") / "detections.parquet")
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)
    assert found.detectors == ("a",)
    assert np.issubdtype(found.image_id.dtype, np.integer)


def test_names_that_xml_cannot_hold_are_found_before_any_detector_runs(tmp_path):
    data = pool(tmp_path / "pool", 2)
    (tmp_path / "pool/south/0000.png").rename(tmp_path / "pool/south/bell\x07.png")
    work = Work(tmp_path / "work")
    with pytest.raises(InputError, match=r"'\\x07'.*picture's name .*bell"):
        prepare(ensemble(data, A), work)
    assert not work.plan_file.exists()
    prepare(ensemble(data, A, publish={"formats": ["coco"]}), work)
    labelled = EnsembleSpec(name="x", data=str(data), labels=["a\x07"], detectors=(A,))
    with pytest.raises(InputError, match="stands in the label"):
        prepare(labelled, work)


@pytest.mark.parametrize("asked", [False, True])
def test_categories_from_0_or_with_gaps_are_numbered_anew_and_that_is_told_before_the_run(
    tmp_path, asked
):
    root = pool(tmp_path / "pool", 2)
    ids = (3, 7) if asked else (0, 1)
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    told = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": i, "name": name} for i, name in zip(ids, LABELS.names, strict=True)],
    }
    (root / "instances_default.json").write_text(json.dumps(told))
    publishing = Publish(formats=("coco",), renumber=asked, report=False)
    spec = EnsembleSpec(name="spots", data=str(root), detectors=(A,), publish=publishing)
    work = Work(tmp_path / "work")
    plan = prepare(spec, work)
    note = f"categories are numbered anew from 1, in their order ({ids[0]} 'green' is 1)"
    assert note in plan.notes[0]
    labels = Labels(LABELS.names, ids)
    detect(work, 0, [Voter.load(A, labels)], workers=1)
    fuse(work, 0, spec)
    summary = publish(spec, work, tmp_path / "out")
    assert sum(note in one for one in summary.notes) == 1
    found = json.loads((tmp_path / "out/coco/annotations/instances_default.json").read_text())
    assert [(c["id"], c["name"]) for c in found["categories"]] == [(1, "green"), (2, "red")]
    assert {one["category_id"] for one in found["annotations"]} == {1, 2}


def test_a_folder_is_put_before_the_names_in_the_files_that_cvat_reads(tmp_path):
    root = pool(tmp_path / "pool", 2)
    publishing = Publish(formats=("cvat", "coco", "voc"), folder="street/day/", report=False)
    spec = ensemble(root, A, publish=publishing)
    work = prepared(tmp_path, spec)
    detect(work, 0, voters(spec), workers=1)
    fuse(work, 0, spec)
    publish(spec, work, tmp_path / "out")
    names = {"north/0001.png", "south/0000.png"}
    told = {"cvat": "street/day/", "coco": "street/day/", "voc": ""}
    for format, before in told.items():
        found = {image.name for image in read(tmp_path / "out" / format).images}
        assert found == {before + name for name in names}
    for wrong in ("/street", "../street", "a//b", "a\\b"):
        with pytest.raises(SpecError, match="a folder such as street/day"):
            Publish(folder=wrong)


def test_detectors_are_named_in_one_order_whoever_failed_where(tmp_path):
    """That of first sight over all shards, as if all boxes were in one."""
    attributes = ("detectors",)
    publishing = Publish(formats=("cvat",), attributes=attributes, report=False)
    spec = ensemble(pool(tmp_path / "pool", 4), A, B, C, quorum=2, publish=publishing)
    work = prepared(tmp_path, spec, shard_size=2)
    for shard, failed in enumerate(({"a": "out of sorts"}, {})):
        detect(work, shard, voters(spec), workers=1)
        fuse(work, shard, spec, failed=failed)
    publish(spec, work, tmp_path / "out")
    told = (tmp_path / "out/cvat/annotations.xml").read_text()
    found = set(re.findall(r'name="detectors">([^<]*)<', told))
    assert {"b, c", "b, c, a"} <= found
    assert not {"a, b", "a, b, c"} & found
