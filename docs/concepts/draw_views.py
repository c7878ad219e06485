"""Draw the picture of test-time-augmentation.md from what the views really do.

python docs/concepts/draw_views.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from quorate.spec.tta import GEOMETRIC, View
from quorate.tta.geometric import moved
from quorate.tta.photometric import toned

WIDTH, HEIGHT, MARGIN, TITLE = 240, 180, 14, 22
VIEWS = (
    "hflip",
    "rotate-90",
    "rotate-10",
    "shear-x-20",
    "scale-0.7",
    "crop-0.8-1-1",
    "clahe",
    "motion-blur-15-30",
    "raise-hue-0.7",
    "gaussian-noise-25",
)
FOUND, BACK, INK, PAPER = "#d1242f", "#0969da", "#1f2328", "#ffffff"


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A small street with one red car, drawn large and made smooth; and where the car is."""
    size = (4 * WIDTH, 4 * HEIGHT)
    picture, mask = Image.new("RGB", size, "#9ec9e8"), Image.new("RGB", size)
    draw, car = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    draw.ellipse((760, 50, 860, 150), fill="#f5d547")
    draw.rectangle((0, 330, 960, 720), fill="#7a8b6f")
    draw.rectangle((60, 120, 330, 420), fill="#c9b79c")
    draw.polygon([(40, 120), (195, 20), (350, 120)], fill="#8a5a44")
    for x in (100, 230):
        draw.rectangle((x, 190, x + 60, 260), fill="#4f6d8a")
    draw.polygon([(0, 560), (960, 470), (960, 640), (0, 720)], fill="#5b5b60")
    draw.rectangle((820, 250, 850, 460), fill="#6b4a2f")
    draw.ellipse((740, 130, 930, 320), fill="#4d7a45")
    for layer, body, glass, tyre in (
        (draw, "#c8322b", "#bcd6e6", "#222222"),
        (car, "white", "white", "white"),
    ):
        layer.rounded_rectangle((430, 440, 750, 540), 24, fill=body)
        layer.polygon([(490, 445), (540, 370), (660, 370), (710, 445)], fill=body)
        layer.polygon([(515, 440), (550, 388), (592, 388), (592, 440)], fill=glass)
        layer.polygon([(608, 440), (608, 388), (650, 388), (683, 440)], fill=glass)
        for x in (470, 640):
            layer.ellipse((x, 505, x + 70, 575), fill=tyre)
    small = (WIDTH, HEIGHT)
    return (
        np.array(picture.resize(small, Image.Resampling.LANCZOS)),
        np.array(mask.resize(small, Image.Resampling.LANCZOS)),
    )


def around(mask: np.ndarray) -> np.ndarray:
    """The box of the car, (1, 4)."""
    ys, xs = np.nonzero(mask[..., 0] > 127)
    return np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=np.float64)


def panel(title: str, picture: np.ndarray, boxes: list[np.ndarray], colour: str) -> Image.Image:
    """A picture in a frame of the scene's size, its boxes on it, its name above."""
    image = Image.fromarray(picture).convert("RGB")
    draw = ImageDraw.Draw(image)
    for box in boxes:
        draw.rectangle([*(box[:2]), *(box[2:] - 1)], outline=colour, width=2)
    image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (WIDTH, HEIGHT + TITLE), PAPER)
    frame.paste(image, ((WIDTH - image.width) // 2, TITLE + (HEIGHT - image.height) // 2))
    ImageDraw.Draw(frame).text((0, 2), title, fill=INK, font=ImageFont.load_default(14))
    return frame


def main() -> None:
    """Draw all views."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images")
    picture, mask = scene()
    truth = around(mask)[0]
    panels, led_back = [panel("the picture as it is", picture, [truth], FOUND)], [truth]
    for text in VIEWS:
        view = View.parse(text)
        if view.name in GEOMETRIC:
            shown, back = moved(picture, view.name, *view.numbers)
            found = around(moved(mask, view.name, *view.numbers)[0])
            led_back.append(back.boxes_to_picture(found)[0])
        else:
            shown, found = toned(picture, view.name, *view.numbers), truth[None]
            led_back.append(truth)
        panels.append(panel(text, shown, [found[0]], FOUND))
    panels.append(panel("all boxes, led back", picture, led_back, BACK))
    columns = 4
    rows = -(-len(panels) // columns)
    step = (WIDTH + MARGIN, HEIGHT + TITLE + MARGIN)
    sheet = Image.new("RGB", (columns * step[0] + MARGIN, rows * step[1] + MARGIN), PAPER)
    for number, one in enumerate(panels):
        sheet.paste(
            one, (MARGIN + number % columns * step[0], MARGIN + number // columns * step[1])
        )
    sheet.quantize(128).save(folder / "views.png", optimize=True)


if __name__ == "__main__":
    main()
