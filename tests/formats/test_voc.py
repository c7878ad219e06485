import numpy as np
import pytest
from hypothesis import given, settings

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, QuorateError
from quorate.formats import read, write
from quorate.labels import Labels
from tests.formats.oracle import boxes_by_datumaro
from tests.formats.samples import datasets, read_summaries, same, sample, summary, truth

XML = """<annotation><filename>a.png</filename><size><width>9</width><height>8</height></size>
<object><name>car</name><difficult>1</difficult><confidence>0.25</confidence>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3.5</xmax><ymax>4</ymax></bndbox></object></annotation>"""


@pytest.fixture
def parse(tmp_path):
    def parse(text, name="a.xml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(tmp_path)

    return parse


def test_a_folder_of_xml_files_with_confidence(parse):
    parse(XML)
    found = parse(XML.replace("a.png", "b.png"), "sub/b.xml")
    assert [(i.name, i.width, i.height) for i in found.images] == [
        ("a.png", 9, 8), ("sub/b.png", 9, 8),
    ]  # fmt: skip
    assert found.annotations.xyxy.tolist() == [[1, 2, 3.5, 4]] * 2
    assert found.annotations.attributes["score"].tolist() == [0.25] * 2
    assert found.annotations.attributes["difficult"].tolist() == ["1"] * 2
    assert found.annotations.to_detections().score.tolist() == [0.25] * 2


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.pascal-voc-1.1"))
    assert found.labels.names == ("car", "person", "road", "bin", "scene")
    put = {
        name: {summary(s)[:5] for s in shapes if s["type"] == "rectangle"}
        for name, shapes in truth("task-a").items()
    }
    told = {n: {s[:5] for s in shapes} for n, shapes in read_summaries(found).items()}
    assert told == put


@given(datasets(kinds=(Kind.BOX,)))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("voc")
    write(dataset, dataset.annotations, folder, format="voc")
    found = read(folder)
    assert {i.name for i in found.images} == {i.name for i in dataset.images}
    number = {image.name: image.id for image in dataset.images}
    ours = {image.id: number[image.name] for image in found.images}
    ids = np.array([ours[i] for i in found.annotations.image_id.tolist()], dtype=int)
    shapes = found.annotations.take(np.argsort(ids, kind="stable"))
    assert np.sort(ids).tolist() == dataset.annotations.image_id.tolist()
    same(dataset.annotations, shapes, but=("image_id", "z_order", "sources"))
    score = dataset.annotations.numbers("score")
    assert np.allclose(score, shapes.numbers("score"), equal_nan=True)


def test_datumaro_reads_the_same_boxes(tmp_path):
    shapes = Annotations.build(
        image_id=[1, 1], category_id=[1, 2], xyxy=[[1, 2, 3.5, 4], [0, 0, 9, 8]]
    )
    dataset = Dataset("", (Image(1, "sub/a & b.jpg", 9, 8),), Labels.from_names(("car", "bus")))
    write(dataset, shapes, tmp_path, format="voc")
    assert boxes_by_datumaro(tmp_path, "voc_detection") == {
        ("sub/a & b", "car", 1.0, 2.0, 3.5, 4.0),
        ("sub/a & b", "bus", 0.0, 0.0, 9.0, 8.0),
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_utf_16_are_read(parse, encoding):
    assert len(parse(XML.encode(encoding)).annotations) == 1


def test_the_root_may_have_attributes_as_labelimg_writes_them(parse):
    verified = XML.replace("<annotation>", '<annotation verified="yes">')
    assert len(parse(verified).annotations) == 1


def test_a_score_a_little_over_1_is_1(parse):
    assert parse(XML.replace("0.25", "1.0000001")).annotations.numbers("score").tolist() == [1]


def test_two_pictures_that_would_share_a_file_are_an_error(tmp_path):
    dataset = Dataset("", (Image(1, "a.jpg"), Image(2, "a.png")), Labels.from_names(("car",)))
    with pytest.raises(InputError, match=r"one file for both 'a\.jpg' and 'a\.png'"):
        write(dataset, Annotations.empty(), tmp_path, format="voc")


def test_the_stated_picture_counts_where_it_alone_is_there(parse, tmp_path):
    (tmp_path / "other.jpg").touch()
    stated = XML.replace("a.png", "C:\\\\pool\\\\other.jpg".replace("\\\\", "\\"))
    found = parse(stated)
    assert [image.name for image in found.images] == ["other.jpg"]
    (tmp_path / "a.png").touch()
    found = parse(stated)
    assert [image.name for image in found.images] == ["a.png"]
    assert "1 files state another picture than their own name says" in found.notes[0]


def test_fiftyones_layout(tmp_path):
    for name, text in (("labels/a.xml", XML), ("data/a.png", "")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    found = read(tmp_path)
    assert [image.name for image in found.images] == ["a.png"]
    assert found.root.endswith("/data")


@pytest.mark.parametrize(("text", "occluded"), [("1", True), ("true", True), ("0", False)])
def test_occluded_may_be_a_word(parse, text, occluded):
    found = parse(XML.replace("<difficult>", f"<occluded>{text}</occluded><difficult>"))
    assert found.annotations.occluded.tolist() == [occluded]


BAD = {
    "two sizes": (XML.replace("<size>", "<size></size><size>"), "more than one <size>"),
    "percent": (XML.replace("0.25", "87.5"), "has a score of 87.5"),
    "a score that is a word": (XML.replace("0.25", "high"), "its score 'high' is no number"),
    "underscores": (XML.replace("3.5", "3_5"), "its bndbox is not four numbers"),
    "digits of another script": (XML.replace("3.5", "٣"), "its bndbox is not four numbers"),
    "two names": (XML.replace("<name>car</name>", "<name>car</name><name>b</name>"), "one <name>"),
    "two corners": (XML.replace("<xmin>1</xmin>", "<xmin>1</xmin>" * 2), "more than one <xmin>"),
    "empty": (b"  <annotation>"[:0], "of no known format"),
    "truncated": (XML[:-30], "not whole XML"),
    "bomb": ('<!DOCTYPE a [<!ENTITY x "ha">]>' + XML.replace("car", "&x;"), "a DOCTYPE"),
    "external": ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + XML, "a DOCTYPE"),
    "no number": (XML.replace("3.5", "x"), "object 1: its bndbox is not four numbers"),
    "NaN": (XML.replace("3.5", "nan"), "NaN or infinite"),
    "inverted": (XML.replace("3.5", "0"), "is inverted"),
    "no label": (XML.replace("<name>car</name>", ""), "object 1: has no name"),
    "encoding": (XML.encode().replace(b"car", b"\xff"), "not whole XML"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(parse, text, said):
    with pytest.raises(QuorateError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_one_bad_file_among_good_ones_is_named(parse):
    parse(XML)
    with pytest.raises(FormatError, match=r"b\.xml: the file is empty"):
        parse(b"", "b.xml")
