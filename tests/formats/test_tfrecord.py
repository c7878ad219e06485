import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, QuorateError
from quorate.formats import read, write
from quorate.formats.tfrecord.messages import MESSAGES
from quorate.labels import Labels
from quorate.storage import open_tree
from quorate.storage.records import crc32c, framed, masked_crc, records
from tests.formats.samples import ASSETS, datasets, same, sample

MAP = "item { id: 1 name: 'car' }\nitem { id: 2 name: 'Straße' display_name: 'x' }\n"
EDGES = ("xmin", "ymin", "xmax", "ymax")


def png(size=(64, 48)):
    file = io.BytesIO()
    Pillow.new("RGB", size, (9, 99, 200)).save(file, "PNG")
    return file.getvalue()


def example(name="a.png", boxes=((0.25, 0.5, 0.5, 0.75),), **more):
    told = {
        "image/filename": [name.encode()], "image/width": [64], "image/height": [48],
        "image/object/class/label": [1] * len(boxes),
    }  # fmt: skip
    for at, edge in enumerate(EDGES):
        told[f"image/object/bbox/{edge}"] = [box[at] for box in boxes]
    for key, values in more.items():
        told[f"image/{key.replace('__', '/')}"] = values
    made = MESSAGES["Example"]()
    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    for key, values in told.items():
        if values:
            getattr(made.features.feature[key], kinds[type(values[0])]).value.extend(values)
    return made.SerializeToString()


@pytest.fixture
def tfrecord(tmp_path):
    def tfrecord(*examples, name="default.tfrecord", labels=MAP):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"".join(map(framed, examples)))
        if labels:
            (tmp_path / "label_map.pbtxt").write_text(labels)
        return tmp_path

    return tfrecord


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_checksums_are_those_of_rfc_3720(data, expected):
    assert crc32c(data) == expected


def test_a_file_that_tensorflow_wrote():
    """Two parts and a label map, by TensorFlow 2 itself."""
    found = read(ASSETS / "written-by-tensorflow.zip")
    assert [(i.name, i.width, i.height) for i in found.images] == [
        ("cam/ä.png", 64, 48), ("b.png", 64, 48),
    ]  # fmt: skip
    assert (found.labels.names, found.labels.ids) == (("car", "person"), (3, 7))
    shapes = found.annotations
    assert shapes.xyxy.tolist() == [[1, 2, 30.25, 40], [32, 24, 64, 48]]
    assert shapes.category_id.tolist() == [3, 7]
    assert shapes.iscrowd.tolist() == [False, True]
    assert shapes.attributes["difficult"].tolist() == ["1", None]
    with open_tree(found.root) as tree:
        for image in found.images:
            assert Pillow.open(tree.open(image.file_name)).size == (64, 48)


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_a_task_of_cvat_there_and_back_with_its_pictures(tmp_path, target):
    task = read(sample("task-a.cvat-2.15.cvat-for-images-1.1.images"))
    written = write(task, task.annotations, tmp_path / target, format="tfrecord", pictures=True)
    assert any("tags, points and polylines are left out" in note for note in written.notes)
    again = read(tmp_path / target)
    assert [i.name for i in again.images] == [i.name for i in task.images]
    assert again.labels == task.labels
    boxes = task.annotations
    rows = (boxes.kind == Kind.BOX) & (boxes.rotation == 0)
    found = {tuple(box) for box in again.annotations.xyxy.tolist()}
    assert {tuple(np.round(box, 3)) for box in boxes.xyxy[rows].tolist()} <= found
    with open_tree(again.root) as tree, open_tree(task.root) as given_:
        for one, other in zip(again.images, task.images, strict=True):
            assert tree.read(one.file_name) == given_.read(other.file_name)
            assert tree.exists(one.file_name)
        assert all(tree.stamps([image.file_name for image in again.images]))


@settings(max_examples=50, deadline=None)
@given(datasets(kinds=(Kind.BOX,), attributes=False))
def test_boxes_there_and_back(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("tfrecord")
    write(data, data.annotations, place, format="tfrecord")
    again = read(place)
    assert [i.name for i in again.images] == [i.name for i in data.images]
    order = np.argsort(data.annotations.image_id, kind="stable")
    lost = ("occluded", "z_order", "sources")
    same(data.annotations.take(order), again.annotations, but=lost, within=0.001)
    assert again.labels.names == data.labels.names


def test_the_number_counts_where_a_map_names_it(tfrecord):
    found = read(
        tfrecord(
            example(object__class__label=[2], object__class__text=[b"Strae"]),  # as CVAT writes
            example("b.png", boxes=()),
        )
    )
    assert found.labels.name_of(int(found.annotations.category_id[0])) == "Straße"
    assert any("as 'Strae' for 'Straße'; the number counts" in note for note in found.notes)
    assert len(found.images) == 2


def test_without_a_map_texts_are_the_labels_in_order_of_their_numbers(tfrecord):
    found = read(
        tfrecord(
            example(object__class__label=[5], object__class__text=[b"b"]),
            example("b.png", object__class__label=[2], object__class__text=[b"z"]),
            labels="",
        )
    )
    assert (found.labels.names, found.labels.ids) == (("z", "b"), (2, 5))
    with pytest.raises(FormatError, match="label 1 has no name") as caught:
        read(tfrecord(example(), labels=""))
    assert "put a label_map.pbtxt beside it" in caught.value.hint


def test_several_files_are_subsets(tfrecord):
    tfrecord(example(), name="train.record-00000-of-00002")
    tfrecord(example("b.png"), name="train.record-00001-of-00002")
    found = read(tfrecord(example("c.png"), name="val.record"))
    assert [(i.subset, i.name) for i in found.images] == [
        ("train", "a.png"), ("train", "b.png"), ("val", "c.png"),
    ]  # fmt: skip


def test_roboflows_folders_are_subsets(tfrecord):
    tfrecord(example(), name="train/cells.tfrecord")
    found = read(tfrecord(example(), name="valid/cells.tfrecord"))
    assert [(i.subset, i.name) for i in found.images] == [("train", "a.png"), ("valid", "a.png")]


def test_one_file_with_the_map_beside_it(tfrecord):
    found = read(tfrecord(example(encoded=[png()])) / "default.tfrecord")
    assert found.labels.names == ("car", "Straße")
    with open_tree(found.root) as tree:
        assert tree.read(found.images[0].file_name) == png()


def test_pictures_outside_are_found_by_name(tfrecord, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png())
    found = read(tfrecord(example()))
    assert found.root == f"{tmp_path}/images"
    assert found.images[0].file_name == "a.png"


def test_sizes_come_from_the_picture_where_they_are_not_told(tfrecord):
    found = read(tfrecord(example(width=[], height=[], encoded=[png((32, 16))], format=[b"png"])))
    assert (found.images[0].width, found.images[0].height) == (32, 16)
    assert found.annotations.xyxy.tolist() == [[8, 8, 16, 12]]


def test_names_that_are_not_told(tfrecord):
    found = read(tfrecord(example("", source_id=[b"7"], format=[b"jpeg"]), example("")))
    assert [image.name for image in found.images] == ["7.jpg", "000002.jpg"]
    assert any("2 examples have no image/filename" in note for note in found.notes)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"object__bbox__xmax": [0.5, 0.5]}, "`image/object/bbox/xmax` has 2 values for 1 boxes"),
        ({"object__bbox__xmax": [7]}, "`image/object/bbox/xmax` is a int64_list, not a float_list"),
        ({"object__bbox__xmax": [float("nan")]}, "NaN or infinite"),
        ({"object__bbox__xmax": [0.1]}, "is inverted"),
        ({"object__class__label": []}, "has boxes without labels"),
        ({"object__class__label": [1, 1]}, "has 2 values for 1 boxes"),
        ({"object__class__label": [9]}, "label 9 has no name"),
        ({"object__class__text": [b"\xff"]}, "is not text in UTF-8"),
        ({"object__is_crowd": [1, 1]}, "has 2 values for 1 boxes"),
        ({"width": [0]}, "has boxes, but no image/width"),
        ({"width": [-5]}, "a side of '-5' pixels"),
        ({"width": [1, 2]}, "`image/width` has 2 values, not one"),
        ({"width": [], "encoded": [b"x"]}, "not a picture"),
    ],
)
def test_examples_that_are_none(tfrecord, more, said):
    with pytest.raises(FormatError, match=said):
        read(tfrecord(example(**more)))


def test_a_name_that_leads_outside_is_refused(tfrecord):
    with pytest.raises(InputError, match="leads outside its root"):
        read(tfrecord(example("../../a.png", encoded=[png()])))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item { id: 1 name: 'it's' }", "no label map"),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "1 is both 'a' and 'b'"),
        ("item { id: 1 }", "a label numbered 1 and called ''"),
        ("item { " * 5000, "no label map"),
        ("x" * 100_000, "no label map"),
    ],
)
def test_label_maps_that_are_none(tfrecord, text, said):
    with pytest.raises(FormatError, match=said):
        read(tfrecord(example(), labels=text))


def lying(length, checksum=None):
    head = struct.pack("<Q", length)
    return head + struct.pack("<I", masked_crc(head) if checksum is None else checksum) + b"abc"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (framed(example())[:-1], "record 1 .* is cut short"),
        (framed(example())[:7], "record 1 .* is cut short"),
        (lying(100_000_000), "record 1 .* is cut short"),
        (lying(1 << 60), "1,152,921,504,606,846,976 bytes, where"),
        (lying(3, 7), "the checksum of its length is wrong"),
        (framed(example())[:-3] + b"abc", "the checksum of its bytes is wrong"),
        (framed(b"\x0a\xff\xff\xff"), "is no tf.train.Example"),
        (b"\x1f\x8b" + bytes(20), "is compressed as a whole"),
        (b"this is no file of records", "the checksum of its length is wrong"),
    ],
)
def test_damaged_files(tfrecord, tmp_path, data, said):
    tfrecord(example())
    (tmp_path / "default.tfrecord").write_bytes(data)
    with pytest.raises(FormatError, match=said):
        read(tmp_path)


def test_a_lying_length_takes_no_memory():
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(FormatError, match="is cut short"):
        list(records(io.BytesIO(lying((1 << 27) - 1)), "x"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23


def test_pieces_that_are_not_there(tfrecord):
    with open_tree(tfrecord(example())) as tree:
        for name in ("default.tfrecord/0-99999.jpg", f"default.tfrecord/0-{10**17}.jpg"):
            with pytest.raises(InputError, match="has no such piece"):
                tree.read(name)
        with pytest.raises(InputError):
            tree.read("other.tfrecord/0-9.jpg")
        with pytest.raises(InputError, match="leads outside"):
            tree.read("../default.tfrecord/0-9.jpg")
        assert tree.stamps(["other.tfrecord/0-9.jpg"]) == ("",)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_told(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("tfrecord")
    whole = bytearray(framed(example(encoded=[png((4, 4))])) + framed(example("b.png")))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    (place / "a.tfrecord").write_bytes(whole)
    (place / "label_map.pbtxt").write_text(MAP)
    with pytest.raises(FormatError):  # no byte is without a checksum
        read(place)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200) | st.data())
def test_any_example_is_read_or_refused(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("tfrecord")
    if not isinstance(data, bytes):
        whole = bytearray(example(encoded=[png((4, 4))]))
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        data = bytes(whole)
    (place / "a.tfrecord").write_bytes(framed(data))
    (place / "label_map.pbtxt").write_text(MAP)
    with suppress(QuorateError):
        read(place)


def test_what_is_left_out_is_told(tmp_path):
    labels = Labels(("car", "bus"), (0, 4))
    shapes = Annotations.build(
        image_id=[1, 1], category_id=[0, 4], xyxy=[[1, 2, 3, 4], [0, 0, 0, 0]],
        kind=[Kind.BOX, Kind.TAG], iscrowd=[True, False],
        attributes={"color": np.array(["red", None], object)},
    )  # fmt: skip
    data = Dataset(str(tmp_path), (Image(1, "a.jpg", 64, 48),), labels)
    notes = " ".join(write(data, shapes, tmp_path / "out", format="tfrecord").notes)
    for said in ("1 tags, points", "attributes color", "numbered anew from 1"):
        assert said in notes
    again = read(tmp_path / "out")
    assert again.annotations.iscrowd.tolist() == [True]
    assert again.labels.ids == (1, 2)
    with pytest.raises(InputError, match=r"a\.jpg: there is no such file"):
        write(data, shapes, tmp_path / "new", format="tfrecord", pictures=True)
    assert not (tmp_path / "new").exists()
    unknown = Dataset("", (Image(1, "a.jpg"),), labels)
    with pytest.raises(InputError, match=r"of 1 pictures is not known, the first 'a\.jpg'"):
        write(unknown, shapes, tmp_path / "new", format="tfrecord")
