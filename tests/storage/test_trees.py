import os
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from quorate import storage
from quorate.errors import FormatError, InputError, StorageError
from quorate.storage import (
    open_file,
    open_tree,
    read_bytes,
    remove_tree,
    remove_unfinished,
    write_bytes,
    writing,
)

NAMES = ["a-1.txt", "a/10.txt", "a/2.txt", "ü b/ö.txt"]


@pytest.fixture(params=["folder", "zip", "inside"])
def tree(request, tmp_path):
    for name in NAMES:
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    prefix = "in/side/" if request.param == "inside" else ""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in reversed(NAMES):
            archive.write(tmp_path / "folder" / name, prefix + name)
        archive.writestr("empty folder/", "")
    root = {"folder": "folder", "zip": "all.zip", "inside": "all.zip/in/side"}[request.param]
    with open_tree(tmp_path / root) as tree:
        yield tree


def test_names_are_in_order_of_code_points(tree):
    assert list(tree.names()) == NAMES


def test_files_are_read_whole_or_in_part(tree):
    assert tree.read("a/2.txt") == b"a/2.txt"
    with tree.open("ü b/ö.txt") as file:
        assert file.read(3) == "ü".encode() + b" "
        file.seek(0)
        assert file.read().decode() == "ü b/ö.txt"
    assert tree.exists("a-1.txt")
    assert not tree.exists("a")
    assert not tree.exists("missing")
    assert read_bytes(f"{tree.root}/a/2.txt") == b"a/2.txt"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../x", "a\\..\\x", "C:/x", ""])
def test_no_name_leads_outside(tree, name):
    with pytest.raises(InputError, match="outside its root"):
        tree.read(name)


def test_a_missing_file_is_named(tree):
    with pytest.raises(InputError, match=r"missing\.txt: there is no such file"):
        tree.read("missing.txt")
    with pytest.raises(InputError, match="there is no such file"):
        read_bytes(f"{tree.root}/missing.txt")


def test_many_threads_read_one_tree(tree):
    wrong = []

    def work():
        for _ in range(20):
            wrong.extend(name for name in NAMES if tree.read(name).decode() != name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("root", ["https://example.org/a.zip", "gs://bucket/pictures"])
def test_what_is_elsewhere_on_the_net_is_to_be_fetched_first(root):
    with pytest.raises(InputError, match=r"ZIP archives and s3://") as caught:
        open_tree(root)
    assert "download it first" in caught.value.hint


def test_links_within_a_root_are_followed_and_others_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("no")
    (tmp_path / "root/file").write_text("yes")
    os.symlink("file", tmp_path / "root/inside")
    os.symlink("../secret", tmp_path / "root/outside")
    os.symlink(tmp_path / "root", tmp_path / "alias")
    with open_tree(tmp_path / "alias") as tree:
        assert tree.read("inside") == b"yes"
        with pytest.raises(InputError, match="'outside' is a link that leads outside"):
            tree.read("outside")


def archive(tmp_path, *members, mode=None, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", compression) as made:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            if mode:
                info.external_attr = mode << 16
            made.writestr(info, data)
    return tmp_path / "x.zip"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x"])
def test_an_archive_that_escapes_is_refused(tmp_path, name):
    with pytest.raises(FormatError, match=r"x\.zip: its member .* leads outside"):
        open_tree(archive(tmp_path, (name, "x")))


def test_an_archive_with_a_link_is_refused(tmp_path):
    with pytest.raises(FormatError, match="is a link"):
        open_tree(archive(tmp_path, ("x", "/etc/passwd"), mode=stat.S_IFLNK | 0o777))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.archive, "ZIP_FLOOR", 1 << 20)
    with pytest.raises(FormatError, match="taken for a bomb"):
        open_tree(archive(tmp_path, ("zeros", bytes(2 << 20))))
    monkeypatch.undo()
    open_tree(archive(tmp_path, ("zeros", bytes(2 << 20)))).close()


def test_a_damaged_member_is_named(tmp_path):
    path = archive(tmp_path, ("a.txt", "hello" * 50))
    data = bytearray(path.read_bytes())
    data[40] ^= 255
    path.write_bytes(data)
    with open_tree(path) as tree, pytest.raises(FormatError, match=r"a\.txt: cannot be unpacked"):
        tree.read("a.txt")
    path.write_bytes(data[:60])
    with pytest.raises(FormatError, match="not a readable ZIP"):
        open_tree(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path, ("a", "1"), ("a", "2"))
    with pytest.raises(FormatError, match="two members named 'a'"):
        open_tree(path)


def test_roots_that_are_none_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_tree(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="neither a folder nor"):
        open_tree(tmp_path / "file")
    with pytest.raises(InputError, match="no folder 'b'"):
        open_tree(archive(tmp_path, ("a/x", "x")) / "b")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new folder" / "out.json"
    write_bytes(target, b"one")
    assert target.read_bytes() == b"one"
    assert stat.S_IMODE(target.stat().st_mode) & 0o600 == 0o600

    def fail():
        with writing(target) as file:
            file.write(b"two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_bytes() == b"one"
    assert list(target.parent.iterdir()) == [target]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^{tmp_path}/file: file exists") as caught:
        write_bytes(tmp_path / "file" / "x", b"")
    assert "a folder is meant" in caught.value.hint


def test_what_a_killed_process_left_is_removed(tmp_path):
    with writing(tmp_path / "being/written") as file:
        file.write(b"x")
        (tmp_path / "being/.left.1234abcd.unfinished").write_bytes(b"half")
        assert remove_unfinished(tmp_path) == 1  # not the one that is being written
    assert list((tmp_path / "being").iterdir()) == [tmp_path / "being/written"]
    assert remove_unfinished(tmp_path) == 0
    assert remove_unfinished(tmp_path / "missing") == 0


def test_a_full_disk_is_told_and_leaves_nothing(small_disk):
    write_bytes(small_disk / "a", b"1" * 1000)
    with pytest.raises(StorageError, match=f"^{small_disk}/a: no space left on device") as caught:
        write_bytes(small_disk / "a", bytes(4 << 20))
    assert "make room" in caught.value.hint
    assert (small_disk / "a").read_bytes() == b"1" * 1000
    assert list(small_disk.iterdir()) == [small_disk / "a"]


def test_a_device_stays_a_device(tmp_path):
    with pytest.raises(StorageError, match=r"^/dev/full: no space left on device"):
        write_bytes("/dev/full", b"x")
    write_bytes("/dev/null", b"x")
    assert not Path("/dev/full").is_file()
    assert not Path("/dev/null").is_file()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_file(tmp_path)


def test_a_bucket_must_be_named():
    with pytest.raises(InputError, match="names no bucket"):
        read_bytes("s3://")


def test_a_path_object_is_a_root_too(tmp_path):
    (tmp_path / "x").write_text("x")
    with open_tree(Path(tmp_path)) as tree:
        assert list(tree.names()) == ["x"]


def test_a_tree_is_removed(tmp_path):
    write_bytes(tmp_path / "tree/a/b", b"x")
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []
    remove_tree(tmp_path / "tree")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be removed"):
        remove_tree(tmp_path / "file")


def test_what_a_link_leads_to_is_written(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_results_in_a_folder_are_no_part_of_it(tmp_path):
    for name in ("a.jpg", "out/.published.json", "out/coco/x.json", "in/b.jpg", ".published.json"):
        write_bytes(tmp_path / name, b"x")
    with open_tree(tmp_path) as tree:
        assert list(tree.names()) == [".published.json", "a.jpg", "in/b.jpg"]


def test_what_a_killed_process_left_goes_with_the_first_file_that_is_written(tmp_path):
    (tmp_path / ".a.1234abcd.unfinished").write_bytes(b"half")
    write_bytes(tmp_path / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
