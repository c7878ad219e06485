import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image as Pillow

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError
from quorate.formats import read, write
from quorate.labels import Labels
from tests.formats.oracle import boxes_by_datumaro
from tests.formats.samples import datasets, read_summaries, same, sample, summary, truth

POLYGON = (
    "<polygon><pt><x>1</x><y>2</y></pt><pt><x>9</x><y>2</y></pt><pt><x>5</x><y>7</y></pt></polygon>"
)
MASK = (
    "<segm><mask>a_mask_0.png</mask><box>"
    "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></box></segm>"
)


def xml(*objects, folder="", name="a.jpg"):
    inside = "".join(f"<object><name>car</name>{one}</object>" for one in objects)
    return (
        f"<annotation><filename>{name}</filename><folder>{folder}</folder><imagesize>"
        f"<nrows>48</nrows><ncols>64</ncols></imagesize>{inside}</annotation>"
    )


@pytest.fixture
def labelme(tmp_path):
    def labelme(text, path="a.xml", **files):
        for name, inside in {path: text.encode(), **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(inside)
        return tmp_path

    return labelme


def png(size, *, left=1, top=2):
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[top : top + 3, left : left + 4] = 255
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.labelme-3.0"))
    kinds = (Kind.BOX, Kind.POLYGON, Kind.MASK)
    put = {
        name: {summary(s)[:5] for s in shapes if summary(s)[1] in kinds}
        for name, shapes in truth("task-a").items()
    }
    told = {name: {s[:5] for s in shapes} for name, shapes in read_summaries(found).items()}
    told["cam1/überfahrt_日本.jpg"] = {
        s for s in told["cam1/überfahrt_日本.jpg"] if s[1] != Kind.MASK
    }  # the ellipse
    rounded = {("car", Kind.BOX, (1302, 1405, 2097, 1963), 0, False)}  # 209.755 is 209.76 there
    assert {n: s for n, s in told.items() if n != "cam1/front gate 01.jpg"} == {
        n: s for n, s in put.items() if n != "cam1/front gate 01.jpg"
    }
    assert rounded <= told["cam1/front gate 01.jpg"]


def test_attributes_are_unescaped(labelme):
    told = r'color=black \= \"white\"\, x, score="0.5", parked=True, new, rotation=30.0, n="1"'
    found = read(labelme(xml(f"<type>bounding_box</type>{POLYGON}<attributes>{told}</attributes>")))
    shapes = found.annotations
    assert {name: column[0] for name, column in shapes.attributes.items()} == {
        "color": 'black = "white", x', "score": "0.5", "parked": True, "new": True, "n": "1",
    }  # fmt: skip
    assert shapes.rotation.tolist() == [30]
    assert shapes.xyxy.tolist() == [[1, 2, 9, 7]]


@pytest.mark.parametrize(
    "text", [" ", "\xa0", " a, b ", '"', "1", " 1", "a\\", "", "TRUE", "false"]
)
def test_text_stays_as_it_is(labelme, tmp_path, text):
    found = read(labelme(xml(f"<type>bounding_box</type>{POLYGON}")))
    note = np.array([text], dtype=object)
    one = dataclasses.replace(found.annotations, attributes={"note": note})
    write(found, one, tmp_path / "out", format="labelme")
    assert read(tmp_path / "out").annotations.attributes["note"][0] == text


def test_groups_are_all_that_hang_together(labelme):
    def part(number, has="", of=""):
        inside = f"<hasparts>{has}</hasparts><ispartof>{of}</ispartof>"
        return f"<id>{number}</id><parts>{inside}</parts>{POLYGON}"

    place = labelme(
        xml(part(0, "1"), part(1, "2", "0"), part(2, "", "1"), part(3), part(4, of="9"))
    )
    assert read(place).annotations.group.tolist() == [1, 1, 1, 0, 0]
    # A circle is no endless loop.
    assert read(labelme(xml(part(0, "1", "1"), part(1, "0", "0")))).annotations.group.tolist() == [
        1,
        1,
    ]


def test_masks_are_found_where_tools_keep_them(labelme, tmp_path):
    labelme(xml(MASK))
    found = read(tmp_path)
    assert found.annotations.kind.tolist() == [Kind.BOX]
    assert found.annotations.xyxy.tolist() == [[1, 2, 4, 5]]
    assert any("1 masks are not there; the boxes around them count" in n for n in found.notes)
    labelme(xml(MASK), **{"Masks/a_mask_0.png": png((64, 48))})
    found = read(tmp_path)
    assert found.annotations.kind.tolist() == [Kind.MASK]
    assert found.annotations.xyxy.tolist() == [[1, 2, 5, 5]]
    labelme(xml(MASK), **{"Masks/a_mask_0.png": png((64, 48), top=60)})
    assert any("1 masks without a pixel are left out" in n for n in read(tmp_path).notes)
    labelme(xml(MASK), **{"Masks/a_mask_0.png": png((6, 4))})
    with pytest.raises(FormatError, match=r"a mask of 6 × 4 pixels, of a picture of 64 × 48"):
        read(tmp_path)
    labelme(xml(MASK), **{"Masks/a_mask_0.png": b"x"})
    with pytest.raises(FormatError, match=r"a_mask_0\.png: not a picture"):
        read(tmp_path)


def test_labelmes_own_folders(labelme):
    place = labelme(xml(POLYGON, folder="street"), "Annotations/street/a.xml")
    labelme(xml(POLYGON, folder="park"), "Annotations/park/a.xml", **{"Images/park/a.jpg": b"."})
    found = read(place)
    assert [(i.subset, i.name) for i in found.images] == [("", "park/a.jpg"), ("", "street/a.jpg")]
    assert found.images[0].file_name == "park/a.jpg"
    assert found.root.endswith("/Images")


def test_what_is_deleted_or_has_no_area_is_counted(labelme):
    line = "<polygon><pt><x>1</x><y>2</y></pt><pt><x>9</x><y>2</y></pt></polygon>"
    found = read(labelme(xml(f"<deleted>1</deleted>{POLYGON}", line, POLYGON)))
    assert len(found.annotations) == 1
    notes = " ".join(found.notes)
    assert "1 objects are deleted" in notes
    assert "1 polygons of fewer than three points" in notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (xml(POLYGON).replace("car", " "), "object 1: has no name"),
        (xml(POLYGON.replace("<x>5", "<x>five")), "object 1: coordinates that are no numbers"),
        (xml(POLYGON.replace("<x>5</x>", "")), "object 1: coordinates that are no numbers"),
        (xml(POLYGON.replace("<x>5", "<x>nan")), "object 1: a coordinate that is NaN"),
        (xml(POLYGON + POLYGON), "has more than one <polygon>"),
        (xml(POLYGON)[:-20], "not whole XML"),
        (xml(POLYGON).replace("48", "-1"), "a side of '-1' pixels"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + xml(POLYGON), "a DOCTYPE, which may hide a bomb"),
        (xml("<segm><mask>b.png</mask></segm>"), "the mask 'b.png' of 'a.jpg' is not there"),
        (xml("<segm><mask>../../b.png</mask></segm>"), "'../../b.png' of 'a.jpg' is not there"),
    ],
)  # fmt: skip
def test_what_is_none_is_named(labelme, text, said):
    with pytest.raises(FormatError, match=said):
        read(labelme(text))


@settings(max_examples=60, deadline=None)
@given(datasets(kinds=(Kind.BOX, Kind.POLYGON, Kind.MASK)))
def test_there_and_back(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("labelme")
    shapes = data.annotations
    inside = shapes.xyxy[:, 2:].max(initial=0) <= 480  # masks are cut off at the border
    write(data, shapes, place, format="labelme")
    again = read(place)
    assert {i.name for i in again.images} == {i.name for i in data.images}
    if not inside:
        return
    order = [i.name for i in again.images]
    rows = np.argsort(
        [order.index(data.images[i - 1].name) for i in shapes.image_id], kind="stable"
    )
    given_, found = shapes.take(rows), again.annotations
    same(given_, found, but=("image_id", "category_id", "z_order", "sources"))
    for row in range(len(found)):
        assert again.labels.name_of(int(found.category_id[row])) == data.labels.name_of(
            int(given_.category_id[row])
        )
        for name, column in given_.attributes.items():
            value = column[row]
            if value is not None and value == value:
                read_back = found.attributes[name][row]
                assert str(read_back) == (
                    value if isinstance(value, str) else str(round(float(value), 6))
                )


def test_an_export_of_cvat_goes_there_and_back(tmp_path):
    found = read(sample("task-a.cvat-2.15.labelme-3.0"))
    written = write(found, found.annotations, tmp_path / "out.zip", format="labelme")
    assert written.notes == []
    again = read(tmp_path / "out.zip")
    assert again.images == found.images
    assert again.labels == found.labels
    same(found.annotations, again.annotations)
    assert again.annotations.rotation.tolist() == found.annotations.rotation.tolist()
    assert again.annotations.group.tolist() == found.annotations.group.tolist()


def test_as_datumaro_reads_what_is_written(tmp_path):
    images = (Image(1, "a.jpg", 64, 48),)
    data = Dataset("", images, Labels.from_names(("car", "person")))
    shapes = Annotations.build(
        image_id=[1, 1], category_id=[1, 2], xyxy=[[1, 2, 3.25, 4], [5, 6, 7, 8]]
    )
    write(data, shapes, tmp_path, format="labelme")
    assert boxes_by_datumaro(tmp_path, "label_me") == {
        ("a", "car", 1, 2, 3.25, 4), ("a", "person", 5, 6, 7, 8),
    }  # fmt: skip


def test_what_it_cannot_hold(tmp_path):
    labels = Labels.from_names(("car",))
    ellipse = Annotations.build(
        image_id=[1, 1], category_id=1, xyxy=[[1, 2, 9, 8], [0] * 4], kind=[Kind.ELLIPSE, Kind.TAG]
    )
    data = Dataset("", (Image(1, "a.jpg", 64, 48),), labels)
    written = write(data, ellipse, tmp_path, format="labelme")
    assert written.notes == ["LabelMe: 1 tags, points and polylines are left out, for it has none."]
    assert read(tmp_path).annotations.kind.tolist() == [Kind.MASK]
    unknown = Dataset("", (Image(1, "a.jpg"),), labels)
    with pytest.raises(InputError, match=r"the size of 'a\.jpg' is not known"):
        write(unknown, ellipse, tmp_path, format="labelme")
    twice = Dataset("", (Image(1, "a.jpg"), Image(2, "a.png")), labels)
    with pytest.raises(InputError, match=r"one file for both 'a\.jpg' and 'a\.png'"):
        write(twice, Annotations.empty(), tmp_path, format="labelme")
