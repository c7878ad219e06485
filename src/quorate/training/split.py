"""Which pictures are learnt from and which are held out; what looks alike stays together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from quorate.dataset import Dataset, Image, own_name
from quorate.errors import InputError, did_you_mean
from quorate.report.markup import counted
from quorate.spec.training import Split

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")
SHARE = 0.2
"""Of the pictures, held out for validation where nothing else is said."""
SIDE = 8
ALIKE = 5
"""Bits of 64 in which the hashes of two pictures that are nearly the same may differ."""
NEXT = 12
"""Likewise for two neighbours in a sequence of numbered names."""
DRAWS = 64
"""Draws of the split, of which the one whose labels are spread best is taken."""
STRETCHES = 20
"""Into how many stretches one scene is cut that holds most of the pictures."""
_SUBSETS = {
    "validation": re.compile(r"(val|valid|validation)[\d_-]*", re.IGNORECASE),
    "test": re.compile(r"test[\d_-]*", re.IGNORECASE),
}
_NUMBERED = re.compile(r"^(?P<head>.*?)(?P<number>\d+)(?P<tail>\.[^./]*)?$")
_VIDEO = re.compile(r"(^|/)frame_\d{6}$")
"""How CVAT calls the frames of a video: frame_000000.PNG (`formats/datumaro` of CVAT)."""

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


def hashed(pixels: NDArray[np.uint8]) -> int:
    """64 bits of what a picture looks like: its brightness from left to right (a 'dHash').

    Each bit says whether one of 8 x 9 cells of the picture is brighter than its left neighbour.
    Source: N. Krawetz, 'Kind of Like That', 2013.
    """
    grey = Pillow.fromarray(pixels).convert("L")
    small = grey.resize((SIDE + 1, SIDE), Pillow.Resampling.BOX)
    cells = np.asarray(small).astype(np.int16)
    bits = np.packbits(cells[:, 1:] > cells[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def split(dataset: Dataset, hashes: Hashes, rule: Split) -> tuple[NDArray[np.int8], list[str]]:
    """(p,) The part of each picture, `TRAIN`, `VALIDATION` or `TEST`, and sentences on how.

    hashes  uint64 (p,)  of `hashed`, in the data set's order

    The same pictures with the same labels and the same seed are split alike, whatever their order.
    Raises InputError for a subset that is not there, and where a part would be empty.
    """
    order = np.array(
        sorted(range(len(dataset.images)), key=lambda i: own_name(dataset.images[i])), np.int64
    )
    dataset = replace(dataset, images=tuple(dataset.images[i] for i in order))
    images, hashes = dataset.images, hashes[order]
    part, shares, notes = _subsets(images, rule)
    free = np.flatnonzero(part < 0)
    part[free] = TRAIN
    if any(shares.values()):
        group, said = _groups([images[i] for i in free], hashes[free], rule)
        notes += said
        part[free] = _drawn(group, _objects(dataset)[free], shares, len(images), rule.seed)
        for number, share in shares.items():
            got = int(np.count_nonzero(part[free] == number))
            apart = abs(got - share * len(images))
            if share and apart > max(1, len(images) / 20):
                notes.append(
                    f"{got:,} of {len(images):,} pictures are in {PARTS[number]}, though a share "
                    f"of {share:g} was asked for: pictures that belong together stay together."
                )
    elif rule.by == "auto":
        notes += _leaks(part, hashes)
    for number, name in enumerate(PARTS):
        wanted = number < TEST or rule.test is not None
        if wanted and not (part == number).any():
            raise InputError(
                f"{dataset.root}: no picture is left for {name} ({len(images):,} in all).",
                hint="label more pictures, or choose another `split:`: other shares, `by: picture`",
            )
    found = np.empty(len(images), np.int8)
    found[order] = part
    return found, notes


def learnt_from(images: Sequence[Image], rule: Split) -> int:
    """How many pictures will be learnt from, about where a share is drawn: groups stay together.

    Raises InputError for a subset that is not there.
    """
    part, shares, _ = _subsets(images, rule)
    held = np.count_nonzero(part >= 0) + sum(shares.values()) * len(images)
    return max(1, round(len(images) - held))


def _subsets(images: Sequence[Image], rule: Split) -> tuple[Ints, dict[int, float], list[str]]:
    """(p,) The parts that subsets decide, else -1; the shares still to be drawn; notes."""
    known = sorted({image.subset for image in images if image.subset})
    part = np.full(len(images), -1, np.int64)
    shares: dict[int, float] = {}
    notes = []
    for number, name in ((VALIDATION, "validation"), (TEST, "test")):
        said = getattr(rule, name)
        if said is None:
            found = [
                one for one in known if _SUBSETS[name].fullmatch(one) and one != rule.validation
            ]
            if found and len(found) < len(known):
                notes.append(f"The subset {', '.join(found)} of the data is held out for {name}.")
            else:
                found = []
                shares[number] = SHARE if number == VALIDATION else 0.0
        elif isinstance(said, str):
            if said not in known:
                are = f"the subsets are {', '.join(known)}" if known else "the data have no subsets"
                raise InputError(
                    f"split: no subset is called '{said}'.", hint=did_you_mean(said, known) or are
                )
            found = [said]
        else:
            found, shares[number] = [], said
        part[[image.subset in found for image in images]] = number
    if any(shares.values()):
        words = " and ".join(f"{share:g} for {PARTS[n]}" for n, share in shares.items() if share)
        notes.append(f"Held out by a draw with seed {rule.seed}: {words}.")
    return part, shares, notes


def _groups(images: Sequence[Image], hashes: Hashes, rule: Split) -> tuple[Ints, list[str]]:
    """(p,) A number for each picture, the same for those that stay together; notes."""
    count = len(images)
    if rule.by == "picture":
        return np.arange(count), []
    if rule.by == "folder":
        folders = [own_name(image).rpartition("/")[0] for image in images]
        _, group = np.unique(np.array(folders), return_inverse=True)
        return group.astype(np.int64), []
    frames = [
        (one, other)
        for key, members in sequences(images).items()
        for one, other in pairwise(members)
        if _VIDEO.search(key + "0" * 6) or _apart(hashes[one], hashes[other]) <= NEXT
    ]
    group = _joined(count, [*frames, *pairs_alike(hashes)])
    sizes = np.bincount(group)
    notes = []
    if sizes.max() > count / 2 and count > 2:
        scene = int(np.argmax(sizes))
        group, length = _stretches(group, scene, images)
        notes.append(
            f"{sizes[scene]:,} of {count:,} pictures are frames of one video or look alike, so "
            f"they are cut into stretches of {length} in the order of their names; pictures at "
            "the cuts resemble each other, which flatters the figures a little."
        )
    alike = int(np.count_nonzero(np.bincount(group) > 1))
    if alike and not notes:
        notes.append(
            f"{counted(alike, 'group')} of pictures that look alike or are frames of one video: "
            "each stays together."
        )
    return group, notes


def sequences(images: Sequence[Image]) -> dict[str, list[int]]:
    """Pictures whose names differ in their last number alone, in its order."""
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, image in enumerate(images):
        named = _NUMBERED.match(own_name(image))
        if named and len(named["number"]) < 19:
            # The digits before the last six belong to the number: frame_1000000.
            found[named["head"]].append((int(named["number"]), place))
    return {key: [place for _, place in sorted(one)] for key, one in found.items() if len(one) > 1}


def pairs_alike(hashes: Hashes) -> list[tuple[int, int]]:
    """Pairs of pictures whose hashes differ in at most `ALIKE` bits, each once or more often.

    Of pictures with one hash, each is paired with the first of them, and that with the others.
    Where two hashes differ in at most 5 bits, one of 6 bands of them is the same: only those
    pairs are looked at.
    """
    own, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    same = np.flatnonzero(first[which] != np.arange(len(hashes)))
    found = [(int(first[which[one]]), int(one)) for one in same]
    edges = np.linspace(0, 64, ALIKE + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (own >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order[:1]] ^ np.uint64(1)))
        for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
            members = order[begin:end]
            for i in range(len(members) - 1):
                near = _apart(own[members[i]], own[members[i + 1 :]]) <= ALIKE
                one = int(first[members[i]])
                found += [(one, int(first[other])) for other in members[i + 1 :][near]]
    return found


def _apart(one: np.uint64, other: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint8]:
    apart: NDArray[np.uint8] = np.bitwise_count(np.bitwise_xor(one, other))
    return apart


def _joined(count: int, pairs: Iterable[tuple[int, int]]) -> Ints:
    """(count,) A number for each, the same for those that a chain of pairs joins (union-find)."""
    above = list(range(count))

    def top(one: int) -> int:
        while above[one] != one:
            above[one] = above[above[one]]
            one = above[one]
        return one

    for one, other in pairs:
        above[top(one)] = top(other)
    _, group = np.unique([top(one) for one in range(count)], return_inverse=True)
    return group.astype(np.int64)


def _stretches(group: Ints, scene: int, images: Sequence[Image]) -> tuple[Ints, int]:
    """The groups, the one called `scene` cut into stretches of the order of names; their length."""
    members = np.flatnonzero(group == scene)

    def key(place: int) -> tuple[str, int, str]:
        name = own_name(images[place])
        named = _NUMBERED.match(name)
        number = int(named["number"][-18:]) if named else 0
        return (named["head"] if named else "", number, name)

    ordered = sorted(members.tolist(), key=key)
    length = max(1, -(-len(ordered) // STRETCHES))
    group = group.copy()
    group[ordered] = group.max() + 1 + np.arange(len(ordered)) // length
    _, dense = np.unique(group, return_inverse=True)
    return dense.astype(np.int64), length


def _objects(dataset: Dataset) -> NDArray[np.float64]:
    """(p, c) Boxes of each picture by label."""
    shapes = dataset.annotations
    assert shapes is not None  # of a labelled data set
    place = {image.id: i for i, image in enumerate(dataset.images)}
    rows = np.array([place[i] for i in shapes.image_id.tolist()], np.int64)
    table = np.zeros((len(dataset.images), len(dataset.labels)))
    np.add.at(table, (rows, shapes.category_id - 1), 1.0)
    return table


def _drawn(
    group: Ints, objects: NDArray[np.float64], shares: Mapping[int, float], whole: int, seed: int
) -> Ints:
    """(p,) The part of each picture; of `DRAWS` draws the one with the labels spread best."""
    count = int(group.max()) + 1
    sizes = np.bincount(group, minlength=count)
    by_group = np.zeros((count, objects.shape[1]))
    np.add.at(by_group, group, objects)
    total = np.maximum(by_group.sum(axis=0), 1.0)
    chance = np.random.default_rng(seed)
    best, least = np.zeros(count, np.int64), np.inf
    for _ in range(DRAWS):
        part = np.zeros(count, np.int64)
        order = chance.permutation(count).tolist()
        cost = 0.0
        for number, share in shares.items():
            if not share:
                continue
            free = [one for one in order if part[one] == TRAIN]
            wanted, got = share * whole, 0
            chosen: list[int] = []
            for one in free:
                # A group that fits half is nearer than none; the last is left to learn from.
                if got + sizes[one] / 2 <= wanted and len(chosen) < len(free) - 1:
                    chosen.append(one)
                    got += int(sizes[one])
            if not chosen and len(free) > 1:
                chosen = [min(free, key=lambda one: sizes[one])]
                got = int(sizes[chosen[0]])
            part[chosen] = number
            apart = np.abs(by_group[chosen].sum(axis=0) / total - share)
            cost += float(apart.mean()) + abs(got - wanted) / max(whole, 1)
        if cost < least - 1e-12:
            best, least = part, cost
    return best[group]


def _leaks(part: Ints, hashes: Hashes) -> list[str]:
    """A note where pictures of different subsets are nearly the same."""
    group = _joined(len(part), pairs_alike(hashes))
    learnt = np.zeros(int(group.max(initial=-1)) + 1, bool)
    learnt[group[part == TRAIN]] = True
    held = np.flatnonzero((part != TRAIN) & learnt[group])
    if not len(held):
        return []
    return [
        f"{len(held):,} held-out pictures look nearly the same as pictures of another subset, "
        "which flatters the figures; the subsets are left as they are."
    ]
