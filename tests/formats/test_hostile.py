"""Bytes that no tool should write: an error with a sentence and a hint, never a traceback."""

import gzip
import io
import json
import random
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from quorate.detections import Detections
from quorate.errors import FormatError, LabelError, QuorateError
from quorate.formats import read, read_detections

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [
        {
            "id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5,
            "attributes": {"rotation": 0.5},
        },
        {
            "id": 2, "image_id": 1, "category_id": 1,
            "segmentation": [[1, 2, 3, 4, 5, 7.5]],
        },
        {
            "id": 3, "image_id": 1, "category_id": 1, "iscrowd": 1,
            "segmentation": {"size": [48, 64], "counts": [100, 5, 2967]},
        },
    ],
}  # fmt: skip
VOC = """<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>car</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>
<attributes><attribute><name>rotation</name><value>0</value></attribute></attributes></object>
</annotation>"""
TRACKS = (
    "<annotations><meta><task><id>1</id><size>6</size><frame_filter>step=2</frame_filter>"
    "</task></meta><track label='car'>"
    "<box frame='0' outside='0' xtl='1' ytl='2' xbr='30' ybr='40' rotation='3'></box>"
    "<box frame='4' outside='1' xtl='1' ytl='2' xbr='30' ybr='40'></box></track>"
    "<track label='bus'><points frame='0' points='1,2'></points>"
    "<points frame='4' points='3,2'></points></track></annotations>"
)
OTHERS = {
    "images": [{"id": 1.0, "file_name": "C:\\a.jpg", "width": "100", "height": 80}],
    "categories": [
        {"id": "0", "name": "x", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "x"},
    ],
    "annotations": [
        {"image_id": "1", "category_id": "car", "bbox": [1, 2, 3, 4], "iscrowd": "1",
         "segmentation": [[[1, 2], [3, 4], [5, 6]]], "attributes": {"occluded": False}},
        {"image_id": 1, "category_id": 1, "segmentation": [1, 2, 3, 4, 5, 6], "area": None},
    ],
}  # fmt: skip
HUGE = ("1e400", "12345678901234567890", "9" * 400, "-1e400")


def damaged(path, *, lies):
    """A ZIP whose first member cannot be unpacked, or holds more than it says."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Annotations/a.xml", VOC)
    data = bytearray(path.read_bytes())
    if lies:
        at = data.index(b"PK\x01\x02") + 24  # the size of the member in the table of contents
        data[at : at + 4] = struct.pack("<I", 100)
    else:
        data[60:90] = b"\xff" * 30
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("lies", [False, True])
def test_a_damaged_member_of_an_archive_is_named(tmp_path, lies):
    with pytest.raises(FormatError, match=r"a\.xml: cannot be unpacked") as caught:
        read(damaged(tmp_path / "a.zip", lies=lies))
    assert "damaged" in caught.value.hint


@pytest.mark.parametrize("key", ["info", "x"])
def test_coco_nested_a_thousand_deep_is_refused(tmp_path, key):
    path = tmp_path / "a.json"
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    path.write_text(f'{{"images": [], "{key}": {deep}}}')
    with pytest.raises(FormatError, match="nested too deep") as caught:
        read(path)
    assert caught.value.hint


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    "place",
    [
        ("images", 0, "id"),
        ("images", 0, "width"),
        ("categories", 0, "id"),
        ("annotations", 0, "image_id"),
        ("annotations", 0, "category_id"),
        ("annotations", 0, "bbox", 0),
        ("annotations", 0, "attributes", "rotation"),
        ("annotations", 2, "segmentation", "size", 0),
        ("annotations", 2, "segmentation", "counts", 1),
    ],
    ids=lambda place: "-".join(map(str, place)),
)
def test_numbers_beyond_all_measure_in_coco(tmp_path, place, number):
    told = json.loads(json.dumps(COCO))
    *way, last = place
    inner = told
    for step in way:
        inner = inner[step]
    inner[last] = "HUGE"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(told).replace('"HUGE"', number))
    if place[-1] == 0 and place[-2] == "bbox" and number.isdecimal() and len(number) < 30:
        assert read(path).annotations.xyxy[0, 0] == float(number)  # a number like any other
        return
    if place[-1] == "rotation" and len(number) == 20:
        assert read(path).annotations.rotation[0] == float(number)
        return
    with pytest.raises(QuorateError, match=r"a\.json"):
        read(path)


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("place", ["<width>64", "<xmin>1", "<value>0"])
def test_numbers_beyond_all_measure_in_voc(tmp_path, place, number):
    tag = place[: place.index(">") + 1]
    (tmp_path / "a.xml").write_text(VOC.replace(place, tag + number))
    if tag == "<value>" and len(number) == 20:
        assert read(tmp_path).annotations.rotation[0] == float(number)
        return
    with pytest.raises(FormatError):
        read(tmp_path)


@pytest.fixture
def yolo(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Pillow.new("RGB", (64, 48)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names: [car]\n")
    return tmp_path


@pytest.mark.parametrize("number", HUGE)
def test_numbers_beyond_all_measure_in_yolo(yolo, number):
    for line in (f"{number} 0.5 0.5 0.1 0.1", f"0 {number} 0.5 0.1 0.1", f"0 1 1 1 1 {number}"):
        (yolo / "labels" / "a.txt").write_text(line)
        with pytest.raises((FormatError, LabelError), match=r"a\.txt, line 1"):
            read(yolo)


@pytest.mark.parametrize(
    "names",
    [
        "{0: car, x: bus}",
        "{0: car, 2: bus}",
        "{0: car, 1.5: bus}",
        "{0: car, [1]: bus}",
        "{0: [car]}",
        "[car, {a: b}]",
        "7",
        "9" * 5000,
        "!!float x",
        "!!timestamp x",
        "",
    ],
)
def test_names_that_are_none(yolo, names):
    (yolo / "data.yaml").write_text(f"train: images\nnames: {names}\n")
    with pytest.raises(FormatError, match=r"data\.yaml: "):
        read(yolo)


def test_nested_aliases_are_not_unfolded(yolo):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (yolo / "data.yaml").write_text("\n".join([*lines, "names: *a29", ""]))
    with pytest.raises(FormatError, match="`names` is neither") as caught:
        read(yolo)
    assert len(str(caught.value)) < 1000


def test_names_of_classes_are_the_text_that_stands_there(yolo):
    (yolo / "data.yaml").write_text("names: {0: no, 1: 007}\n")
    assert read(yolo).labels.names == ("no", "007")


@pytest.mark.parametrize("name", ["data.yaml", "train.txt", "obj.data", "obj.names"])
def test_names_that_are_not_utf8_are_refused(yolo, name):
    if name.startswith("obj"):
        (yolo / "data.yaml").unlink()
        (yolo / "obj.data").write_text("train = train.txt\nnames = obj.names\n")
        (yolo / "obj.names").write_text("car\n")
    else:
        (yolo / "data.yaml").write_text("names: [car]\ntrain: train.txt\n")
    (yolo / "train.txt").write_text("images/a.png\n")
    read(yolo)
    (yolo / name).write_bytes((yolo / name).read_bytes() + b"# caf\xe9\n")
    with pytest.raises(FormatError, match=f"{name}: not text in UTF-8 at byte") as caught:
        read(yolo)
    assert "UTF-8" in caught.value.hint


def found():
    return Detections.build(
        image_id=[1, 1], category_id=1, xyxy=[[1, 2, 3, 4]] * 2, score=0.5, detectors=("a",)
    )


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    found().to_parquet(path)
    data = path.read_bytes()
    for seed in range(60):
        rng = random.Random(seed)
        hurt = bytearray(data)
        for _ in range(rng.randint(1, 8)):  # mostly the footer, which is most of so small a file
            hurt[rng.randrange(4, len(hurt) - 8)] = rng.randrange(256)
        path.write_bytes(hurt)
        with suppress(FormatError, LabelError):
            read_detections(path)


@pytest.mark.parametrize(
    "hurt",
    [
        lambda table: table.replace_schema_metadata({"quorate": "{"}),
        lambda table: table.replace_schema_metadata({"quorate": "[1]"}),
        lambda table: table.replace_schema_metadata({"quorate": "{}"}),
        lambda table: table.replace_schema_metadata({"quorate": b"\xff"}),
        lambda table: table.set_column(3, "y1", pa.array(["a", "b"])),
        lambda table: table.set_column(3, "y1", pa.array([1.0, None])),
        lambda table: table.set_column(0, "image_id", pa.array([1, None])),
        lambda table: table.drop_columns(["score"]),
    ],
)
def test_a_parquet_file_of_something_else_is_named(tmp_path, hurt):
    path = tmp_path / "a.parquet"
    pq.write_table(hurt(found().to_arrow()), path)
    with pytest.raises(FormatError, match=r"a\.parquet: ") as caught:
        Detections.from_parquet(path)
    assert caught.value.hint


def files():
    """A small file of each kind, by its name."""
    results = [
        {"image_id": "a.jpg", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, "votes": 2},
        {
            "image_id": 7, "category_id": "car", "score": 1, "detectors": ["a"],
            "segmentation": {"size": [48, 64], "counts": "`0"},
        },
        {"image_id": 7, "category_id": 2, "score": 1, "segmentation": [[1, 2, 3, 4, 5, 7.5]]},
    ]  # fmt: skip
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Annotations/a.xml", VOC)
    return {
        "results.json": json.dumps(results).encode(),
        "coco.json": json.dumps(COCO).encode(),
        "rows.csv": b"file_name,label,score,xmin,ymin,xmax,ymax\ncam/a.jpg,car,.5,1,2,3.5,4\n",
        "rows.json": json.dumps(
            [{"x_min": 1.5, "y_min": 2, "x_max": 3, "y_max": 4, "class_id": 1, "file_name": "a"}]
        ).encode(),
        "preds/a.json": json.dumps(
            {
                "labels": [0],
                "scores": [0.9],
                "bboxes": [[1, 2, 3, 4]],
                "masks": [{"size": [48, 64], "counts": [0, 9, 3063]}],
            }
        ).encode(),
        "tracks.xml": TRACKS.encode(),
        "others.json": json.dumps(OTHERS).encode(),
        "labels/b.txt": b"0 0.5 0.5 0.1 0.1 0.45 0.4 2 0.55 0.6 1\n",
        "voc.xml": VOC.encode(),
        "labelme.xml": (
            b"<annotation><filename>a.jpg</filename><folder>x</folder><imagesize><nrows>48</nrows>"
            b"<ncols>64</ncols></imagesize><object><name>car</name><id>0</id><parts><hasparts>1"
            b"</hasparts><ispartof></ispartof></parts><type>bounding_box</type><polygon><pt><x>1</x>"
            b"<y>2</y></pt><pt><x>3</x><y>4</y></pt></polygon><attributes>a=b, rotation=3"
            b"</attributes></object></annotation>"
        ),
        "annotations/datumaro.json": json.dumps(
            {
                "categories": {"label": {"labels": [{"name": "car"}]}},
                "items": [
                    {
                        "id": "a",
                        "annotations": [
                            {"type": "bbox", "label_id": 0, "bbox": [1, 2, 3, 4], "group": 1},
                            {"type": "polygon", "label_id": 0, "points": [1, 2, 3, 4, 5, 7.5]},
                            {
                                "type": "mask",
                                "label_id": 0,
                                "rle": {"counts": [1, 2, 6], "size": [3, 3]},
                            },
                        ],
                        "image": {"path": "a.jpg", "size": [48, 64]},
                    }
                ],
            }
        ).encode(),
        "gt/gt.txt": b"1,7,1,2,3.5,4,1,2,0.5\n2,-1,5,6,7,8,0,1,0.0\n",
        "voc.zip": packed.getvalue(),
        "data.yaml": b"train: images\nnames: {0: car, 1: &b bus}\nmore: *b\n",
        "labels/a.txt": b"0 0.5 0.5 0.1 0.1 0.9\n0 0.1 0.1 0.2 0.1 0.2 0.2\n",
    }


ODD = [
    b"1e400", b"9" * 20, b"-1", b"null", b"NaN", b"[", b"{", b"}, {", b'"', b"\\u", b"\xe9", b"\0",
    b"<", b"&", b"*a", b"\n", b"0", b"\xff\xfe", b"true", b"[]", b"1.5",
]  # fmt: skip


@pytest.mark.parametrize("name", files())
def test_hostile_bytes_end_in_an_error_of_ours(yolo, name):
    """Bytes changed, cut, doubled, put in: whatever is read or refused, nothing else happens."""
    own = {"gt/gt.txt": "mot", "labelme.xml": "labelme", "annotations/datumaro.json": "datumaro"}
    whole = files()[name]
    path = yolo / name
    path.parent.mkdir(exist_ok=True)
    if name == "labels/b.txt":
        Pillow.new("RGB", (64, 48)).save(yolo / "images" / "b.png")
    good = 0
    for seed in range(300):
        rng = random.Random(f"{name} {seed}")
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            choice = rng.randrange(4)
            if choice == 0 and at < len(data):
                data[at] = rng.randrange(256)
            elif choice == 1:
                data[at:to] = b""
            elif choice == 2:
                data[at:at] = data[at:to]
            else:
                data[at:at] = rng.choice(ODD)
        path.write_bytes(data)
        with suppress(QuorateError):
            if name in ("results.json", "rows.csv", "rows.json", "preds/a.json"):
                read_detections(path)
            elif name in own:
                read(yolo, format=own[name])
            else:
                read(yolo if name == "data.yaml" or name.startswith("labels/") else path)
            good += 1
    assert good < 300


def test_a_score_of_text_that_is_no_number_counts_as_none():
    from quorate.annotations import Annotations

    scores = np.array(["9" * 400, "x", 10**400], dtype=object)
    shapes = Annotations.build(
        image_id=[1, 1, 1], category_id=1, xyxy=np.zeros((3, 4)), attributes={"score": scores}
    )
    assert np.isnan(shapes.numbers("score")[1:]).all()


def test_a_packed_file_that_unpacks_without_end(tmp_path):
    place = tmp_path / "bomb.json.gz"
    with gzip.open(place, "wb") as file:
        file.write(b"[")
        for _ in range(80):
            file.write(b" " * (1 << 20))
        file.write(b"]")
    with pytest.raises(FormatError, match="unpacks to more than 200 times its size"):
        read_detections(place)
