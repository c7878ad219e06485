"""What a real CVAT exported, what was put into it, and data sets made up by Hypothesis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.labels import Labels
from quorate.masks import shapes as masks

ASSETS = Path(__file__).parent / "assets"

KINDS = {"rectangle": Kind.BOX} | {kind.name.lower(): kind for kind in Kind}


def sample(name: str) -> Path:
    return ASSETS / f"{name}.zip"


def truth(name: str) -> dict[str, list[dict]]:
    """Shapes by picture, without deleted pictures."""
    told = json.loads((ASSETS / "truth" / f"{name}.json").read_text())
    return {
        frame["name"]: frame["shapes"] + [{"type": "tag", **tag} for tag in frame["tags"]]
        for frame in told["frames"]
        if not frame["deleted"]
    }


def summary(shape: dict, *, attributes: bool = True) -> tuple:
    """What must come back of a shape, in a form that can be compared as a set."""
    kind = KINDS[shape["type"]]
    points = np.array(shape.get("points", ()))
    if kind == Kind.ELLIPSE:
        cx, cy, right, top = points
        points = np.array([2 * cx - right, top, right, 2 * cy - top])
    told = shape.get("attributes") or {}
    return (
        shape["label"],
        kind,
        tuple(np.floor(points * 10 + 1e-2).tolist()),
        round(shape.get("rotation", 0.0)),
        shape.get("occluded", False),
        shape.get("z_order", 0),
        shape["source"],
        tuple(sorted(told.items())) if attributes else (),
    )


def read_summaries(dataset: Dataset) -> dict[str, set[tuple]]:
    """The same of a data set that was read."""
    found: dict[str, set[tuple]] = {image.name: set() for image in dataset.images}
    names = {image.id: image.name for image in dataset.images}
    shapes = dataset.annotations
    assert shapes is not None
    for row in range(len(shapes)):
        kind = Kind(int(shapes.kind[row]))
        points = shapes.points[row]
        if kind in (Kind.BOX, Kind.ELLIPSE):
            points = shapes.xyxy[row]
        elif kind == Kind.MASK:
            x1, y1, x2, y2 = shapes.xyxy[row]
            points = np.concatenate([points, [x1, y1, x2 - 1, y2 - 1]])
        found[names[int(shapes.image_id[row])]].add(
            (
                dataset.labels.name_of(int(shapes.category_id[row])),
                kind,
                tuple(np.floor(points * 10 + 1e-2).tolist()),
                round(float(shapes.rotation[row])),
                bool(shapes.occluded[row]),
                int(shapes.z_order[row]),
                shapes.sources[shapes.source[row]],
                tuple(
                    sorted(
                        (name, column[row])
                        for name, column in shapes.attributes.items()
                        if column[row] is not None
                    )
                ),
            )
        )
    return found


LABELS = Labels.from_names(("car", "black & white", "Straße <1>"))
words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="/\\:"),
    min_size=1,
    max_size=8,
).filter(lambda word: word.strip(". ") == word and word not in ("images", "labels"))
stems = st.lists(words, min_size=1, max_size=3).map("/".join)
numbers = st.integers(-200, 6000).map(lambda n: n / 8)


@st.composite
def datasets(draw, *, kinds=tuple(Kind), attributes=True) -> Dataset:
    """Pictures with odd names and shapes of the given kinds on them."""
    names = draw(st.lists(stems, min_size=1, max_size=4, unique_by=lambda s: s.casefold()))
    names = [n for n in names if not any(m.startswith(f"{n}.jpg/") for m in names)]
    images = tuple(
        Image(id=i, file_name=f"{name}.jpg", width=640, height=480)
        for i, name in enumerate(names, start=1)
    )
    n = draw(st.integers(0, 8))
    rows = [draw(_shapes(kinds)) for _ in range(n)]
    ids = sorted(draw(st.integers(1, len(images))) for _ in range(n))
    columns = {}
    if attributes and n:
        score = np.round(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)), 4)
        columns["score"] = score.astype(np.float32)
        texts = st.one_of(st.none(), words, st.just('a "b" & <c>'))
        columns["note"] = np.array([draw(texts) for _ in range(n)], dtype=object)
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    shapes = Annotations.build(
        image_id=ids,
        category_id=[draw(st.sampled_from(LABELS.ids)) for _ in range(n)],
        kind=[kind for kind, _, _ in rows],
        xyxy=np.array([box for _, box, _ in rows]).reshape(-1, 4),
        points=Ragged.of([points for _, _, points in rows]),
        occluded=[f and k != Kind.TAG for f, (k, _, _) in zip(draw(flags), rows, strict=True)],
        z_order=[draw(st.integers(-2, 2)) if kind != Kind.TAG else 0 for kind, _, _ in rows],
        sources=("auto",),
        attributes=columns,
    )
    return Dataset(
        root="/nowhere", images=images, labels=LABELS, annotations=shapes, name="made up"
    )


@st.composite
def _shapes(draw, kinds):
    kind = draw(st.sampled_from(kinds))
    x1, y1 = draw(st.integers(0, 300)) / 4, draw(st.integers(0, 300)) / 4
    x2, y2 = x1 + draw(st.integers(1, 300)) / 4, y1 + draw(st.integers(1, 300)) / 4
    if kind == Kind.TAG:
        return kind, (0, 0, 0, 0), ()
    if kind in (Kind.BOX, Kind.ELLIPSE):
        return kind, (x1, y1, x2, y2), ()
    if kind == Kind.MASK:
        width, height = draw(st.integers(1, 6)), draw(st.integers(1, 6))
        pixels = draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
        bitmap = np.array(pixels, dtype=bool).reshape(height, width)
        bitmap[0] = bitmap[:, 0] = bitmap[-1] = bitmap[:, -1] = True
        left, top = int(x1), int(y1)
        return kind, (left, top, left + width, top + height), masks.encode(bitmap)
    points = np.array([x1, y1, x2, y1, x2, y2])
    return kind, (x1, y1, x2, y2), points


def same(one: Annotations, other: Annotations, *, within: float = 0.005, but=()) -> None:
    """Assert that two are equal, row by row."""
    assert len(one) == len(other)
    for name in ("image_id", "category_id", "kind", "occluded", "z_order", "iscrowd"):
        if name not in but:
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert np.allclose(one.xyxy, other.xyxy, rtol=0, atol=within)
    if "points" not in but:
        assert one.points.offsets.tolist() == other.points.offsets.tolist()
        assert np.allclose(
            one.points.values, other.points.values, rtol=0, atol=within, equal_nan=True
        )
    if "sources" not in but:
        assert [one.sources[i] for i in one.source] == [other.sources[i] for i in other.source]
