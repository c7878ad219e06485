import json

import pytest

from quorate.annotations import Kind
from quorate.errors import FormatError, LabelError
from quorate.formats import read
from tests.formats.samples import read_summaries, same, sample, summary, truth


@pytest.fixture
def datumaro(tmp_path):
    def datumaro(*shapes, text="", labels=("car", "person"), subset="default"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        told = {
            "info": {},
            "categories": {"label": {"labels": [{"name": name} for name in labels]}},
            "items": [{"id": "cam/a", "annotations": shapes, "image": {"path": "cam/a.png"}}],
        }
        (tmp_path / "annotations" / f"{subset}.json").write_text(text or json.dumps(told))
        return tmp_path

    return datumaro


BOX = {"type": "bbox", "label_id": 1, "bbox": [1, 2, 3, 4], "group": 2, "z_order": 1,
       "attributes": {"occluded": True, "rotation": 30.0, "score": 0.5}}  # fmt: skip
RUNS = {"counts": [0, 9], "size": [3, 3]}


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.datumaro-1.0"))

    def plain(shapes, *kinds):
        return {s[:6] for s in shapes if s[1] in kinds}

    whole = (Kind.BOX, Kind.POLYGON, Kind.POLYLINE, Kind.POINTS, Kind.TAG)
    put = {
        name.rpartition(".")[0]: plain(map(summary, shapes), *whole)
        for name, shapes in truth("task-a").items()
    }
    told = {name: plain(shapes, *whole) for name, shapes in read_summaries(found).items()}
    for name in put.keys() - {"cam1/front gate 01"}:  # 209.755
        assert told[name] == put[name]
    assert found.annotations.kind.tolist().count(Kind.MASK) == 3  # two, and the ellipse


def test_as_datumaro_itself_reads_it():
    name = sample("task-a.cvat-2.15.datumaro-1.0")
    ours, theirs = read(name), read(name, format="datumaro:datumaro")
    same(ours.annotations, theirs.annotations, but=("sources",))
    assert ours.annotations.rotation.tolist() == theirs.annotations.rotation.tolist()
    assert ours.labels == theirs.labels


def test_what_is_kept_of_a_shape(datumaro):
    found = read(datumaro(BOX))
    shapes = found.annotations
    assert [image.name for image in found.images] == ["cam/a.png"]
    assert shapes.xyxy.tolist() == [[1, 2, 4, 6]]
    assert (shapes.rotation[0], shapes.occluded[0], shapes.group[0], shapes.z_order[0]) == (
        30,
        1,
        2,
        1,
    )
    assert shapes.attributes["score"].tolist() == [0.5]
    assert found.labels.name_of(int(shapes.category_id[0])) == "person"


def test_several_files_are_subsets(datumaro):
    datumaro(BOX, subset="Train")
    found = read(datumaro({**BOX, "label_id": 0}, labels=("bus",), subset="Val"))
    assert [(i.subset, i.name) for i in found.images] == [
        ("Train", "cam/a.png"),
        ("Val", "cam/a.png"),
    ]
    assert found.labels.names == ("car", "person", "bus")
    assert found.annotations.category_id.tolist() == [2, 3]


def test_what_is_left_out_is_counted(datumaro):
    found = read(datumaro({"type": "caption"}, {"type": "caption"}, {**BOX, "label_id": None}))
    assert len(found.annotations) == 0
    notes = " ".join(found.notes)
    assert "2 annotations of kind 'caption' are left out" in notes
    assert "1 annotations without a label are left out" in notes


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({**BOX, "bbox": [1, 2, 3]}, "annotation 1: a bbox of 3 numbers, not 4"),
        ({**BOX, "bbox": [1, 2, "x", 4]}, r"items\[0\]\.annotations\[0\]\.bbox\[2\]: a num"),
        ({**BOX, "bbox": [1, 2, -3, 4]}, "is inverted"),
        ({**BOX, "label_id": 2}, "label 2, of 2 that there are"),
        ({**BOX, "label_id": -1}, "label -1, of 2 that there are"),
        ({**BOX, "group": 2**40}, "a rotation, group or z_order"),
        ({**BOX, "attributes": {"rotation": "x"}}, "a rotation, group or z_order"),
        ({"type": "polygon", "label_id": 0, "points": [1, 2, 3]}, "3 numbers make no polygon"),
        ({"type": "ellipse", "label_id": 0, "points": [1] * 6}, "6 numbers make no ellipse"),
        ({"type": "mask", "label_id": 0}, "a mask without `rle`"),
        ({"type": "mask", "label_id": 0, "rle": {**RUNS, "counts": [9, 9]}}, "annotation 1: "),
        ({"type": "mask", "label_id": 0, "rle": {**RUNS, "size": [10**6] * 2}}, "a mask of size"),
        ({"type": "mask", "label_id": 0, "rle": {**RUNS, "counts": "\u00e9"}}, "annotation 1: "),
    ],
)  # fmt: skip
def test_what_is_none_is_named(datumaro, shape, said):
    with pytest.raises(FormatError, match=said):
        read(datumaro(shape))


def test_files_that_are_none(datumaro, tmp_path):
    with pytest.raises(LabelError, match="stands twice in the vocabulary"):
        read(datumaro(BOX, labels=("car", "car")))
    whole = '{"categories": {"label": {}}, "items": [{"id": "a", "annotations": []}]}'
    assert len(read(datumaro(text=whole)).images) == 1
    for text, said in (
        (whole[:-9], "is truncated"),
        (whole.replace('"id": "a"', '"id": "a", "annotations": []'), "stands twice in one object"),
        (whole.replace('"id"', '"name"'), "there is no `id`"),
    ):
        with pytest.raises(FormatError, match=said) as caught:
            read(datumaro(text=text))
        assert "COCO" not in caught.value.hint
