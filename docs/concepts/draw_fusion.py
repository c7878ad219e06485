"""Draw the pictures of how-votes-are-counted.md from what `fuse` really returns.

python docs/concepts/draw_fusion.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from quorate.detections import FUSED, Detections
from quorate.fusion import fuse
from quorate.spec import (
    Affirmative,
    Consensus,
    Fusion,
    Nms,
    NonMaximumMerging,
    NonMaximumWeighted,
    SoftNms,
    Unanimous,
    WeightedBoxesFusion,
)

COLOURS = ("#0969da", "#bc4c00", "#1a7f37")
FUSED_COLOUR, INK, PALE = "#1f2328", "#1f2328", "#f6f8fa"
Row = tuple[str, float, float, float, float, float]

# One object all three see, one that two see, one that only one sees.
SCENE: list[Row] = [
    ("ada", 14, 16, 74, 76, 0.90),
    ("bob", 18, 20, 78, 82, 0.70),
    ("cay", 10, 18, 72, 74, 0.60),
    ("ada", 100, 22, 146, 66, 0.80),
    ("cay", 104, 18, 152, 64, 0.50),
    ("bob", 96, 96, 150, 136, 0.65),
]
# ada sees one object twice; bob sees it once.
TWICE: list[Row] = [
    ("ada", 42, 14, 124, 92, 0.90),
    ("ada", 50, 8, 132, 86, 0.60),
    ("bob", 36, 20, 118, 98, 0.75),
]
# bob's box overlaps ada's and cay's; ada's and cay's overlap each other too little.
CHAIN: list[Row] = [
    ("ada", 18, 18, 88, 88, 0.90),
    ("bob", 34, 18, 104, 88, 0.80),
    ("cay", 48, 18, 118, 88, 0.70),
]
# A whole, and a part of it.
PART: list[Row] = [("ada", 20, 10, 140, 108, 0.90), ("bob", 36, 26, 88, 78, 0.70)]


def detections(rows: list[Row], names: tuple[str, ...] = ("ada", "bob", "cay")) -> Detections:
    """One picture, one category."""
    return Detections.build(
        image_id=[1] * len(rows),
        category_id=[1] * len(rows),
        xyxy=[row[1:5] for row in rows],
        score=[row[5] for row in rows],
        detector=[names.index(row[0]) for row in rows],
        detectors=names,
    )


def panel(title: str, boxes: Detections, *, ghosts: Detections | None = None) -> str:
    """A frame of 160 x 150 with boxes: detectors' in their colours, fused ones in ink.

    Scores and votes are listed at the lower left, in the order of the rows.
    """
    parts = [
        f'<text x="0" y="-10" font-weight="600">{title}</text>',
        f'<rect width="160" height="150" rx="4" fill="{PALE}" stroke="#d0d7de"/>',
    ]
    lines = []
    if ghosts is not None:
        dashed = ' stroke-dasharray="3 3"'
        parts += [
            rectangle(box, stroke="#afb8c1", width=1, extra=dashed) for box in ghosts.xyxy.tolist()
        ]
    for i, box in enumerate(boxes.xyxy.tolist()):
        score, who = float(boxes.score[i]), int(boxes.detector[i])
        if who == FUSED:
            votes = int(boxes.votes[i])
            strong = f' fill="#1f232810" stroke-opacity="{0.25 + 0.75 * score:.2f}"'
            parts.append(rectangle(box, stroke=FUSED_COLOUR, width=2.5, extra=strong))
            lines.append((f"{score:.2f} · {votes} vote{'s' * (votes > 1)}", FUSED_COLOUR))
        else:
            parts.append(rectangle(box, stroke=COLOURS[who], width=2))
            lines.append((f"{boxes.detectors[who]} {score:.2f}", COLOURS[who]))
    for k, (text, colour) in enumerate(lines):
        y = 144 - 11 * (len(lines) - 1 - k)
        parts.append(f'<text x="7" y="{y}" font-size="9.5" fill="{colour}">{text}</text>')
    return "".join(parts)


def rectangle(box: list[float], *, stroke: str, width: float, extra: str = ' fill="none"') -> str:
    """A box as SVG."""
    x1, y1, x2, y2 = box
    fill = "" if "fill" in extra else ' fill="none"'
    return (
        f'<rect x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" height="{y2 - y1:.2f}" '
        f'stroke="{stroke}" stroke-width="{width}"{fill}{extra}/>'
    )


def write(path: Path, panels: list[str], *, legend: bool = True, columns: int = 4) -> None:
    """Panels side by side, and who has which colour."""
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    wide, high = columns * 184 + 16, lines * 196 + (26 if legend else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'height="{high}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
    ]
    for k, content in enumerate(panels):
        at = f"{16 + k % columns * 184} {30 + k // columns * 196}"
        parts.append(f'<g transform="translate({at})">{content}</g>')
    if legend:
        for k, name in enumerate((*("ada", "bob", "cay"), "fused")):
            colour = (*COLOURS, FUSED_COLOUR)[k]
            x, y = 16 + k * 70, high - 14
            parts.append(
                f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="none" '
                f'stroke="{colour}" stroke-width="2"/><text x="{x + 16}" y="{y}">{name}</text>'
            )
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def row_of(rows: list[Row], first: str, methods: dict[str, Fusion]) -> list[str]:
    """The detectors' boxes, then each method's."""
    given = detections(rows)
    return [
        panel(first, given),
        *(panel(title, fuse(given, method), ghosts=given) for title, method in methods.items()),
    ]


def main(folder: Path) -> None:
    """Write every picture into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write(
        folder / "votes.svg",
        row_of(
            SCENE,
            "three detectors",
            {"affirmative": Affirmative(), "consensus": Consensus(), "unanimous": Unanimous()},
        ),
    )
    write(
        folder / "one-vote-each.svg",
        row_of(
            TWICE, "ada sees it twice", {"affirmative": Affirmative(), "consensus": Consensus()}
        ),
    )
    write(
        folder / "chain.svg",
        row_of(
            CHAIN,
            "a chain",
            {"affirmative": Affirmative(), "wbf, iou: 0.5": WeightedBoxesFusion(iou=0.5)},
        ),
    )
    write(
        folder / "overlap.svg",
        row_of(
            PART,
            "a whole and a part",
            {"nms, overlap: iou": Nms(), "nms, overlap: ios": Nms(overlap="ios")},
        ),
    )
    write(
        folder / "methods.svg",
        row_of(
            SCENE,
            "three detectors",
            {
                "affirmative": Affirmative(),
                "wbf": WeightedBoxesFusion(),
                "nms": Nms(),
                "soft_nms": SoftNms(),
                "nmw": NonMaximumWeighted(),
                "nmm": NonMaximumMerging(),
            },
        ),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
