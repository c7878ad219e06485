"""What is held out: by subset or by a draw, and never torn apart from what looks the same."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.spec.training import Split
from quorate.training.split import TEST, TRAIN, VALIDATION, hashed, pairs_alike, split


def dataset(names, *, subsets=None, labels=None):
    images = tuple(
        Image(id=i, file_name=name, subset=subsets[i - 1] if subsets else "")
        for i, name in enumerate(names, 1)
    )
    chosen = labels or [1 + i % 2 for i in range(len(names))]
    shapes = Annotations.build(
        image_id=[image.id for image in images],
        category_id=chosen,
        xyxy=np.tile([0.0, 0.0, 5.0, 5.0], (len(images), 1)),
    )
    return Dataset("there", images, Labels.from_names(("a", "b")), shapes)


def apart(count, seed=0):
    """Hashes that are all far from each other, as of different pictures."""
    return np.random.default_rng(seed).integers(0, 1 << 63, count, dtype=np.uint64) * np.uint64(2)


def test_a_draw_has_the_share_and_does_not_hang_on_the_order():
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}.jpg" for i in range(50)]
    whole, hashes = dataset(names), apart(50)
    part, notes = split(whole, hashes, Split(validation=0.2, test=0.1))
    assert np.bincount(part).tolist() == [35, 10, 5]
    assert any("seed 0" in note for note in notes)
    turned = Dataset("there", whole.images[::-1], whole.labels, whole.annotations)
    again, _ = split(turned, hashes[::-1], Split(validation=0.2, test=0.1))
    assert (again[::-1] == part).all()
    other, _ = split(whole, hashes, Split(validation=0.2, test=0.1, seed=1))
    assert (other != part).any()


def test_a_rare_label_is_in_both_parts():
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}.jpg" for i in range(40)]
    labels = [2 if i < 5 else 1 for i in range(40)]
    for seed in range(5):
        part, _ = split(dataset(names, labels=labels), apart(40), Split(seed=seed))
        assert 0 < np.count_nonzero(part[:5] == VALIDATION) < 5


def test_subsets_of_the_data_decide():
    names = [f"{i}x.jpg" for i in range(6)]
    subsets = ["Train", "Train", "Validation", "Train", "test", "test"]
    part, notes = split(dataset(names, subsets=subsets), apart(6), Split())
    assert part.tolist() == [TRAIN, TRAIN, VALIDATION, TRAIN, TEST, TEST]
    assert any("The subset Validation" in note for note in notes)
    assert not any("by a draw" in note for note in notes)
    part, _ = split(dataset(names, subsets=subsets), apart(6), Split(validation="test"))
    assert (part == VALIDATION).tolist() == [False] * 4 + [True] * 2
    with pytest.raises(InputError, match="no subset is called 'val'"):
        split(dataset(names, subsets=subsets), apart(6), Split(validation="val"))


def test_pictures_that_are_nearly_the_same_stay_together():
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}.jpg" for i in range(40)]
    hashes = apart(40)
    hashes[1::2] = hashes[::2] ^ np.uint64(0b101)  # two bits apart
    for seed in range(10):
        part, _ = split(dataset(names), hashes, Split(seed=seed))
        assert (part[::2] == part[1::2]).all()
    free, _ = split(dataset(names), hashes, Split(by="picture"))
    assert (free[::2] != free[1::2]).any()


def test_frames_of_a_video_stay_together_however_they_look():
    names = [f"v{v}/frame_{i:06d}.PNG" for v in range(6) for i in range(10)]
    part, _ = split(dataset(names), apart(60), Split())
    assert all(len(set(part[v * 10 : v * 10 + 10])) == 1 for v in range(6))
    assert set(part) == {TRAIN, VALIDATION}


def test_one_video_alone_is_cut_into_stretches_and_that_is_told():
    names = [f"frame_{i:06d}.PNG" for i in range(100)]
    part, notes = split(dataset(names), apart(100), Split())
    assert any("stretches of 5" in note for note in notes)
    changes = np.count_nonzero(np.diff(part))
    assert 0 < changes <= 8  # of 20 pictures held out, in stretches of 5
    assert np.count_nonzero(part == VALIDATION) == 20


def inside_records(names, subsets=None):
    """The same pictures, with each file inside one of records."""
    whole = dataset(names, subsets=subsets)
    images = [
        msgspec.structs.replace(
            image, file_name=f"{image.subset or 'default'}.tfrecord/{at}-999.jpg", published_as=name
        )
        for at, (image, name) in enumerate(zip(whole.images, names, strict=True))
    ]
    return replace(whole, images=tuple(images))


@pytest.mark.parametrize("by", ["auto", "folder", "picture"])
def test_pictures_inside_a_file_of_records_are_split_by_their_own_names(by):
    names = [f"v{v}/frame_{i:06d}.PNG" for v in range(6) for i in range(10)]
    part, notes = split(inside_records(names), apart(60), Split(by=by))
    expected, told = split(dataset(names), apart(60), Split(by=by))
    assert part.tolist() == expected.tolist()
    assert notes == told


def test_one_name_in_two_subsets_is_two_videos():
    names = [f"frame_{i:06d}.PNG" for i in range(10)] * 4
    subsets = [name for name in "abcd" for _ in range(10)]
    for by in ("auto", "folder"):
        rule = Split(validation=0.25, by=by)
        for data in (dataset(names, subsets=subsets), inside_records(names, subsets)):
            part, _ = split(data, apart(40), rule)
            assert [len(set(part[v * 10 : v * 10 + 10])) for v in range(4)] == [1] * 4, by
            assert np.count_nonzero(part == VALIDATION) == 10


def test_subsets_that_leak_are_told():
    hashes = apart(4)
    hashes[3] = hashes[0]
    subsets = ["train", "train", "train", "val"]
    part, notes = split(dataset(["a", "b", "c", "d"], subsets=subsets), hashes, Split())
    assert part.tolist() == [0, 0, 0, 1]
    assert any("1 held-out pictures look nearly the same" in note for note in notes)


def test_pairs_are_those_of_looking_at_all():
    hashes = apart(300, seed=3)
    rng = np.random.default_rng(4)
    for i in range(0, 300, 2):  # some near, some just too far
        flipped = rng.choice(64, rng.integers(0, 9), replace=False)
        hashes[i + 1] = hashes[i] ^ np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64))
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 5
    expected = {(i, j) for i, j in np.argwhere(near).tolist() if i < j}
    assert {tuple(sorted(pair)) for pair in pairs_alike(hashes)} == expected


def test_very_many_pictures_of_one_look_are_grouped_in_pairs_of_their_number():
    hashes = np.zeros(30_000, np.uint64)
    hashes[::3] = 0b11  # two bits apart
    assert len(pairs_alike(hashes)) < 30_010


def test_a_picture_and_its_copy_have_one_hash():
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    rough = Pillow.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    shown = np.asarray(rough.resize((320, 240), Pillow.Resampling.BICUBIC))
    smaller = np.asarray(Pillow.fromarray(shown).resize((200, 150)))
    brighter = np.clip(shown.astype(int) + 12, 0, 255).astype(np.uint8)
    own = hashed(shown)
    assert (own ^ hashed(smaller)).bit_count() <= 5
    assert (own ^ hashed(brighter)).bit_count() <= 5
    other = Pillow.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    assert (own ^ hashed(np.asarray(other))).bit_count() > 12


def test_too_few_pictures_are_refused():
    with pytest.raises(InputError, match="no picture is left for validation"):
        split(dataset(["a"]), apart(1), Split())
