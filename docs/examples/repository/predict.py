"""A program as it is: it writes one PASCAL VOC file for each picture, and knows nothing of Quorate.

In place of a network it finds one bolt in the middle of each picture.
"""

import argparse
import os
from pathlib import Path
from struct import unpack
from xml.sax.saxutils import escape


def size(path):
    """Width and height of a JPEG or PNG file, in pixels."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        return unpack(">II", data[16:24])
    place = 2
    while data[place + 1] not in (0xC0, 0xC1, 0xC2):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    height, width = unpack(">HH", data[place + 5 : place + 9])
    return width, height


parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--threshold", type=float, default=0.25)
given = parser.parse_args()
score = 0.9 if given.model == "yolo" else 0.8
pictures = Path(os.environ["QUORATE_IMAGES"])
for picture in sorted(pictures.rglob("*.jpg")) + sorted(pictures.rglob("*.png")):
    width, height = size(picture)
    middle = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    boxes = [middle] if score > given.threshold else []
    objects = "".join(
        f"<object><name>bolt</name><score>{score}</score><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    name = picture.relative_to(pictures)
    file = given.out / name.with_suffix(".xml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<annotation><filename>{escape(str(name))}</filename>{objects}</annotation>")
