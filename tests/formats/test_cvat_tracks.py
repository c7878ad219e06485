"""Tracks of "CVAT for video": boxes on every frame, as CVAT's server interpolates them."""

import json

import numpy as np
import pytest

from quorate.annotations import Kind
from quorate.errors import FormatError
from quorate.formats import read, read_detections
from tests.formats.samples import ASSETS, read_summaries, sample, summary

LABELS = "<labels><label><name>bird</name></label></labels>"
SIZE = "<original_size><width>100</width><height>80</height></original_size>"


def box(frame, x, *, outside=0, more=""):
    return (
        f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" xtl="{x}" ytl="10" '
        f'xbr="{x + 20}" ybr="30" z_order="0" {more}></box>'
    )


def shape(tag, frame, points):
    return f'<{tag} frame="{frame}" outside="0" occluded="1" points="{points}"></{tag}>'


@pytest.fixture
def video(tmp_path):
    def video(*tracks, about="<size>6</size>", head=SIZE):
        """A file whose tracks each have these shapes."""
        inside = "".join(
            f'<track id="{i}" label="bird" source="auto" group_id="3">{"".join(shapes)}</track>'
            for i, shapes in enumerate(tracks)
        )
        (tmp_path / "annotations.xml").write_text(
            f"<annotations><meta><task><id>1</id>{about}{LABELS}{head}</task></meta>"
            f"{inside}</annotations>"
        )
        return read(tmp_path)

    return video


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.cvat-for-video-1.1"))
    told = json.loads((ASSETS / "truth" / "task-a.json").read_text())["frames"]
    assert len(found.images) == len(told)
    for frame, image in zip(told, found.images, strict=True):
        put = {summary(s, attributes=False) for s in frame["shapes"] if not frame["deleted"]}
        got = {(*one[:-1], ()) for one in read_summaries(found)[image.name]}
        assert got == put
    assert "5 shapes on the last frame but one end there" in found.notes[1]


def lefts(found):
    """The left sides on each frame."""
    shapes = found.annotations
    return [
        np.round(shapes.xyxy[shapes.image_id == image.id, 0], 3).tolist() for image in found.images
    ]


def test_boxes_move_in_a_straight_line_and_end_where_they_are_outside(video):
    found = video([box(0, 10), box(2, 30), box(3, 30, outside=1)])
    assert lefts(found) == [[10], [20], [30], [], [], []]
    assert [image.name for image in found.images[:2]] == ["frame_000000.PNG", "frame_000001.PNG"]
    assert (found.images[0].width, found.images[0].height) == (100, 80)
    assert found.images[5].source_id == 5
    assert set(found.annotations.group) == {3}
    assert {found.annotations.sources[i] for i in found.annotations.source} == {"auto"}
    assert "1 tracks of a video are 3 shapes on its 6 frames" in found.notes[0]


def test_the_last_shape_stays_to_the_last_frame(video):
    assert lefts(video([box(4, 7), box(5, 9)], [box(3, 7)])) == [[], [], [], [7], [7, 7], [9, 7]]
    assert lefts(video([box(1, 10)])) == [[], [10], [10], [10], [10], [10]]
    assert lefts(video([box(4, 10, outside=1)], [box(3, 5)])) == [[], [], [], [5], [5], [5]]


def test_an_object_moves_on_towards_where_it_is_outside_and_comes_back(video):
    found = video([box(0, 0), box(2, 20, outside=1), box(4, 50), box(5, 50, outside=1)])
    assert lefts(found) == [[0], [10], [], [], [50], []]


def test_shapes_in_any_order_and_those_that_cvat_has_interpolated_count(video):
    between = box(1, 17).replace('keyframe="1"', 'keyframe="0"')
    found = video([box(3, 30), between, box(0, 10), box(4, 0, outside=1)])
    assert lefts(found) == [[10], [17], [23.5], [30], [], []]


def test_turned_boxes_turn_the_shorter_way(video):
    found = video([box(0, 10, more='rotation="350"'), box(4, 10, more='rotation="30"')])
    assert found.annotations.rotation.tolist() == [350, 0, 10, 20, 30, 30]


@pytest.mark.parametrize(
    "about",
    [
        "<start_frame>10</start_frame><stop_frame>18</stop_frame><frame_filter>step=4</frame_filter>",
        "<size>3</size><start_frame>10</start_frame><frame_filter>step=4</frame_filter>",
    ],
)
def test_frames_may_begin_elsewhere_and_be_every_fourth(video, about):
    found = video([box(10, 0), box(18, 40)], about=about)
    assert lefts(found) == [[0], [20], [40]]
    assert [image.name for image in found.images][1] == "frame_000014.PNG"


def test_without_a_size_the_video_ends_with_what_is_told(video):
    found = video([box(0, 0), box(2, 4)], about="", head="")
    assert lefts(found) == [[0], [2], [4]]
    assert found.images[0].width == 0


def test_polygons_between_keyframes_are_left_out_and_counted(video):
    found = video(
        [shape("polygon", 0, "1,1;5,1;5,5"), shape("polygon", 3, "2,1;6,1;6,5")],
        [shape("points", 0, "0,0"), shape("points", 2, "10,4")],
        about="<size>4</size>",
    )
    kinds = found.annotations.kind
    polygons = found.annotations.take(kinds == Kind.POLYGON)
    assert polygons.image_id.tolist() == [1, 4]
    points = found.annotations.take(kinds == Kind.POINTS)
    assert [p.tolist() for p in points.points] == [[0, 0], [5, 2], [10, 4], [10, 4]]
    assert any("2 shapes of tracks between two keyframes are left out" in n for n in found.notes)


def test_skeletons_and_shapes_beyond_the_video_are_counted(video):
    skeleton = '<skeleton frame="0" outside="0"><points frame="0" points="1,2"></points></skeleton>'
    found = video([skeleton], [box(9, 1), box(4, 2), box(5, 3, outside=1)])
    assert lefts(found) == [[], [], [], [], [2], []]
    assert any("1 skeletons are left out" in note for note in found.notes)
    assert any(
        "1 shapes of tracks are left out, for they are on no frame" in n for n in found.notes
    )


def test_pictures_of_frames_are_found_by_name_or_by_their_number(video, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("frame_000000.jpg", "frame_000001.jpg"):
        (tmp_path / "images" / name).touch()
    found = video([box(0, 10)], about="<size>2</size>")
    assert [image.name for image in found.images] == ["frame_000000.jpg", "frame_000001.jpg"]
    assert found.root.endswith("images")
    for name in ("frame_000000.jpg", "frame_000001.jpg"):
        (tmp_path / "images" / name).rename(tmp_path / "images" / f"b{name[-5]}.jpg")
    found = video([box(0, 10)], about="<size>2</size>")
    assert [image.name for image in found.images] == ["b0.jpg", "b1.jpg"]
    assert "taken for the 2 pictures that are there, in order" in found.notes[0]


def test_tracks_are_detections_too(video, tmp_path):
    video([box(0, 10), box(2, 30), box(3, 30, outside=1)])
    assert len(read_detections(tmp_path / "annotations.xml").detections) == 3


@pytest.mark.parametrize(
    ("tracks", "about", "said"),
    [
        ([[box(0, 1), box(0, 2)]], "", "two shapes on one frame"),
        ([[box(0, 1), shape("points", 1, "1,2")]], "", "of two kinds"),
        ([[box("x", 1)]], "", "whose frame 'x' is no whole number"),
        ([[box(0, 1).replace('frame="0"', "")]], "", "a <box> without frame"),
        ([[box(0, 1)]], "<size>999999999</size>", "a video of 999,999,999 frames"),
    ],
)
def test_tracks_that_cannot_be_are_refused(video, tracks, about, said):
    with pytest.raises(FormatError, match=said):
        video(*tracks, about=about)


def test_tracks_of_several_tasks_are_refused(tmp_path):
    tracks = "".join(f'<track task_id="{i}" label="bird">{box(0, 1)}</track>' for i in (1, 2))
    (tmp_path / "a.xml").write_text(f"<annotations>{tracks}</annotations>")
    with pytest.raises(FormatError, match="tracks of several tasks"):
        read(tmp_path)
