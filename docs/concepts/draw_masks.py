"""Draw the picture of masks.md from what fusion and the outlines really do.

python docs/concepts/draw_masks.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from quorate import fuse
from quorate.detections import Detections
from quorate.masks import Masks
from quorate.masks.outlines import polygons
from quorate.spec import Consensus

SIDE, SCALE, GAP, TITLE = 40, 5, 20, 30
NAMES, COLOURS = ("ada", "bob", "cay"), ("#0969da", "#bf5700", "#8250df")
INK, PAPER, QUORUM = "#1f2328", "#ffffff", "#0f6b5c"


def seen() -> Detections:
    """One leaf as three detectors see it: too large, with a bite, and a little off."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5

    def leaf(cx: float, cy: float, long: float, wide: float, angle: float) -> np.ndarray:
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        return np.abs(u / long) ** 1.6 + np.abs(v / wide) ** 1.6 < 1

    pixels = np.stack(
        [leaf(20, 20, 18, 12, 0.7), leaf(20, 19, 15, 9, 0.6), leaf(21, 22, 15, 9, 0.9)]
    )
    pixels[1] &= (x - 27) ** 2 + (y - 14) ** 2 > 20
    pixels[2] &= (x - 18) ** 2 + (y - 21) ** 2 > 9
    masks = Masks.from_bitmaps(pixels)
    return Detections.build(
        image_id=np.ones(3),
        category_id=1,
        xyxy=masks.measured().box,
        score=[0.9, 0.8, 0.7],
        detector=range(3),
        detectors=NAMES,
        masks=masks,
    )


def path(masks: Masks, tolerance: float = 0.0) -> str:
    """The outline of the first mask as `d` of an SVG path."""
    _, values = polygons(masks, tolerance)
    text, start = "", True
    for px, py in values.reshape(-1, 2) * SCALE:
        if np.isnan(px):
            text, start = f"{text}Z", True
        else:
            text, start = f"{text}{'M' if start else 'L'}{px:g},{py:g}", False
    return f"{text}Z"


def panel(at: int, title: str, body: str) -> str:
    """One square with its title."""
    side = SIDE * SCALE
    column, row = at % 4, at // 4
    move = f"translate({GAP + column * (side + GAP)},{GAP + TITLE + row * (side + GAP + TITLE)})"
    return (
        f'<g transform="{move}"><text y="-9">{title}</text>'
        f'<rect width="{side}" height="{side}" fill="#f6f8fa" stroke="#d0d7de"/>{body}</g>'
    )


def picture() -> str:
    """The members, what each rule makes of them, and the polygon a labeller is given."""
    found = seen()
    assert found.masks is not None
    members = [
        f'<path d="{path(found.masks.take([i]))}" fill="{colour}" fill-opacity="0.15" '
        f'stroke="{colour}" stroke-width="2"/>'
        for i, colour in enumerate(COLOURS)
    ]
    names = "".join(
        f'<text x="8" y="{156 + 17 * i}" fill="{colour}">{name} {score:.1f}</text>'
        for i, (name, colour, score) in enumerate(zip(NAMES, COLOURS, (0.9, 0.8, 0.7), strict=True))
    )
    panels = [panel(0, "three members", "".join(members) + names)]
    ghost = "".join(member.replace("0.15", "0").replace('"2"', '"1"') for member in members)
    rules = ("majority", "union", "intersection")
    fused = {rule: fuse(found, Consensus(iou=0.3, masks=rule)).masks for rule in rules}
    for at, rule in enumerate(rules, start=1):
        masks = fused[rule]
        assert masks is not None
        body = f'<path d="{path(masks)}" fill="{QUORUM}" fill-opacity="0.55"/>{ghost}'
        panels.append(panel(at, f"masks: {rule}", body))
    masks = fused["majority"]
    assert masks is not None
    for at, tolerance in enumerate((0.0, 0.75, 1.5, 3.0), start=4):
        d = path(masks, tolerance)
        corners = [
            point.split(",") for point in d.replace("Z", "").replace("M", "L").split("L")[1:]
        ]
        dots = "".join(f'<circle cx="{px}" cy="{py}" r="3" fill="{QUORUM}"/>' for px, py in corners)
        body = (
            f'<path d="{path(masks)}" fill="{QUORUM}" fill-opacity="0.2"/>'
            f'<path d="{d}" fill="none" stroke="{QUORUM}" stroke-width="2"/>{dots}'
        )
        title = f"tolerance: {tolerance:g} · {len(corners)} corners"
        panels.append(panel(at, title, body))
    side = SIDE * SCALE
    width, height = 4 * (side + GAP) + GAP, 2 * (side + GAP + TITLE) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="15" fill="{INK}">'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(panels)}</svg>\n'
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    (folder / "masks.svg").write_text(picture())
