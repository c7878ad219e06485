import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from quorate.detections import FUSED, Detections, Members
from quorate.errors import FormatError, ImageError, InputError
from quorate.labels import Labels
from quorate.masks import Masks


def boxes(name: str, image_id: list[int], **columns: object) -> Detections:
    n = len(image_id)
    given = {
        "category_id": 1,
        "xyxy": np.arange(4 * n).reshape(n, 4),
        "score": np.linspace(0.9, 0.1, n),
        "detectors": (name,),
    }
    return Detections.build(image_id=image_id, **(given | columns))


def fused() -> Detections:
    return boxes(
        "ignored",
        [1, 1, 2],
        detector=FUSED,
        detectors=("a", "b"),
        members=Members(
            offsets=np.array([0, 2, 3, 5]),
            detector=np.array([0, 1, 0, 1, 0], dtype=np.int16),
            score=np.array([0.9, 0.8, 0.7, 0.6, 0.5], dtype=np.float32),
        ),
    )


def same(a: Detections, b: Detections) -> bool:
    return a.to_arrow().equals(b.to_arrow(), check_metadata=True)


def test_parquet_gives_back_what_it_was_given(tmp_path):
    for detections in (boxes("a", [3, 1, 2]), Detections.empty(("a",)), fused()):
        detections.to_parquet(tmp_path / "d.parquet")
        assert same(Detections.from_parquet(tmp_path / "d.parquet"), detections)


def test_concat_unites_names_and_keeps_whose_box_is_whose():
    both = Detections.concat([boxes("a", [1]), boxes("b", [1, 2]), boxes("a", [3])])
    assert both.detectors == ("a", "b")
    assert both.detector.tolist() == [0, 1, 1, 0]
    assert same(both.of("b"), boxes("b", [1, 2])) is False  # its names are still both
    assert both.of("b").image_id.tolist() == [1, 2]


def test_concat_keeps_members_and_the_mark_of_fusion():
    twice = Detections.concat([fused(), fused()])
    assert set(twice.detector.tolist()) == {FUSED}
    assert twice.members is not None
    assert twice.members.offsets.tolist() == [0, 2, 3, 5, 7, 8, 10]
    assert same(twice.take(slice(3, 6)), fused())


def test_take_by_index_mask_and_slice_agree():
    detections = fused()
    picked = detections.take(np.array([0, 2]))
    assert same(picked, detections.take(np.array([True, False, True])))
    assert same(picked, detections.take(slice(None, None, 2)))
    assert picked.members is not None
    assert picked.members.score.tolist() == pytest.approx([0.9, 0.8, 0.6, 0.5])


def test_concat_of_nothing_is_empty():
    assert len(Detections.concat([])) == 0
    assert len(Detections.concat([Detections.empty(("a",)), Detections.empty(("b",))])) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(InputError, match="1 of 2 boxes"):
        boxes("a", [1, 2], score=[0.5, bad])
    with pytest.raises(InputError, match="1 of 1 boxes"):
        boxes("a", [1], xyxy=[[0, 0, bad, 1]])


def test_columns_of_different_length_are_refused():
    with pytest.raises(InputError, match="3 values of 'score' for 2 boxes"):
        boxes("a", [1, 2], score=[0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="1 boxes for 2 image ids"):
        boxes("a", [1, 2], xyxy=[[0, 0, 1, 1]])


def test_a_file_that_is_something_else_is_named(tmp_path):
    other = tmp_path / "other.parquet"
    other.write_bytes(b"PAR1 but not really")
    with pytest.raises(FormatError, match=r"other\.parquet"):
        Detections.from_parquet(other)
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(FormatError, match="no column image_id"):
        Detections.from_parquet(other)


def test_an_unknown_detector_is_named():
    with pytest.raises(InputError, match="No detector 'x' among a"):
        boxes("a", [1]).of("x")


def masked() -> Detections:
    return boxes("a", [1, 1, 2], masks=masks_of(3))


def masks_of(n: int) -> Masks:
    rows = [[6 * i, 1, 30 - 6 * i - 1] for i in range(n)]
    return Masks.from_runs(rows, [[5, 6]] * n)


def test_masks_go_through_parquet_take_and_concat(tmp_path):
    masked().to_parquet(tmp_path / "d.parquet")
    again = Detections.from_parquet(tmp_path / "d.parquet")
    assert same(again, masked())
    both = Detections.concat([boxes("b", [1]), again, boxes("b", [3])])
    assert both.masks is not None
    assert both.masks.there.tolist() == [False, True, True, True, False]
    assert same(both.of("a").take(slice(None, None, -1)).take(np.array([2, 1, 0])), both.of("a"))
    both.to_parquet(tmp_path / "d.parquet")
    assert same(Detections.from_parquet(tmp_path / "d.parquet"), both)


def test_boxes_without_masks_have_no_column_for_them(tmp_path):
    both = Detections.concat([boxes("a", [1]), fused()])
    assert both.masks is None
    assert not any(name.startswith("mask") for name in both.to_arrow().column_names)
    with pytest.raises(InputError, match="2 rows of masks for 3 boxes"):
        boxes("a", [1, 1, 2], masks=masks_of(2))


def test_detections_load_no_compiler():
    code = "import sys, quorate.detections; assert not {'numba', 'pyarrow'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def of_pictures(*ids, **more):
    n = len(ids)
    return Detections.build(
        image_id=ids, category_id=range(1, n + 1), xyxy=[[i, 2, 30 + i, 20] for i in range(n)],
        score=[0.9 - i / 10 for i in range(n)], detectors=("a", "b"), **more,
    )  # fmt: skip


def test_pictures_are_indexed_by_their_id_and_gone_through_in_order_of_sight():
    boxes = of_pictures(7, 3, 7, 9)
    assert boxes[7].category_id.tolist() == [1, 3]
    assert boxes[np.int64(3)].category_id.tolist() == [2]
    assert len(boxes[8]) == 0
    assert [(i, one.category_id.tolist()) for i, one in boxes] == [(7, [1, 3]), (3, [2]), (9, [4])]
    assert list(Detections.empty()) == []
    for wrong in (boxes.score > 0.5, slice(2), "7", True):
        with pytest.raises(InputError, match="no picture's id"):
            boxes[wrong]


def test_a_data_frame_shares_the_columns():
    boxes = of_pictures(7, 3, 7, detector=[0, -1, 1])
    frame = boxes.to_pandas(Labels(names=("car", "person"), ids=(1, 3)))
    assert list(frame.columns) == [
        "image_id", "category_id", "x1", "y1", "x2", "y2", "score", "detector", "votes",
        "agreement", "label",
    ]  # fmt: skip
    assert frame["detector"].tolist()[::2] == ["a", "b"]
    assert frame["detector"].isna().tolist() == [False, True, False]
    assert frame["label"].tolist()[::2] == ["car", "person"]
    assert frame["label"].isna().tolist() == [False, True, False]
    for name in ("image_id", "score", "votes"):
        assert np.shares_memory(frame[name].to_numpy(), getattr(boxes, name))
    assert np.shares_memory(frame["x1"].to_numpy(), boxes.xyxy)


def test_arrow_reads_boxes_as_they_are():
    boxes = of_pictures(7, 3)
    table = pa.table(boxes)
    assert table.equals(boxes.to_arrow())
    score = table["score"].chunk(0).to_numpy()
    assert np.shares_memory(score, boxes.score)


def test_boxes_are_drawn_on_their_picture(tmp_path):
    boxes = of_pictures(7, 7)
    grey = np.full((600, 700, 3), 90, np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    labels = Labels.from_names(["car", "person"])
    drawn = np.asarray(boxes.plot(grey, labels))
    assert drawn.shape == grey.shape
    assert (drawn != grey).any()
    assert (grey == 90).all()
    for picture in (tmp_path / "a.png", str(tmp_path / "a.png"), data, Image.fromarray(grey)):
        assert (np.asarray(boxes.plot(picture, labels)) == drawn).all()
    assert (np.asarray(boxes.plot(grey, labels, min_score=0.95)) == grey).all()
    assert (np.asarray(boxes.plot(grey)) != drawn).any()
    assert boxes.plot(grey)._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"b\.png: no such file"):
        boxes.plot(tmp_path / "b.png")
    with pytest.raises(ImageError, match="the picture"):
        boxes.plot(b"none")
    with pytest.raises(InputError, match="boxes of 2 pictures") as caught:
        of_pictures(7, 3).plot(grey)
    assert "boxes[3].plot" in caught.value.hint


def test_flipped_bits_of_a_parquet_file_are_found(tmp_path):
    random = np.random.default_rng(0)
    boxes = Detections.build(
        image_id=np.arange(500), category_id=1, xyxy=random.random((500, 4)),
        score=random.random(500), detectors=("a",),
    )  # fmt: skip
    path = tmp_path / "a.parquet"
    boxes.to_parquet(path)
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    silent = 0
    for at in random.integers(4, len(data) - footer, 200).tolist():
        hurt = bytearray(data)
        hurt[at] ^= 1 << int(random.integers(8))
        path.write_bytes(hurt)
        try:
            found = Detections.from_parquet(path)
        except FormatError:
            continue
        # A flipped bit of a page's own header may change nothing that is read.
        silent += not np.array_equal(found.xyxy, boxes.xyxy)
        silent += not np.array_equal(found.score, boxes.score)
        silent += not np.array_equal(found.image_id, boxes.image_id)
    assert silent == 0
