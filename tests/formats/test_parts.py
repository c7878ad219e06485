"""A data set that is written part by part has the bytes of one that is written at once."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.formats import coco, cvat, write
from quorate.formats.parts import Parts, repeated
from quorate.formats.shapes import parted
from quorate.labels import Labels

LABELS = Labels(("car", "person"), (0, 7))
PICTURES = 23


def shapes_on(images, seed=0):
    """Boxes, polygons of two rings, which get a number of their group, and tags."""
    generator = np.random.default_rng(seed)
    count = 3 * len(images)
    ids = generator.permutation(np.repeat([image.id for image in images], 3))
    low = generator.uniform(0, 20, (count, 2))
    kind = generator.choice([Kind.BOX, Kind.POLYGON, Kind.TAG], count)
    rings = [np.tile([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]], 1).ravel() + k for k in (0, 20)]
    return Annotations.build(
        image_id=ids,
        category_id=generator.choice(LABELS.ids, count),
        xyxy=np.concatenate([low, low + 10], axis=1),
        kind=kind,
        points=Ragged.of([parted(rings) if k == Kind.POLYGON else () for k in kind]),
        attributes={"score": generator.uniform(0, 1, count).astype(np.float32)},
    )


def data(subsets=("",), numbered=False):
    images = tuple(
        Image(
            i + 1,
            f"{i % 4}/{i:03d}.jpg",
            64,
            48,
            subset=subsets[i * len(subsets) // PICTURES],
            source_id=i * 10 if numbered else None,
        )
        for i in range(PICTURES)
    )
    return Dataset("pool", images, LABELS, name="some"), shapes_on(images)


def cut(dataset, shapes, cuts):
    """The data set as parts that begin at some pictures; the shapes of a part keep their order."""
    bounds = [0, *sorted(cuts), len(dataset.images)]

    def parts():
        for first, last in pairwise(bounds):
            images = dataset.images[first:last]
            yield images, shapes.take(np.isin(shapes.image_id, [image.id for image in images]))

    return Parts(lambda: (one for one, _ in parts()), parts, shapes.take(slice(0)))


def written(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", [cvat, coco])
@pytest.mark.parametrize(("subsets", "numbered"), [(("",), True), (("a", "b", "c"), False)])
@given(cuts=st.lists(st.integers(0, PICTURES), max_size=5), size=st.integers(1, 9))
def test_wherever_the_parts_are_cut(tmp_path_factory, kind, subsets, numbered, cuts, size):
    dataset, shapes = data(subsets, numbered)
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{kind.__name__}.writing.PICTURES_AT_ONCE", size)
        whole = kind.write(dataset, shapes, str(folder / "whole"))
        parts = cut(dataset, shapes, cuts)
        cut_up = kind.write_parts(dataset, parts, str(folder / "parts"))
    assert written(folder / "parts") == written(folder / "whole")
    assert cut_up.notes == whole.notes
    assert len(cut_up.files) == len(whole.files) == (2 if kind is cvat else len(subsets))


def test_what_is_annotated_elsewhere_is_refused_or_left_out():
    dataset, shapes = data()
    fewer = Dataset(dataset.root, dataset.images[1:], LABELS)
    found = list(Parts.of(fewer, shapes).of_size(100))
    assert [len(one) for _, one, _ in found] == [3 * (PICTURES - 1)]
    with pytest.raises(InputError, match="pictures that are not in the data set"):
        write(fewer, shapes, "never.xml", format="cvat")


def test_parts_gathered_are_the_data_set():
    dataset, shapes = data()
    whole, found = cut(dataset, shapes, [4, 4, 9]).gathered(Dataset("pool", (), LABELS))
    assert whole.images == dataset.images
    assert len(found) == len(shapes)


@given(st.lists(st.integers(-3, 9)))
def test_what_stands_more_than_once(keys):
    counts = {key: n for key, n in Counter(keys).items() if n > 1}
    assert list(repeated(lambda: iter(keys)).items()) == list(counts.items())


def test_what_only_looks_the_same_does_not_stand_twice():
    """-1 and -2 have one hash."""
    assert hash(-1) == hash(-2)
    assert repeated(lambda: (-1, -2, -2)) == {-2: 2}
