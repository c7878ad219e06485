"""Run the three cascades on scikit-image's photographs, and draw what they and the quorum say.

python faces.py              # copy the photographs beside this file, then `quorate run`
python faces.py --draw FILE  # and draw the picture of the page
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from quorate import Consensus, Detections, fuse
from quorate.pictures import decode
from quorate.spec import EnsembleSpec

HERE = Path(__file__).parent
PHOTOGRAPHS = (  # those that are inside the wheel; none is fetched
    "astronaut.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
SHOWN = ("astronaut.png", "motorcycle_left.png", "clock_motion.png", "gravel.png", "coins.png")
COLOURS = ((255, 193, 7), (0, 188, 212), (233, 30, 99))
QUORUM = (102, 255, 0)
PAPER, INK = (255, 255, 255), (40, 40, 40)


def copy_photographs(folder: Path) -> Path:
    """Put the photographs into a folder, as a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        shutil.copyfile(Path(skimage.data.__file__).parent / name, folder / name)
    return folder


def find(spec: EnsembleSpec, folder: Path) -> tuple[Detections, Detections]:
    """The boxes of all detectors, and what the quorum makes of them; `image_id` counts from 1."""
    parts = []
    for detector in spec.detectors:
        predictor = detector.load()
        for image_id, name in enumerate(PHOTOGRAPHS, start=1):
            picture = decode((folder / name).read_bytes(), name=name)
            [boxes] = predictor.predict([picture])
            parts.append(
                Detections.build(
                    image_id=np.full(len(boxes.score), image_id),
                    category_id=1,
                    xyxy=boxes.xyxy,
                    score=boxes.score,
                    detectors=[detector.name],
                )
            )
    boxes = Detections.concat(parts)
    assert isinstance(spec.fusion, Consensus)
    return boxes, fuse(boxes, spec.fusion, detectors=[d.name for d in spec.detectors])


def draw(
    spec: EnsembleSpec,
    folder: Path,
    boxes: Detections,
    fused: Detections,
    height: int = 250,
    gap: int = 10,
) -> Image.Image:
    """Above, every detector in its colour; below, what the quorum keeps, with its votes."""
    font = ImageFont.load_default(15)
    columns = []
    for name in SHOWN:
        picture = Image.fromarray(decode((folder / name).read_bytes(), name=name))
        scale = height / picture.height
        small = picture.resize((round(picture.width * scale), height), Image.Resampling.LANCZOS)
        rows = []
        for found in (boxes, fused):
            row = small.copy()
            pen = ImageDraw.Draw(row)
            mine = found.take(found.image_id == PHOTOGRAPHS.index(name) + 1)
            for box, detector, votes in zip(mine.xyxy, mine.detector, mine.votes, strict=True):
                x1, y1, x2, y2 = (float(v) for v in box * scale)
                colour = COLOURS[detector] if found is boxes else QUORUM
                inset = 2 * int(detector) if found is boxes else 0  # or equal boxes hide each other
                pen.rectangle((x1 + inset, y1 + inset, x2 - inset, y2 - inset), None, colour, 2)
                if found is fused:
                    text = f"{votes} of {len(spec.detectors)}"
                    place = (x1, y2 + 2 if y2 + 24 < height else y1 - 22)
                    left, top, right, bottom = pen.textbbox(place, text, font)
                    pen.rectangle((left - 2, top - 1, right + 2, bottom + 1), INK)
                    pen.text(place, text, QUORUM, font)
            rows.append(row)
        columns.append(rows)
    width = sum(above.width for above, _ in columns) + gap * (len(columns) + 1)
    page = Image.new("RGB", (width, 2 * (height + 34) + gap), PAPER)
    pen = ImageDraw.Draw(page)
    x = gap
    pen.text((x, 8), "Each cascade alone:", INK, font)
    legend = x + pen.textlength("Each cascade alone:", font) + 14
    for detector, colour in zip(spec.detectors, COLOURS, strict=True):
        count = int((boxes.detector == boxes.detectors.index(detector.name)).sum())
        text = f"{detector.name} ({detector.cascade}), {count} boxes"
        pen.rectangle((legend, 9, legend + 14, 23), colour)
        pen.text((legend + 20, 8), text, INK, font)
        legend += 44 + pen.textlength(text, font)
    text = f"The quorum, at least 2 of 3: {len(fused)} boxes in all {len(PHOTOGRAPHS)} photographs"
    pen.text((x, height + 42), text, INK, font)
    for above, below in columns:
        page.paste(above, (x, 34))
        page.paste(below, (x, height + 68))
        x += above.width + gap
    return page


def main() -> None:
    """Copy the photographs; draw the picture when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", type=Path, metavar="FILE", help="an image file to write")
    options = parser.parse_args()
    folder = copy_photographs(HERE / "photographs")
    if options.draw:
        spec = EnsembleSpec.from_yaml(HERE / "spec.yaml")
        page = draw(spec, folder, *find(spec, folder))
        page.save(options.draw, quality=88, optimize=True)


if __name__ == "__main__":
    main()
