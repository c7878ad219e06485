"""Pictures chosen by name: one, a glob, a list; and links on the way to them."""

import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from quorate import pictures
from quorate.errors import FormatError, InputError
from quorate.formats import read
from quorate.storage import write_bytes


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in ("pool/a.jpg", "pool/cam1/b.png", "pool/cam1/[1].jpg", "other/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    (tmp_path / "pool/notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(location):
    dataset = read(location)
    return dataset.root, [image.file_name for image in dataset.images]


@pytest.mark.parametrize(
    ("location", "root", "names"),
    [
        ("pool/a.jpg", "pool", ["a.jpg"]),
        ("pool/cam1/[1].jpg", "pool/cam1", ["[1].jpg"]),
        ("pool/*.jpg", "pool", ["a.jpg"]),
        ("pool/*", "pool", ["a.jpg", "cam1/[1].jpg", "cam1/b.png"]),
        ("pool/cam?", "pool", ["cam1/[1].jpg", "cam1/b.png"]),
        ("pool/**/*.jpg", "pool", ["a.jpg", "cam1/[1].jpg"]),
        ("**/*.png", ".", ["pool/cam1/b.png"]),
        ("*/c.jpg", ".", ["other/c.jpg"]),
    ],
)
def test_one_picture_or_a_glob_is_a_data_set(here, location, root, names):
    assert found(location) == (root, names)
    assert found(here / location) == (str(here / root).removesuffix("/."), names)


@pytest.mark.parametrize("name", ["d.tga", "d.mpo", "d.jp2", "d.ppm"])
def test_every_format_that_is_read_is_found_in_a_folder(tmp_path, name):
    Image.new("RGB", (20, 10)).save(tmp_path / name)
    dataset = read(str(tmp_path))
    [image] = dataset.images
    assert image.file_name == name
    assert pictures.decode((tmp_path / name).read_bytes(), name=name).shape == (10, 20, 3)


def test_a_folder_that_is_called_like_a_glob_or_a_picture_is_itself(here):
    os.rename("pool", "[pool]")
    assert found("[pool]")[1] == ["a.jpg", "cam1/[1].jpg", "cam1/b.png"]
    os.rename("[pool]", "pool.jpg")
    assert found("pool.jpg")[1] == ["a.jpg", "cam1/[1].jpg", "cam1/b.png"]


def test_pictures_in_an_archive_are_chosen_alike(here):
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.write("pool/a.jpg")
        archive.write("pool/cam1/b.png")
    assert found("x.zip/pool/a.jpg") == ("x.zip/pool", ["a.jpg"])
    assert found("x.zip/**/*.png") == ("x.zip", ["pool/cam1/b.png"])


@pytest.mark.parametrize("location", ["pool/b.jpg", "pool/*.bmp", "nowhere/*.jpg", "list.txt"])
def test_what_chooses_nothing_is_an_error_that_names_it(here, location):
    with pytest.raises(InputError, match=location.split("/")[0]):
        read(location)


def test_a_glob_says_what_else_it_means(here):
    Path("pool/x.jpg.txt").write_text("")
    assert read("pool/*.*").notes == (
        "pool/*.*: files that are no pictures are left aside: 2, the first 'notes.txt'.",
    )
    with pytest.raises(InputError, match=r"no picture is called so \(2 other files are\)"):
        read("pool/*.txt")


def test_a_list_keeps_its_order_and_counts_a_picture_once(here):
    lines = ["other/c.jpg", "./pool\\cam1\\b.png", "", "pool/a.jpg", "other/c.jpg", "# end"]
    Path("list.txt").write_text("\ufeff" + "\r\n".join(lines))
    dataset = read("list.txt")
    assert [i.file_name for i in dataset.images] == ["other/c.jpg", "pool/cam1/b.png", "pool/a.jpg"]
    assert dataset.root == str(here)
    assert dataset.notes == (
        "list.txt: lines that are no pictures are left aside: 1, the first '# end'.",
        "list.txt: lines that name a picture again do not count: 1.",
    )


def test_a_lists_paths_are_its_own_folders_or_the_current_ones_or_absolute(here):
    Path("lists").mkdir()
    Path("lists/own.txt").write_text("../pool/a.jpg\n../pool/cam1/b.png\n")
    assert found("lists/own.txt") == (str(here / "pool"), ["a.jpg", "cam1/b.png"])
    Path("lists/current.txt").write_text("pool/a.jpg\n")
    assert found("lists/current.txt") == (str(here / "pool"), ["a.jpg"])
    assert "from the current folder" in read("lists/current.txt").notes[0]
    Path("lists/whole.txt").write_text(f"{here}/pool/a.jpg\n{here}/other/c.jpg\n")
    assert found("lists/whole.txt") == (str(here), ["pool/a.jpg", "other/c.jpg"])


def test_a_list_of_other_things_is_refused(here):
    with pytest.raises(InputError, match=r"lists no picture \(1 other lines\)"):
        read("pool/notes.txt")
    Path("list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not text in UTF-8"):
        read("list.txt")
    Path("list.txt").write_text("pool/a.jpg\ns3://bucket/b.jpg\n")
    with pytest.raises(InputError, match="several places"):
        read("list.txt")


def test_links_to_folders_are_followed_once_and_said(here):
    for target, link in (("../other", "link"), ("../other", "twice"), ("..", "up"), (".", "self"),
                         ("cam1", "inside"), ("../other/c.jpg", "one.jpg")):  # fmt: skip
        os.symlink(target, here / "pool" / link)
    os.symlink("pool", here / "alias")
    dataset = read("alias")
    names = [image.file_name for image in dataset.images]
    assert names == ["a.jpg", "cam1/[1].jpg", "cam1/b.png", "link/c.jpg", "one.jpg"]
    assert dataset.notes[0] == (
        "alias: links to folders that are read already are left out: 4, the first 'inside'."
    )
    assert found("pool/one.jpg") == ("pool", ["one.jpg"])


def test_hidden_pictures_and_other_files_are_counted_by_their_reason(here):
    for name in ("._a.jpg", ".DS_Store", "b.gif.part"):
        (here / "pool" / name).write_bytes(b"")
    assert read("pool").notes == (
        "pool: files that are no pictures are left aside: 2, the first 'b.gif.part'.",
        "pool: hidden pictures are left aside: 1, the first '._a.jpg'.",
    )


def test_a_spec_beside_the_pictures_is_no_data_set_of_yolo(here):
    Path("pool/spec.yaml").write_text(
        "name: x\ndata: .\ndetectors:\n- name: a\n  kind: onnx\n  weights: a.onnx\n"
        "  names: [car]\n- {name: b, kind: onnx, weights: b.onnx, names: [car]}\n"
    )
    assert found("pool")[1] == ["a.jpg", "cam1/[1].jpg", "cam1/b.png"]


@pytest.mark.s3
def test_pictures_in_s3_are_chosen_alike(here, s3_prefix):
    for name in ("pool/a.jpg", "pool/cam1/b.png", "pool/notes.txt"):
        write_bytes(f"{s3_prefix}/{name}", Path(name).read_bytes())
    assert found(f"{s3_prefix}/pool/a.jpg") == (f"{s3_prefix}/pool", ["a.jpg"])
    assert found(f"{s3_prefix}/**/*.png")[1] == ["pool/cam1/b.png"]
    for lines in ("cam1/b.png\na.jpg", f"{s3_prefix}/pool/cam1/b.png\n{s3_prefix}/pool/a.jpg"):
        write_bytes(f"{s3_prefix}/pool/list.txt", lines.encode())
        assert found(f"{s3_prefix}/pool/list.txt") == (
            f"{s3_prefix}/pool", ["cam1/b.png", "a.jpg"]
        )  # fmt: skip
    with pytest.raises(InputError, match=r"b\.jpg: there is no such file"):
        read(f"{s3_prefix}/pool/b.jpg")
    write_bytes(f"{s3_prefix}/pool/list.txt", b"s3://one/a.jpg\ns3://other/b.jpg")
    with pytest.raises(InputError, match="several places"):
        read(f"{s3_prefix}/pool/list.txt")


def test_hidden_pictures_that_a_glob_means_are_told(here):
    (here / "pool/._a.jpg").write_bytes(b"what macOS puts beside a picture")
    said = "pool/*.jpg: hidden pictures are left aside: 1, the first '._a.jpg'."
    assert said in read("pool/*.jpg").notes
