"""How fast fusion is beside ensemble-boxes, in the same process: ratios, not times, carry over.

    python -m tests.benchmarks.fusion [--json FILE] [--chart FILE] [--quick]

Both sides get the same boxes, ready as their arrays, and each the best of several runs of
process time (so that other work on the machine counts less); ours with one thread, and once
more with all cores by the clock. Each row first checks that both give the same boxes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ensemble_boxes as peer
import numpy as np
from numpy.typing import NDArray

from quorate import fusion
from quorate.detections import Detections
from quorate.fusion import fuse
from quorate.spec import Affirmative, Fusion, Nms, NonMaximumWeighted, SoftNms, WeightedBoxesFusion

SIZE = 1024.0  # pixels, a power of two: dividing by it is exact
DETECTORS = 5


class Picture(NamedTuple):
    """One picture as ensemble-boxes takes it: for each detector boxes 0..1, scores, labels."""

    boxes: list[NDArray[np.float64]]
    scores: list[NDArray[np.float64]]
    labels: list[NDArray[np.int64]]


def made(
    pictures: int,
    boxes: int,
    *,
    objects: int,
    labels: int,
    of_labels: int,
    sizes: tuple[float, float],
    jitter: float = 0.08,
    seed: int = 0,
) -> list[Picture]:
    """Pictures of `objects`, each seen by most detectors a little displaced, with false alarms.

    `sizes` are the least and the greatest side as a part of the picture, drawn evenly by their
    logarithm; `labels` of `of_labels` occur in a picture.
    """
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(pictures):
        known = rng.choice(of_labels, labels, replace=False) + 1
        side = np.exp(rng.uniform(*np.log(sizes), (objects, 2)))
        corner = rng.uniform(0.0, 1.0, (objects, 2)) * (1.0 - side)
        label = rng.choice(known, objects)
        lists: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for _ in range(DETECTORS):
            seen = rng.integers(0, objects, boxes)
            alarm = rng.random(boxes) < 0.2
            move = rng.normal(0.0, jitter, (boxes, 4)) * np.tile(side[seen], 2)
            these = np.concatenate([corner[seen], corner[seen] + side[seen]], axis=1) + move
            shift = rng.uniform(-0.5, 0.5, (boxes, 2))
            these[alarm] += np.tile(shift[alarm], 2)
            these = np.clip(these, 0.0, 1.0)
            these = np.concatenate(
                [np.minimum(these[:, :2], these[:, 2:]), np.maximum(these[:, :2], these[:, 2:])], 1
            )
            these[:, :2] = np.minimum(these[:, :2], 1.0 - 2.0**-10)
            these[:, 2:] = np.maximum(these[:, 2:], these[:, :2] + 2.0**-10)
            # As float32 pixels, exactly, for both sides.
            lists[0].append((these * SIZE).astype(np.float32).astype(np.float64) / SIZE)
            lists[1].append(
                rng.beta(1.2, 2.5, boxes).clip(0.01, 1.0).astype(np.float32).astype(np.float64)
            )
            lists[2].append(np.where(alarm, rng.choice(known, boxes), label[seen]))
        result.append(Picture(*lists))
    return result


def as_detections(pictures: list[Picture]) -> Detections:
    """The same boxes as one value, detector by detector, in pixels."""
    columns: dict[str, list[Any]] = {name: [] for name in ("i", "b", "s", "c", "d")}
    for detector in range(DETECTORS):
        for image_id, picture in enumerate(pictures):
            n = len(picture.scores[detector])
            columns["i"].append(np.full(n, image_id))
            columns["b"].append(picture.boxes[detector] * SIZE)
            columns["s"].append(picture.scores[detector])
            columns["c"].append(picture.labels[detector])
            columns["d"].append(np.full(n, detector))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Detections.build(
        image_id=joined["i"],
        xyxy=joined["b"],
        score=joined["s"],
        category_id=joined["c"],
        detector=joined["d"],
        detectors=[f"detector-{k}" for k in range(DETECTORS)],
    )


def best(work: Callable[[], Any], *, clock: Callable[[], float], seconds: float) -> float:
    """The least time of several runs, at least three, for about `seconds`."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < until and len(times) < 50):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


class Load(NamedTuple):
    """One row of the table."""

    name: str
    pictures: list[Picture]
    fusion: Fusion
    peer: Callable[[Picture], Any]
    ours: Callable[[Picture], Any] | None  # one call a picture; None: one call for all
    least: float
    aim: float | None
    peer_pictures: int


def loads(quick: bool) -> list[Load]:
    """The rows, as in the project's table of speeds."""
    count = 100 if quick else 400
    coco = made(count, 100, objects=60, labels=24, of_labels=80, sizes=(0.03, 0.6))
    small = made(4, 1000, objects=1000, labels=1, of_labels=1, sizes=(0.01, 0.03))
    large = made(4, 1000, objects=1000, labels=1, of_labels=1, sizes=(0.2, 0.6))

    def wbf(p: Picture) -> Any:
        return peer.weighted_boxes_fusion(*p, iou_thr=0.55)

    def nms(p: Picture) -> Any:
        return peer.nms(*p, iou_thr=0.5)

    def soft_nms(p: Picture) -> Any:
        return peer.soft_nms(*p, iou_thr=0.5)

    def nmw(p: Picture) -> Any:
        return peer.non_maximum_weighted(*p, iou_thr=0.5)

    def ours_wbf(p: Picture) -> Any:
        return fusion.weighted_boxes_fusion(*p, iou_thr=0.55)

    one = "one call a picture"
    return [
        Load("WBF, COCO-like", coco, WeightedBoxesFusion(), wbf, None, 100, 200, 30),
        Load(f"WBF, COCO-like, {one}", coco, WeightedBoxesFusion(), wbf, ours_wbf, 75, 120, 30),
        Load("WBF, dense, small", small, WeightedBoxesFusion(), wbf, None, 100, 200, 1),
        Load("WBF, dense, large", large, WeightedBoxesFusion(), wbf, None, 15, 30, 1),
        Load("soft-NMS, COCO-like", coco, SoftNms(), soft_nms, None, 75, 150, 30),
        Load("NMW, COCO-like", coco, NonMaximumWeighted(), nmw, None, 75, 150, 30),
        Load("NMS, COCO-like", coco, Nms(), nms, None, 10, 30, 100),
        Load("NMS, dense, small", small, Nms(), nms, None, 10, None, 2),
        Load("soft-NMS, dense, small", small, SoftNms(), soft_nms, None, 10, None, 1),
        Load("NMW, dense, small", small, NonMaximumWeighted(), nmw, None, 75, None, 1),
    ]


def measure(load: Load, seconds: float) -> dict[str, Any]:
    """One row: pictures a second of both, and their ratio."""
    detections = as_detections(load.pictures)
    few = load.pictures[: load.peer_pictures]
    check(load, few)
    theirs = best(
        lambda: [load.peer(p) for p in few], clock=time.process_time, seconds=seconds
    ) / len(few)
    work: Callable[[], Any]
    if load.ours is not None:
        one_call = load.ours

        def work() -> Any:
            return [one_call(p) for p in load.pictures]
    else:

        def work() -> Any:
            return fuse(detections, load.fusion, threads=1)

    n = len(load.pictures)
    ours = best(work, clock=time.process_time, seconds=seconds) / n
    row: dict[str, Any] = {
        "load": load.name,
        "boxes": len(detections) // n,
        "peer_per_second": 1 / theirs,
        "ours_per_second": 1 / ours,
        "ratio": theirs / ours,
        "least": load.least,
        "aim": load.aim,
    }
    if load.ours is None:
        cores = len(os.sched_getaffinity(0))
        clocked = best(
            lambda: fuse(detections, load.fusion), clock=time.perf_counter, seconds=seconds
        )
        row |= {"cores": cores, "ratio_all_cores": theirs / (clocked / n)}
    return row


def check(load: Load, pictures: list[Picture]) -> None:
    """Both sides must make as many boxes, with the same scores to 1e-5."""
    fused = fuse(as_detections(pictures), load.fusion)
    for image_id, picture in enumerate(pictures):
        scores = np.sort(load.peer(picture)[1])
        mine = np.sort(fused.score[fused.image_id == image_id])
        if isinstance(load.fusion, SoftNms):  # there the scores from before the decay
            assert len(scores) == len(mine), load.name
        else:
            np.testing.assert_allclose(mine, scores, rtol=1e-5, err_msg=load.name)


def fuse_by_peer(pictures: list[Picture]) -> None:
    """WBF by ensemble-boxes."""
    for picture in pictures:
        peer.weighted_boxes_fusion(*picture, iou_thr=0.55)


def growth(quick: bool, seconds: float) -> list[dict[str, float]]:
    """Cost against boxes a picture: 10 to 5,000 small objects, as dense on a larger picture."""
    rows = []
    for boxes in (10, 30, 100, 300, 1000) if quick else (10, 30, 100, 300, 1000, 2000, 5000):
        side = 0.3 / boxes**0.5
        each = max(boxes // DETECTORS, 1)
        count = max(2, min(2000, 200_000 // boxes))
        pictures = made(
            count, each, objects=each, labels=1, of_labels=1, sizes=(side, 2 * side), seed=boxes
        )
        detections = as_detections(pictures)
        row = {"boxes": float(each * DETECTORS)}
        for name, method in (
            ("voting", Affirmative()),
            ("WBF", WeightedBoxesFusion()),
            ("NMS", Nms()),
            ("soft-NMS", SoftNms()),
        ):
            fuse(detections, method, threads=1)
            taken = best(
                partial(fuse, detections, method, threads=1),
                clock=time.process_time,
                seconds=seconds / 4,
            )
            row[name] = taken / count * 1e6
        few = pictures[: max(1, 2000 // (each * DETECTORS))]
        taken = best(
            partial(fuse_by_peer, few),
            clock=time.process_time,
            seconds=seconds / 4,
        )
        row["ensemble-boxes WBF"] = taken / len(few) * 1e6
        rows.append(row)
    return rows


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """A chart of `growth` as SVG, both axes by their logarithm."""
    wide, high, left, bottom = 640, 400, 70, 50
    names = [name for name in rows[0] if name != "boxes"]
    colours = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#57606a")
    low, top = (
        np.log10(min(r[n] for r in rows for n in names)),
        np.log10(max(r[n] for r in rows for n in names)),
    )
    first, last = np.log10(rows[0]["boxes"]), np.log10(rows[-1]["boxes"])

    def x(boxes: float) -> float:
        return left + (np.log10(boxes) - first) / (last - first) * (wide - left - 150)

    def y(cost: float) -> float:
        return high - bottom - (np.log10(cost) - low) / (top - low) * (high - bottom - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
        'font-family="sans-serif" font-size="12" fill="#24292f">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="14">Time for a picture of small objects, '
        "one thread</text>",
        f'<text x="{(left + wide - 150) / 2}" y="{high - 12}">boxes in the picture</text>',
    ]
    for row in rows:
        at = x(row["boxes"])
        parts.append(
            f'<path d="M{at:.1f} 40V{high - bottom}" stroke="#eaeef2"/>'
            f'<text x="{at:.1f}" y="{high - bottom + 18}" text-anchor="middle">'
            f"{row['boxes']:,.0f}</text>"
        )
    for power in range(int(np.ceil(low)), int(np.floor(top)) + 1):
        label = f"{10**power:,} µs" if power < 3 else f"{10 ** (power - 3):,} ms"
        parts.append(
            f'<path d="M{left} {y(10**power):.1f}H{wide - 150}" stroke="#d0d7de"/>'
            f'<text x="{left - 6}" y="{y(10**power) + 4:.1f}" text-anchor="end">{label}</text>'
        )
    ends = sorted((y(rows[-1][name]), name) for name in names)
    placed = -100.0
    for at, name in ends:
        colour = colours[names.index(name)]
        line = " ".join(f"{x(r['boxes']):.1f},{y(r[name]):.1f}" for r in rows)
        placed = max(at + 4, placed + 14)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{wide - 144}" y="{placed:.1f}" fill="{colour}">{name}</text>'
        )
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def main() -> None:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="cost against boxes, SVG")
    parser.add_argument("--quick", action="store_true", help="smaller loads, shorter runs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seconds = 0.5 if options.quick else 3.0
    print(
        f"{'load':<38}{'boxes':>6}{'peer/s':>9}{'ours/s':>9}{'ratio':>8}{'least':>7}{'aim':>6}"
        f"{'all cores':>11}"
    )
    rows = []
    for load in loads(options.quick):
        row = measure(load, seconds)
        rows.append(row)
        cores = f"{row['ratio_all_cores']:.0f}x" if "ratio_all_cores" in row else ""
        print(
            f"{row['load']:<38}{row['boxes']:>6}{row['peer_per_second']:>9.1f}"
            f"{row['ours_per_second']:>9.0f}{row['ratio']:>7.0f}x{row['least']:>6}x"
            f"{str(row['aim'] or '') + ('x' if row['aim'] else ''):>6}{cores:>11}",
            flush=True,
        )
    grown = growth(options.quick, seconds) if options.chart or options.json else []
    if options.json:
        options.json.write_text(json.dumps({"loads": rows, "growth": grown}, indent=1) + "\n")
    if options.chart:
        draw(grown, options.chart)


if __name__ == "__main__":
    main()
