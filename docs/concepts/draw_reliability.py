"""Draw the picture of calibration.md: three made detectors, before and after calibration.

python docs/concepts/draw_reliability.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from quorate.evaluation.reliability import Reliability
from quorate.report import charts
from quorate.tuning.calibration import choose
from quorate.tuning.maps import METHODS

COLOURS = ("#0969da", "#bc4c00", "#1a7f37")
# Each hides the probability p that a box is right behind a score of its own.
DETECTORS = {
    "shy: p³": lambda p: p**3,
    "loud: logit(p) × 2 + 1": lambda p: 1 / (1 + np.exp(-2 * np.log(p / (1 - p)) - 1)),
    "honest: p": lambda p: p,
}
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1f2328}.frame{fill:#f6f8fa;stroke:#d0d7de}"
    ".grid{stroke:#8c959f;fill:none}.curve{fill:none;stroke-width:1.6}.before{opacity:.4}"
    ".before .curve{stroke-dasharray:3 3}"
    + "".join(
        f".s-{i}{{stroke:{colour}}}.s-{i} circle{{fill:{colour};stroke:none}}"
        for i, colour in enumerate(COLOURS)
    )
    + "</style>"
)


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    parts = []
    for number, (name, score_of) in enumerate(DETECTORS.items()):
        p = random.beta(1.4, 1.6, 3000)
        score, right = score_of(p), random.random(3000) < p
        method, held_out = choose(score, right, np.arange(3000) % 5, METHODS)
        before, after = (Reliability.of(s, right) for s in (score, held_out))
        how = f"{before.ece:.2f}" if method is None else f"{before.ece:.2f} → {after.ece:.2f}"
        how = f"{method or 'left as it is'}, ECE {how}"
        chart = charts.reliability(number, before, None if method is None else after, name)
        inside = chart[chart.index(">") + 1 : -len("</svg>")]
        parts.append(
            f'<g transform="translate({8 + number * 256} 44)"><text x="30" y="-22" '
            f'font-weight="600">{name}</text><text x="30" y="-6">{how}</text>{inside}</g>'
        )
    (folder / "reliability.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 768 290" width="768" height="290">'
        f'{STYLE}<rect width="768" height="290" fill="#fff"/>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
