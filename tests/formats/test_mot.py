from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, QuorateError
from quorate.formats import read, write
from quorate.labels import Labels
from tests.formats.oracle import boxes_by_datumaro
from tests.formats.samples import datasets, same, sample

INFO = "[Sequence]\nname=a\nimDir=img1\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.png\n"


@pytest.fixture
def mot(tmp_path):
    def mot(text, labels="car\nperson\n", folder="", pictures=(), info=""):
        there = {f"{folder}gt/gt.txt": text, f"{folder}seqinfo.ini": info}
        there |= {f"{folder}gt/labels.txt": labels}
        there |= {f"{folder}img1/{name}": "." for name in pictures}
        for name, inside in there.items():
            if inside:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(inside)
        return tmp_path

    return mot


def test_tracks_visibility_and_what_does_not_count(mot):
    found = read(mot("2,7,1,2,3,4,1,2,0.5\n1,-1,5,6,7,8,0,1,0.0\n"))
    shapes = found.annotations
    assert [image.name for image in found.images] == ["000001.jpg", "000002.jpg"]
    assert shapes.image_id.tolist() == [2, 1]
    assert shapes.category_id.tolist() == [2, 1]
    assert shapes.xyxy.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert shapes.attributes["track_id"].tolist() == [7, None]
    assert shapes.attributes["visibility"].tolist() == [0.5, None]
    assert shapes.occluded.tolist() == [False, True]
    assert shapes.iscrowd.tolist() == [False, True]
    assert "no pictures are there; 2 frames are called 000001.jpg and so on" in found.notes[0]


def test_seqinfo_tells_frames_without_boxes_and_sizes(mot):
    found = read(mot("2,1,1,2,3,4,1,1,1\n", info=INFO))
    assert [(i.name, i.width, i.height) for i in found.images] == [
        (f"00000{n}.png", 64, 48) for n in (1, 2, 3)
    ]
    with pytest.raises(FormatError, match="a sequence of 99,999,999 frames"):
        read(mot("", info=INFO.replace("=3", "=99999999")))
    with pytest.raises(FormatError, match=r"seqinfo\.ini: a picture with a side of '-4' pixels"):
        read(mot("", info=INFO.replace("=48", "=-4")))
    with pytest.raises(FormatError, match=r"seqinfo\.ini: not an INI file"):
        read(mot("", info="name=a\n"))


def test_pictures_named_by_numbers_are_those_frames(mot):
    found = read(mot("3,1,1,2,3,4,1,1,1\n5,1,1,2,3,4,1,1,1\n", pictures=("1.png", "03.png")))
    assert [image.name for image in found.images] == ["1.png", "03.png", "000005.jpg"]
    assert found.annotations.image_id.tolist() == [2, 3]
    assert "1 of 3 pictures are not there, the first that of frame 5" in found.notes[0]


def test_other_pictures_are_counted_in_order_of_their_names(mot):
    place = mot("3,1,1,2,3,4,1,1,1\n", pictures=("b.jpg", "a/x.jpg", "c.jpg"))
    found = read(place)
    assert [image.name for image in found.images] == ["a/x.jpg", "b.jpg", "c.jpg"]
    assert found.annotations.image_id.tolist() == [3]
    assert found.root == f"{place}/img1"
    assert "in order of their names, the first is 'a/x.jpg'" in found.notes[0]
    with pytest.raises(FormatError, match=r"frame 4, but there are 3 pictures in 'img1/'"):
        read(mot("4,1,1,2,3,4,1,1,1\n"))
    with pytest.raises(FormatError, match=r"'2\.jpg' and 'a/x\.jpg' are both frame 2"):
        read(mot("3,1,1,2,3,4,1,1,1\n", pictures=("2.jpg",)))


def test_sequences_of_the_benchmark_are_read_as_one(mot):
    mot("1,1,1,2,3,4,1,3,1\n", "", "train/A/", ("000001.jpg",))
    mot("1,1,1,2,3,4,1,1,1\n", "", "train/B/", ("000001.jpg",))
    found = read(mot("1,1,5,6,3,4,1,-1,-1,-1\n", "", "test/C/"))
    assert [(i.subset, i.name, i.file_name) for i in found.images] == [
        ("test", "C/000001.jpg", "test/C/000001.jpg"),
        ("train", "A/000001.jpg", "train/A/img1/000001.jpg"),
        ("train", "B/000001.jpg", "train/B/img1/000001.jpg"),
    ]
    labels = [found.labels.name_of(i) for i in found.annotations.category_id.tolist()]
    assert labels == ["pedestrian", "car", "pedestrian"]
    assert any("1 boxes without a class are taken for 'pedestrian'" in n for n in found.notes)


def test_scores_in_the_seventh_number(mot):
    found = read(mot("1,1,1,2,3,4,0.25,1,1\n1,1,9,9,3,4,0,1,1\n"))
    assert found.annotations.attributes["score"].tolist() == [0.25, 0]
    assert not found.annotations.iscrowd.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,1,1,2,3,4,1,3,1\n", "line 1: class 3, of 2 that there are"),
        ("1,1,1,2,3,4,1,0,1\n", "line 1: class 0"),
        ("1,1,1,2,3,4,1,1.5,1\n", "line 1: class 1.5"),
        ("1,1,1,2,3\n", "its lines have 5 numbers"),
        ("1,1,1,2,3,4,1,1,1\n1,1,1,2,3,4,1\n", "line 2 has 7 numbers, the first 9"),
        ("1,1,1,2,3,4,1,1,1\n1,1,1,2,x,4,1,1,1\n", "line 2 is not numbers"),
        ("1,1,1,2,1_0,4,1,1,1\n", "line 1 is not numbers"),
        ("1,1,1,2,nan,4,1,1,1\n", "line 1: a number that is NaN or infinite"),
        ("1,1,1,2,1e999,4,1,1,1\n", "line 1: a number that is NaN or infinite"),
        ("1,1,1,2,3,4,1,1,1\n1e15,1,1,2,3,4,1,1,1\n", r"line 2: a frame numbered 1e\+15"),
        ("1.5,1,1,2,3,4,1,1,1\n", "line 1: a frame numbered 1.5"),
        ("1,1,1,2,-3,4,1,1,1\n", "is inverted"),
        ("1,1,1,2,3,4,87,1,1\n1,1,1,2,3,4,0.5,1,1\n", "has a score of 87"),
    ],
)
def test_lines_that_are_none(mot, text, said):
    with pytest.raises(FormatError, match=said):
        read(mot(text))


def test_a_label_without_a_name(mot):
    with pytest.raises(FormatError, match=r"labels\.txt, line 2: a label without a name"):
        read(mot("1,1,1,2,3,4,1,1,1\n", labels="car\n\nperson\n"))


def test_as_datumaro_reads_what_is_written(tmp_path):
    names = ("a.jpg", "b.jpg")
    images = tuple(Image(i, name, 64, 48) for i, name in enumerate(names, start=1))
    data = Dataset("", images, Labels.from_names(("car", "person")))
    shapes = Annotations.build(
        image_id=[2, 1], category_id=[1, 2], xyxy=[[1, 2, 3.25, 4], [5, 6, 7, 8]]
    )
    write(data, shapes, tmp_path, format="mot")
    assert boxes_by_datumaro(tmp_path, "mot_seq") == {
        ("2", "car", 1, 2, 3.25, 4), ("1", "person", 5, 6, 7, 8),
    }  # fmt: skip


def test_an_export_of_cvat_is_written_as_it_was(tmp_path):
    """But for the columns' spelling, the file is CVAT's own."""
    found = read(sample("task-a.cvat-2.15.mot-1.1.images"))
    write(found, found.annotations, tmp_path / "out", format="mot")
    given = read(sample("task-a.cvat-2.15.mot-1.1"))
    again = read(tmp_path / "out")
    same(given.annotations, again.annotations)
    assert again.labels == given.labels


@settings(max_examples=50, deadline=None)
@given(datasets(kinds=(Kind.BOX,), attributes=False))
def test_there_and_back(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("mot")
    for image in data.images:
        path = place / "img1" / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write(data, data.annotations, place, format="mot", decimals=4)
    again = read(place)
    assert sorted(i.name for i in again.images) == sorted(i.name for i in data.images)

    def told(data):
        names = {image.id: image.name for image in data.images}
        shapes = data.annotations
        return sorted(
            (names[i], data.labels.name_of(c), occluded, *box)
            for i, c, occluded, box in zip(
                shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.occluded.tolist(),
                shapes.xyxy.tolist(), strict=True,
            )
        )  # fmt: skip

    assert told(again) == told(data)


def test_what_is_left_out_is_told(tmp_path):
    images = (Image(1, "5.jpg", 64, 48, "x"), Image(2, "7.jpg", 64, 48, "y"))
    data = Dataset("", images, Labels.from_names(("car",)))
    shapes = Annotations.build(
        image_id=[1, 2], category_id=1, xyxy=[[1, 2, 3, 4], [0, 0, 0, 0]],
        kind=[Kind.BOX, Kind.TAG], attributes={"color": np.array(["red", None], object)},
    )  # fmt: skip
    written = write(data, shapes, tmp_path, format="mot")
    assert [f.removeprefix(f"{tmp_path}/") for f in written.files] == [
        "x/gt/gt.txt", "x/gt/labels.txt", "y/gt/gt.txt", "y/gt/labels.txt",
    ]  # fmt: skip
    notes = " ".join(written.notes)
    for said in ("1 tags, points and polylines", "attributes color are", "from 5 to 5"):
        assert said in notes
    assert [(i.subset, i.name) for i in read(tmp_path).images] == [("x", "000005.jpg")]
    with pytest.raises(InputError, match="cannot hold 'a\\\\nb'"):
        write(Dataset("", images, Labels.from_names(("a\nb",))), shapes, tmp_path, format="mot")
    twice = (Image(1, "1.jpg", 64, 48), Image(2, "01.jpg", 64, 48))
    with pytest.raises(InputError, match=r"'01\.jpg' and '1\.jpg' are both frame 1"):
        write(Dataset("", twice, data.labels), shapes, tmp_path, format="mot")


@settings(max_examples=100, deadline=None)
@given(text=st.text("0123456789,.-einfa\n_ ", max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    place = tmp_path_factory.mktemp("mot")
    (place / "gt").mkdir()
    (place / "gt" / "gt.txt").write_text(text)
    with suppress(QuorateError):
        read(place, format="mot")


def test_very_many_boxes_are_read(mot):
    rng = np.random.default_rng(0)
    n = 100_000
    frames = np.sort(rng.integers(1, 1000, n))
    rows = np.column_stack([frames, np.ones((n, 8), int)]).tolist()
    found = read(mot("\n".join(",".join(map(str, row)) for row in rows)))
    names = [image.name for image in found.images]
    shown = found.annotations.image_id[::1000].tolist()
    assert [int(names[i - 1][:6]) for i in shown] == frames[::1000].tolist()
    assert "annotations stand twice" in found.notes[-1]
