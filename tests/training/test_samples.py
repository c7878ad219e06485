"""What a trainer of ours sees: boxes stay with their pixels, and chance follows from the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.training.torch.samples import Batches, Sample, Samples, changed, order

CHANGES = ("hflip", "vflip", "rot90", "crop")


def sample(height=40, width=60, box=(5, 10, 25, 22)):
    """A bright box on a dark ground, so that the pixels tell where the box is."""
    x1, y1, x2, y2 = box
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y1:y2, x1:x2] = 200
    masks = picture[None, :, :, 0] > 0
    return Sample(picture, np.array([box], np.float32), np.array([1]), masks)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_a_box_stays_around_its_pixels(seed):
    found = changed(sample(), CHANGES, np.random.default_rng(seed))
    bright = found.picture[:, :, 0] == 200
    if not len(found.xyxy):
        assert bright.sum() < 0.3 * 20 * 12 + 1  # cropped away, all but a little
        return
    y, x = np.nonzero(bright)
    assert found.xyxy[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert (found.masks[0] == bright).all()
    assert found.picture.flags.c_contiguous


def test_colours_change_and_boxes_do_not():
    before = sample()
    found = changed(before, ("colour",), np.random.default_rng(1))
    assert (found.xyxy == before.xyxy).all()
    assert (found.picture != before.picture).any()


def dataset(boxes, *, crowd=0, images=3):
    shapes = Annotations.build(
        image_id=[one[0] for one in boxes],
        category_id=[one[1] for one in boxes],
        xyxy=[one[2] for one in boxes],
        iscrowd=[i < crowd for i in range(len(boxes))],
    )
    pictures = tuple(Image(i, f"{i}.png", 50, 40) for i in range(1, images + 1))
    return Dataset("data", pictures, Labels.from_names(["a", "b", "c"]), shapes)


def test_what_cannot_be_learnt_from_is_counted():
    boxes = [
        (1, 1, [0, 0, 60, 10]),  # a crowd
        (1, 1, [40, 30, 70, 50]),  # beyond the picture
        (2, 2, [60, 10, 70, 20]),  # outside of it
        (2, 2, [10, 10, 10, 20]),  # without area
        (3, 2, [1, 2, 3, 4]),
    ]
    found = Samples.of(dataset(boxes, crowd=1))
    assert [rows.tolist() for rows in found.rows] == [[0], [], [1]]
    assert found.xyxy.tolist() == [[40, 30, 50, 40], [1, 2, 3, 4]]
    assert found.label.tolist() == [0, 1]
    assert found.notes == (
        "1 crowds are not learnt from.",
        "2 boxes have no area inside their picture and are left out.",
        "There is no object of 'c' to learn from.",
    )


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="nothing is labelled"):
        Samples.of(dataset([]))
    with pytest.raises(InputError, match="no box is left to learn from"):
        Samples.of(dataset([(1, 1, [60, 0, 70, 10])]))


def test_objects_without_a_mask_are_rectangles():
    found = Samples.of(dataset([(1, 1, [2, 3, 6, 8])]), masks=True)
    assert found.masks.bitmap(0)[3:8, 2:6].all()
    assert found.masks.bitmap(0).sum() == 20
    assert "1 objects have no mask and are learnt as rectangles." in found.notes


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_every_epoch_sees_each_picture_once(count, size, seed):
    found = Samples.of(dataset([(1, 1, [1, 1, 9, 9])], images=count))
    batches = Batches(found, size, (), seed)
    for epoch in (0, 3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        seen = np.concatenate([batches.indexes(step) for step in steps])
        assert sorted(seen.tolist()) == list(range(count))
        assert seen.tolist() == order(count, seed=seed, epoch=epoch).tolist()


class Recorded:
    """In the place of pictures on a disk: how a sample is made of its index."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def sample(self, index):
        return sample(box=(index, 2, index + 9, 12))


def test_what_a_step_sees_depends_on_neither_threads_nor_where_it_began():
    batches = Batches(Recorded(7), 3, CHANGES, 5)
    whole = dict(batches.read(0, 9, threads=3))
    later = dict(batches.read(4, 9, threads=1))
    assert [len(whole[step]) for step in range(3)] == [3, 3, 1]
    for step, seen in later.items():
        for one, other in zip(seen, whole[step], strict=True):
            assert (one.picture == other.picture).all()
            assert (one.xyxy == other.xyxy).all()


def test_processes_share_a_step():
    batches = Batches(Recorded(8), 4, (), 0)
    shares = [dict(batches.read(0, 2, share=(rank, 2))) for rank in range(2)]
    for step in range(2):
        boxes = sorted(one.xyxy[0, 0] for share in shares for one in share[step])
        assert boxes == sorted(batches.indexes(step).tolist())
