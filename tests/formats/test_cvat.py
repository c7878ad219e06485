import io
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.detections import Detections
from quorate.errors import FormatError, InputError, LabelError, QuorateError
from quorate.formats import read, read_detections, write
from quorate.formats.cvat import reading
from quorate.labels import Labels
from tests.formats.samples import datasets, read_summaries, same, sample, summary, truth

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
HEAD += "<labels><label><name>car</name><attributes></attributes></label></labels></task></meta>\n"
BOX = '<box label="car" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" z_order="0">\n</box>'


def document(inside, head=HEAD):
    return f'{head}<image id="0" name="a.jpg" width="9" height="9">{inside}</image></annotations>'


@pytest.fixture
def parse(tmp_path):
    def parse(text, **how):
        path = tmp_path / "annotations.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path, **how)

    return parse


@pytest.fixture(autouse=True, params=["many", "few"])
def shapes_at_once(request, monkeypatch):
    """How many shapes become columns at once makes no difference."""
    if request.param == "few":
        monkeypatch.setattr(reading, "SHAPES_AT_ONCE", 2)
        monkeypatch.setattr(reading, "CHUNK", 7)


def test_a_task_exported_by_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.cvat-for-images-1.1.images"))
    put = truth("task-a")
    put["cam1/front gate 01.jpg"][-1]["attributes"] = {
        "color": "white", "score": "1", "parked": "false",
    }  # the one box sent without attributes got the defaults  # fmt: skip
    assert [image.name for image in found.images] == list(put)
    assert read_summaries(found) == {n: {summary(s) for s in shapes} for n, shapes in put.items()}
    assert found.labels.names == ("car", "person", "road", "bin", "scene")
    assert found.label_info["scene"].type == "tag"
    assert found.label_info["car"].color == "#c03030"
    assert [spec.name for spec in found.label_info["car"].attributes] == [
        "color",
        "score",
        "parked",
    ]
    assert found.label_info["car"].attributes[0].values[-1] == "black & white"
    assert [image.source_id for image in found.images] == [0, 1, 2, 3, 5, 6, 7]
    assert found.name == "Task A"
    assert found.notes == ()
    assert sorted(found.annotations.group.tolist())[-5:] == [1, 1, 1, 2, 2]


def test_pictures_of_an_archive_are_found():
    found = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    assert found.root.endswith(".zip/images")
    assert [(i.file_name, i.name, i.subset) for i in found.images][3:] == [
        ("Validation/shared.jpg", "shared.jpg", "Validation"),
        ("Validation/v_000.jpg", "v_000.jpg", "Validation"),
        ("Validation/v_001.jpg", "v_001.jpg", "Validation"),
    ]
    assert len({image.id for image in found.images}) == 6


def test_two_versions_of_the_server_tell_the_same():
    one = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    other = read(sample("project-b.cvat-2.54-fork.cvat-for-images-1.1"))
    assert read_summaries(one) == read_summaries(other)


def test_a_job_keeps_its_absolute_frames():
    found = read(sample("task-c-job-2.cvat-2.15.cvat-for-images-1.1"))
    assert [(image.name, image.source_id) for image in found.images] == [
        ("seq/frame_005.jpg", 5), ("seq/frame_007.jpg", 7),
    ]  # fmt: skip
    assert found.info["job"]["frame_filter"] == "step=2"


@given(datasets())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("cvat")
    write(dataset, dataset.annotations, folder, format="cvat")
    plain = read(folder)
    same(dataset.annotations, plain.annotations, within=0.011)  # an ellipse: centre and radius
    assert [i.name for i in plain.images] == [i.name for i in dataset.images]
    assert plain.labels == dataset.labels
    score = dataset.annotations.numbers("score")
    assert np.allclose(score, plain.annotations.numbers("score"), atol=5e-5, equal_nan=True)
    if "note" in dataset.annotations.attributes:
        notes = dataset.annotations.attributes["note"].tolist()
        told = plain.annotations.attributes.get("note", np.full(len(notes), None)).tolist()
        assert told == notes


def detections():
    return Detections.build(
        image_id=[1, 1, 3],
        category_id=[1, 2, 1],
        xyxy=[[10, 20, 30.126, 40], [1, 2, 3, 4], [-1.5, 0, 9, 9]],
        score=[0.91234567, 0.5, 1],
        detector=-1,
        votes=[3, 2, 2],
        agreement=[0.875, 1, 0.5],
        detectors=("yolo", "detr"),
    )


IMAGES = tuple(
    Image(id=i, file_name=name, width=100, height=80)
    for i, name in enumerate(("cam/a & b.jpg", "empty.png", "überfahrt 日本.jpg"), start=1)
)
DATASET = Dataset(root=".", images=IMAGES, labels=Labels.from_names(("car", "person")), name="t")


def written(tmp_path, dataset=DATASET, shapes=None, **options):
    shapes = Annotations.from_detections(detections()) if shapes is None else shapes
    result = write(dataset, shapes, tmp_path / "out.xml", format="cvat", **options)
    assert result.files == [str(tmp_path / "out.xml")]
    return (tmp_path / "out.xml").read_text(), result.notes


def test_votes_and_scores_are_declared_attributes_of_each_label(tmp_path):
    text, notes = written(tmp_path)
    assert notes == []
    assert text.count("<name>confidence</name>") == 2
    assert "score" not in text
    assert text.count("<input_type>text</input_type>") == 8
    assert "<default_value>1</default_value>" in text
    assert '<attribute name="votes">3</attribute>' in text
    assert '<attribute name="confidence">0.9123</attribute>' in text
    assert '<image id="-1" name="empty.png" width="100" height="80">\n  </image>' in text
    assert '<image id="-1" name="cam/a &amp; b.jpg"' in text
    assert (
        '<box label="car" source="auto" occluded="0" xtl="10.00" ytl="20.00" xbr="30.13" '
        'ybr="40.00" z_order="0">' in text
    )
    assert "dumped" not in text


def test_an_empty_list_of_boxes_is_still_a_whole_file(tmp_path, parse):
    text, _ = written(tmp_path, shapes=Annotations.empty())
    found = parse(text)
    assert len(found.images) == 3
    assert len(found.annotations) == 0
    assert found.labels == DATASET.labels


def test_cvats_own_frame_numbers_are_kept(tmp_path):
    source = read(sample("task-c.cvat-2.15.cvat-for-images-1.1"))
    text, _ = written(tmp_path, source, source.annotations)
    assert [line.split('"')[1] for line in text.splitlines() if "<image " in line] == list("1357")


def test_other_ids_are_no_frame_numbers(tmp_path):
    images = tuple(replace_struct(image, id=image.id * 7) for image in IMAGES)
    text, _ = written(tmp_path, replace(DATASET, images=images), Annotations.empty())
    assert [line.split('"')[1] for line in text.splitlines() if "<image " in line] == ["-1"] * 3


def test_frames_are_counted_over_the_subsets_of_a_project(tmp_path):
    """Two tasks that each begin at 0 have no numbers that tell their pictures apart."""
    begun = [0, 0, 1]
    images = tuple(
        replace_struct(image, subset=subset, source_id=frame)
        for image, subset, frame in zip(IMAGES, ("a", "b", "b"), begun, strict=True)
    )
    text, _ = written(tmp_path, replace(DATASET, images=images), Annotations.empty())
    assert [line.split('"')[1] for line in text.splitlines() if "<image " in line] == ["-1"] * 3
    apart = tuple(replace_struct(i, source_id=n) for n, i in enumerate(images, start=4))
    text, _ = written(tmp_path, replace(DATASET, images=apart), Annotations.empty())
    assert [line.split('"')[1] for line in text.splitlines() if "<image " in line] == list("456")


def test_a_task_without_frame_numbers_has_as_many_frames_as_pictures(tmp_path):
    text, _ = written(tmp_path)
    assert "<start_frame>0</start_frame>" in text
    assert "<stop_frame>2</stop_frame>" in text


def replace_struct(image, **changes):
    import msgspec

    return msgspec.structs.replace(image, **changes)


def test_a_tag_for_review_is_a_label_of_its_own(tmp_path, parse):
    labels = Labels.from_names(("car", "person", "review"))
    tagged = replace(DATASET, labels=labels, label_info={"review": LabelInfo(type="tag")})
    tag = Annotations.build(
        image_id=[2], category_id=[3], kind=Kind.TAG, xyxy=np.zeros((1, 4)), sources=("auto",)
    )
    both = Annotations.concat([Annotations.from_detections(detections()), tag])
    text, _ = written(tmp_path, tagged, both)
    assert '<tag label="review" source="auto">\n    </tag>' in text
    found = parse(text)
    assert found.annotations.kind.tolist() == [Kind.BOX, Kind.BOX, Kind.TAG, Kind.BOX]
    assert [spec.name for spec in found.label_info["review"].attributes] == []


def test_the_rings_of_one_polygon_become_a_group(tmp_path, parse):
    shape = Annotations.build(
        image_id=[1],
        category_id=[1],
        kind=Kind.POLYGON,
        xyxy=[[0, 0, 9, 9]],
        points=Ragged.of([[0, 0, 4, 0, 4, 4, np.nan, np.nan, 6, 6, 9, 6, 9, 9]]),
    )
    found = parse(written(tmp_path, shapes=shape)[0]).annotations
    assert found.group.tolist() == [1, 1]
    assert found.points[1].tolist() == [6, 6, 9, 6, 9, 9]


def test_a_project_is_one_file_for_all_subsets(tmp_path, parse):
    source = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    text, notes = written(tmp_path, source, source.annotations)
    assert "<project>" in text
    assert "<subsets>Train\nValidation</subsets>" in text
    assert notes == [
        "CVAT: 1 names stand in more than one subset, the first 'shared'; import the file into a "
        "project, not into one task."
    ]
    assert read_summaries(parse(text)) == read_summaries(source)


def test_names_that_cvat_cannot_tell_apart_are_reported(tmp_path):
    alike = tuple(Image(id=i, file_name=f"a.{e}") for i, e in enumerate(("jpg", "png")))
    _, notes = written(tmp_path, replace(DATASET, images=alike), Annotations.empty())
    assert len(notes) == 1
    assert "differ in their ending alone, the first 'a'" in notes[0]
    twice = (IMAGES[0], replace_struct(IMAGES[0], id=9))
    with pytest.raises(InputError, match="Two pictures are named 'cam/a & b"):
        written(tmp_path, replace(DATASET, images=twice), Annotations.empty())


@pytest.mark.parametrize("name", ["a\x07.jpg", "a\ud800.jpg", "a\ufffe.jpg"])
def test_a_name_that_xml_cannot_hold_is_an_error(tmp_path, name):
    images = (Image(id=1, file_name=name),)
    with pytest.raises(InputError, match="XML cannot hold"):
        written(tmp_path, replace(DATASET, images=images), Annotations.empty())
    assert list(tmp_path.iterdir()) == []


def test_unknown_categories_and_pictures_are_errors(tmp_path):
    with pytest.raises(LabelError, match="category id 7"):
        written(tmp_path, shapes=Annotations.build(image_id=[1], category_id=[7], xyxy=[[0] * 4]))
    with pytest.raises(InputError, match="pictures that are not in the data set"):
        written(tmp_path, shapes=Annotations.build(image_id=[8], category_id=[1], xyxy=[[0] * 4]))


def test_an_archive_has_the_same_bytes_each_time(tmp_path):
    shapes = Annotations.from_detections(detections())
    for name in ("one.zip", "two.zip"):
        write(DATASET, shapes, tmp_path / name, format="cvat")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert len(read(tmp_path / "one.zip").annotations) == 3


def test_datumaro_reads_the_same_boxes(tmp_path):
    from PIL import Image as Pillow

    from tests.formats.oracle import boxes_by_datumaro

    for image in IMAGES:
        path = tmp_path / "images" / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (image.width, image.height)).save(path)
    # It tells pictures apart by `id`, and so needs frames.
    images = tuple(replace_struct(image, source_id=image.id) for image in IMAGES)
    frames = replace(DATASET, images=images)
    write(frames, Annotations.from_detections(detections()), tmp_path, format="cvat")
    assert boxes_by_datumaro(tmp_path, "cvat") == {
        ("cam/a & b", "car", 10.0, 20.0, 30.13, 40.0),
        ("cam/a & b", "person", 1.0, 2.0, 3.0, 4.0),
        ("überfahrt 日本", "car", -1.5, 0.0, 9.0, 9.0),
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_utf_16_are_read(parse, encoding):
    text = document(BOX).replace("utf-8", "utf-16" if encoding == "utf-16" else "utf-8")
    assert len(parse(text.encode(encoding)).annotations) == 1


def test_labels_that_are_declared_empty_are_those_of_the_shapes(parse):
    head = re.sub("<labels>.*</labels>", "<labels></labels>", HEAD)
    assert parse(document(BOX, head)).labels.names == ("car",)


def test_a_size_of_0_is_unknown_and_told(parse):
    found = parse(document(BOX).replace('width="9"', 'width="0"'))
    assert "1 pictures have a width or height of 0" in found.notes[0]
    assert not parse(document(BOX).replace('width="9" height="9"', "")).notes


def test_an_attribute_that_stands_twice_is_counted(parse):
    twice = BOX.replace("\n", '<attribute name="a">1</attribute><attribute name="a">2</attribute>')
    found = parse(document(twice))
    assert found.annotations.attributes["a"].tolist() == ["2"]
    assert "1 attributes stand twice in a shape" in found.notes[0]


@pytest.mark.parametrize("name", ["score", "confidence"])
def test_scores_in_percent_stay_attributes_and_are_no_detections(tmp_path, parse, name):
    found = parse(document(BOX.replace("\n", f'<attribute name="{name}">87.5</attribute>')))
    assert found.annotations.attributes[name].tolist() == ["87.5"]
    assert f"1 shapes have a `{name}` that is no score, the first '87.5'" in found.notes[0]
    assert "percent" in found.notes[0]
    with pytest.raises(FormatError, match=f"have a {name} that is no score") as caught:
        read_detections(tmp_path / "annotations.xml")
    assert "percent" in caught.value.hint


def test_a_confidence_a_little_over_1_is_the_score(parse):
    found = parse(document(BOX.replace("\n", '<attribute name="confidence">1.0000001</attribute>')))
    assert list(found.annotations.attributes) == ["score"]


def test_what_stands_in_another_place_is_counted(parse):
    nameless = BOX.replace("\n", "<attribute>1</attribute>")
    line = '<polygon label="car" points="1,2;3,4"></polygon>'
    found = parse(document(nameless + line).replace("</annotations>", BOX + "</annotations>"))
    assert len(found.annotations) == 2
    assert not found.annotations.attributes
    for said in (
        "1 <box> outside of an <image> are left out", "1 attributes without a name are left out",
        "1 polygons have fewer than three points",
    ):  # fmt: skip
        assert any(said in note for note in found.notes)


BAD = {
    "occluded": (document(BOX.replace('occluded="0"', 'occluded="yes"')), "is neither 0 nor 1"),
    "negative width": (document(BOX).replace('width="9"', 'width="-1"'), "whose width '-1' is no"),
    "underscores": (document(BOX.replace('"3"', '"1_0"')), "whose xbr '1_0' is no finite number"),
    "digits of another script": (document(BOX.replace('"3"', '"٣"')), "whose xbr '٣' is no finite"),
    "underscores in points": (document('<points label="car" points="1,2_0"/>'), "no finite"),
    "no label": (document('<box xtl="1" ytl="1" xbr="2" ybr="2"/>'), "a <box> without label"),
    "no corner": (document('<box label="car" xtl="1" ytl="1" xbr="2"/>'), "without ybr"),
    "no number": (document(BOX.replace('"3"', '"x"')), "whose xbr 'x' is no finite number"),
    "NaN": (document(BOX.replace('"3"', '"nan"')), "whose xbr 'nan' is no finite number"),
    "inverted": (document(BOX.replace('"3"', '"0"')), "is inverted"),
    "unknown label": (document(BOX.replace("car", "cat")), "'cat' is not declared"),
    "unknown shape": (document('<blob label="car"/>'), "an unknown shape <blob>"),
    "no name": (HEAD + '<image id="0"></image></annotations>', "an <image> without name"),
    "odd points": (document('<polygon label="car" points="1,2;3"/>'), "points '1,2;3'"),
    "short runs": (
        document('<mask label="car" rle="1, 2" left="0" top="0" width="9" height="9"/>'),
        "do not fill",
    ),
    "twice": (
        HEAD + '<image id="0" name="a.jpg"/><image id="1" name="a.jpg"/></annotations>',
        "two pictures are named 'a.jpg'",
    ),
    "outside": (HEAD + '<image id="0" name="../a.jpg"/></annotations>', "outside its root"),
    "truncated": (document(BOX)[:-40], "truncated"),
    "cut in a tag": (document(BOX)[:-5], "truncated"),
    "wrong encoding": (document(BOX).encode("latin-1").replace(b"a.jpg", b"\xff.jpg"), "line "),
    "external entity": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotations>&x;</annotations>',
        "line 1: a DOCTYPE",
    ),
    "bomb": (
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>\n<annotations>&y;</annotations>',
        "line 1: a DOCTYPE",
    ),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(parse, text, said):
    with pytest.raises(QuorateError) as caught:
        parse(text, format="cvat")
    assert said in str(caught.value)
    assert "annotations.xml" in str(caught.value) or "outside" in said


def test_errors_name_the_line_and_the_picture(parse):
    with pytest.raises(
        FormatError, match=r"annotations.xml, line 7, picture 'a.jpg': a <box> whose"
    ):
        parse(document("\n\n" + BOX.replace('"3"', '"x"')))


def test_cuboids_are_counted_and_labels_need_no_meta(parse):
    inside = '<cuboid label="dog" xtl1="0"></cuboid>' + BOX + '<tag label="cat"/>'
    found = parse(document(inside, head="<annotations>"))
    assert found.labels.names == ("car", "cat")
    assert [note.split(": ")[1] for note in found.notes] == [
        "1 cuboids are left out; Quorate knows none."
    ]


def test_what_reaches_outside_is_kept_and_counted(parse):
    found = parse(document(BOX.replace('"3"', '"30"')))
    assert found.annotations.xyxy.tolist() == [[1, 2, 30, 4]]
    assert "1 of 1 annotations reach outside" in found.notes[0]


def test_entities_of_xml_itself_are_resolved(parse):
    inside = BOX.replace(
        "\n", '<attribute name="n">&lt;&#228;&amp;amp;"</attribute><attribute name="m"></attribute>'
    )
    found = parse(document(inside))
    assert found.annotations.attributes["n"].tolist() == ['<ä&amp;"']
    assert found.annotations.attributes["m"].tolist() == [""]


def test_every_xml_of_an_archive_is_read(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("one", "two"):
            archive.writestr(f"{name}.xml", document(BOX).replace("a.jpg", f"{name}.jpg"))
    (tmp_path / "both.zip").write_bytes(data.getvalue())
    found = read(tmp_path / "both.zip")
    assert [image.name for image in found.images] == ["one.jpg", "two.jpg"]
    assert found.annotations.image_id.tolist() == [1, 2]


def test_masks_and_polygons_have_the_pixels_that_cvat_says_they_have():
    drawn = []
    for name in (
        "task-a.cvat-2.15.cvat-for-images-1.1.images",
        "task-a.cvat-2.15.coco-1.0",
    ):
        dataset = read(sample(name))
        masks = dataset.annotations.to_masks({i.id: (i.width, i.height) for i in dataset.images})
        kinds = dataset.annotations.kind
        drawn.append([masks.take(kinds == kind) for kind in (Kind.MASK, Kind.POLYGON)])
    (ours, polygons), (theirs, their_polygons) = drawn
    # CVAT's own COCO export has the ellipse as a mask, and grouped polygons as one.
    assert len(ours) == 2
    assert set(ours.counts()) < set(theirs.counts())
    assert len(set(polygons.counts()) & set(their_polygons.counts())) == 1
    assert their_polygons.measured().area.sum() == polygons.measured().area.sum()


TWENTY = "12345678901234567890"
ABSURD = {
    "an infinite corner": (document(BOX.replace('"3"', '"1e400"')), "xbr '1e400' is no finite"),
    "an infinite rotation": (
        document(BOX.replace("<box", '<box rotation="inf"')),
        "rotation 'inf' is no finite",
    ),
    "a long z_order": (
        document(BOX.replace('z_order="0"', f'z_order="{TWENTY}"')),
        f"z_order '{TWENTY}' is no whole number of 32 bits",
    ),
    "a long group": (
        document(BOX.replace("<box", f'<box group_id="-{TWENTY}"')),
        "is no whole number of 32 bits",
    ),
    "a long id": (document("").replace('id="0"', f'id="{TWENTY}"'), "an <image> whose id '12345"),
    "an id that is a word": (document("").replace('id="0"', 'id="one"'), "whose id 'one' is no"),
    "a long width": (document("").replace('width="9"', f'width="{TWENTY}"'), "whose width '1234"),
    "half a pixel": (document("").replace('width="9"', 'width="9.5"'), "whose width '9.5' is no"),
    "very many digits": (
        document("").replace('width="9"', f'width="{"9" * 5000}"'),
        "is no whole number of 32 bits",
    ),
    "a mask far away": (
        document(f'<mask label="car" rle="0,1" left="{TWENTY}" top="0" width="1" height="1"/>'),
        "a <mask> whose left",
    ),
    "a mask of too many pixels": (
        document('<mask label="car" rle="0" left="0" top="0" width="99999" height="99999"/>'),
        "a box of 99999x99999 pixels",
    ),
    "a mask inside out": (
        document('<mask label="car" rle="9" left="5" top="5" width="-3" height="-3"/>'),
        "a box of -3x-3 pixels",
    ),
    "half a run": (
        document('<mask label="car" rle="0.5,0.5" left="0" top="0" width="1" height="1"/>'),
        "do not fill",
    ),
    "a point far away": (
        document('<polygon label="car" points="1,2;1e400,3"/>'),
        "a <polygon> whose points '1,2;1e400,3' are no finite numbers",
    ),
    "too far": (document(BOX.replace('"3"', '"1e30"')), "xbr '1e30' is too large"),
    "no points": (document('<points label="car" points=""/>'), "are no finite numbers"),
    "an ellipse of no size": (
        document('<ellipse label="car" cx="1" cy="1" rx="nan" ry="1"/>'),
        "rx 'nan' is no finite",
    ),
    "many sources": (
        document("".join(BOX.replace("<box", f'<box source="s{i}"') for i in range(150))),
        "a <box> whose source 's100' comes after 100 different ones",
    ),
    "an attribute twice": (document(BOX.replace("<box", '<box xtl="1"')), "duplicate attribute"),
    "an undefined entity": (document(BOX.replace("\n", "&nope;")), "undefined entity"),
    "an unknown encoding": (document(BOX).replace("utf-8", "klingon"), "unknown encoding"),
    "an encoding of many bytes": (document(BOX).replace("utf-8", "shift_jis"), "line 1"),
    "a deep <meta>": ("<annotations><meta>" + "<a>" * 100_000, "nested deeper than CVAT ever does"),
}


@pytest.mark.parametrize(("text", "said"), ABSURD.values(), ids=ABSURD)
def test_absurd_input_is_named(parse, text, said):
    with pytest.raises(QuorateError) as caught:
        parse(text, format="cvat")
    assert said in str(caught.value)
    assert "annotations.xml, line " in str(caught.value)


def test_numbers_are_whole_however_they_are_written(parse):
    text = document(BOX.replace('z_order="0"', 'z_order="2.0" group_id=""'))
    found = parse(text.replace('width="9"', 'width="9.0"'))
    assert found.images[0].width == 9
    assert found.annotations.z_order.tolist() == [2]
    assert found.annotations.group.tolist() == [0]


def test_elements_nested_a_hundred_thousand_deep_cost_nothing(parse):
    inside = "<cuboid>" + "<a>" * 100_000 + "</a>" * 100_000 + "</cuboid>" + BOX
    assert len(parse(document(inside), format="cvat").annotations) == 1


def test_a_bomb_of_entities_is_refused_before_it_is_lit(parse):
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 30))
    text = f'<!DOCTYPE a [<!ENTITY a0 "ha">{levels}]><annotations>&a29;</annotations>'
    with pytest.raises(FormatError, match="a DOCTYPE"):
        parse(text, format="cvat")


HOSTILE = [
    b"<", b">", b'"', b"&", b"&lt;", b"&nope;", b"'", b"/", b" ", b"\x00", b"\xff", b"\xed\xa0\x80",
    b"<!--", b"<![CDATA[", b"]]>", b"<!DOCTYPE a>", b"<?xml version='1.0' encoding='utf-7'?>",
    b"\r", b"</box>", b'label="x"', b"1e5", b"1e400", b"nan", b"-1", b"9" * 20, b"9" * 5000,
    b"0.5", b"_", b",", b";", "٣".encode(), b"<image", b"<image name=''>", b"=", b'name="y"',
    b"<box/>", b"<tag label='q'/>", b"<skeleton>", b"<mask/>", b"<meta>", b"<track>", b"</image>",
]  # fmt: skip


def hostile(count, seed):
    """Real exports and every kind of shape with a few pieces replaced, the same every time."""
    random = np.random.default_rng(seed)
    texts = []
    for name in (
        "task-a.cvat-2.15.cvat-for-images-1.1.images",
        "project-b.cvat-2.15.cvat-for-images-1.1.images",
    ):
        with zipfile.ZipFile(sample(name)) as archive:
            texts.append(archive.read("annotations.xml"))
    for _ in range(count):
        text = bytearray(texts[random.integers(len(texts))])
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(len(text)))
            end = at + int(random.choice([0, 1, 3, 20, 400]))
            text[at:end] = HOSTILE[random.integers(len(HOSTILE))]
        if random.random() < 0.1:
            del text[int(random.integers(len(text))) :]
        yield bytes(text)


def test_hostile_bytes_are_read_or_refused(parse, tmp_path):
    """Whatever is in a file, it is read, drawn and written again, or refused in our words."""
    read_, refused = 0, 0
    for number, text in enumerate(hostile(250, seed=20)):
        try:
            found = parse(text, format="cvat")
            found.annotations.to_masks({i.id: (i.width, i.height) for i in found.images})
            found.annotations.to_detections()
            write(found, found.annotations, tmp_path / "again.xml", format="cvat")
            read_ += 1
        except QuorateError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"text {number}: {text[:2000]!r}") from error
    assert min(read_, refused) > 10


def test_a_score_is_called_confidence_and_read_back_as_a_score(tmp_path, parse):
    text, notes = written(tmp_path)
    assert notes == []
    found = parse(text).annotations
    assert list(found.attributes) == ["votes", "score", "agreement", "detectors"]
    assert found.to_detections().score.tolist() == pytest.approx([0.9123, 0.5, 1])
    older = parse(text.replace("confidence", "score")).annotations
    assert older.to_detections().score.tolist() == pytest.approx([0.9123, 0.5, 1])


def test_a_confidence_that_is_no_number_stays_what_it_is(parse):
    told = '<attribute name="confidence">{}</attribute>'
    sure = BOX.replace("\n", told.format("sure")) + BOX.replace("\n", told.format("0.5"))
    assert parse(document(sure)).annotations.attributes["confidence"].tolist() == ["sure", "0.5"]
    both = BOX.replace("\n", told.format("0.5") + '<attribute name="score">0.25</attribute>')
    found = parse(document(both)).annotations
    assert found.to_detections().score.tolist() == [0.25]
    assert found.attributes["confidence"].tolist() == ["0.5"]


def test_labels_that_declare_a_score_are_reported(tmp_path):
    spec = AttributeSpec(name="score", default="1")
    declared = replace(DATASET, label_info={"car": LabelInfo(attributes=(spec,))})
    text, notes = written(tmp_path, declared)
    assert '<attribute name="confidence">0.9123' in text
    assert "the labels declare an attribute 'score'" in notes[0]
    # What a source has as text is its own.
    told = Annotations.build(
        image_id=[1],
        category_id=[1],
        xyxy=[[0, 0, 1, 1]],
        attributes={"score": np.array(["0.5"], dtype=object)},
    )
    text, notes = written(tmp_path, declared, told)
    assert '<attribute name="score">0.5' in text
    assert notes == []


def test_whole_numbers_have_no_point(tmp_path):
    shapes = Annotations.build(
        image_id=[1, 1],
        category_id=[1, 1],
        xyxy=[[0, 0, 1, 1]] * 2,
        attributes={
            "age": np.array([2.0, 2.5]),
            "kept": np.array(["2.0", 3.0], dtype=object),
            "score": np.array([1, 0.123456], dtype=np.float32),
        },
    )
    text, _ = written(tmp_path, shapes=shapes)
    for name, value in (
        ("age", "2"), ("age", "2.5"), ("kept", "2.0"), ("kept", "3"), ("confidence", "1"),
        ("confidence", "0.1235"),
    ):  # fmt: skip
        assert f'<attribute name="{name}">{value}</attribute>' in text


def test_only_the_export_of_one_task_has_frames(tmp_path, parse):
    task = read(sample("task-c.cvat-2.15.cvat-for-images-1.1"))
    text, _ = written(tmp_path, task, task.annotations)
    assert [image.source_id for image in parse(text).images] == [None] * 4  # ours names no task
    project = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    text, _ = written(tmp_path, project, project.annotations)
    assert text.count('<image id="-1"') == len(project.images)
    with zipfile.ZipFile(sample("task-c.cvat-2.15.cvat-for-images-1.1")) as archive:
        one = archive.read("annotations.xml")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("one.xml", one)
        archive.writestr("two.xml", one.replace(b'name="', b'name="other '))
    assert {image.source_id for image in read(tmp_path / "two.zip", format="cvat").images} == {None}
