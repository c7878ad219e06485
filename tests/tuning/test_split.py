"""Pictures are fitted on, or reported on, never both."""

import shutil

import numpy as np
import pytest

from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.formats import read
from quorate.labels import Labels
from quorate.tuning import folds, refuse_overlap
from tests.spots import draw, pool


def images(count, folder=""):
    return [Image(id=i, file_name=f"{folder}{i:04d}.jpg") for i in range(count)]


def test_folds_are_even_and_depend_on_names_alone():
    ours = images(53)
    fold = folds(ours, 5)
    assert sorted(np.bincount(fold).tolist()) == [10, 10, 11, 11, 11]
    shuffled = np.random.default_rng(0).permutation(53)
    again = folds([ours[i] for i in shuffled], 5)
    assert (again == fold[shuffled]).all()


def test_a_folder_is_never_torn_apart():
    ours = [Image(id=i, file_name=f"scene{i % 6}/{i}.jpg") for i in range(60)]
    fold = folds(ours, 3, "folder")
    assert {len({f for f, i in zip(fold, ours, strict=True) if i.file_name.startswith(s)})
            for s in (f"scene{k}/" for k in range(6))} == {1}  # fmt: skip
    with pytest.raises(InputError, match="there are 6"):
        folds(ours, 7, "folder")


@pytest.mark.parametrize(("count", "parts"), [(9, 5), (0, 2), (10, 1)])
def test_too_few_pictures(count, parts):
    with pytest.raises(InputError):
        folds(images(count), parts)


def test_other_pictures_are_no_overlap(tmp_path):
    draw(tmp_path / "one/a.png", 1)
    draw(tmp_path / "two/b.png", 2)
    assert refuse_overlap(read(str(tmp_path / "one")), read(str(tmp_path / "two"))) == []


def test_the_same_picture_under_another_name_is_refused(tmp_path):
    one = pool(tmp_path / "one", 4)
    draw(tmp_path / "two/x.png", 90)
    shutil.copy(one / "north/0001.png", tmp_path / "two/renamed.png")
    with pytest.raises(InputError, match=r"1 of 2 pictures .*north/0001.png is renamed.png"):
        refuse_overlap(read(str(one)), read(str(tmp_path / "two")))
    with pytest.raises(InputError, match="4 of 4"):
        refuse_overlap(read(str(one)), read(str(one)))


def test_one_name_and_other_bytes_is_a_note(tmp_path):
    draw(tmp_path / "one/a.png", 1)
    draw(tmp_path / "two/a.png", 2)
    one, two = (
        Dataset(
            root=str(tmp_path / name),
            images=(Image(id=1, file_name="a.png", width=64, height=48),),
            labels=Labels.from_names(["red"]),
        )
        for name in ("one", "two")
    )
    (note,) = refuse_overlap(one, two)
    assert "a.png" in note


def test_where_files_are_not_there_names_and_sizes_tell(tmp_path):
    def dataset(name, width):
        (tmp_path / name).mkdir(exist_ok=True)
        image = Image(id=1, file_name="a.png", width=width, height=48)
        return Dataset(root=str(tmp_path / name), images=(image,), labels=Labels.from_names(["x"]))

    with pytest.raises(InputError, match=r"1 of 1 .*\(a.png\)"):
        refuse_overlap(dataset("one", 64), dataset("two", 64))
    assert refuse_overlap(dataset("one", 64), dataset("two", 65)) == []
