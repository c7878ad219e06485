"""Small labelled pictures: red discs and blue plates on a grainy ground, drawn from a seed."""

import json

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("disc", "plate")
COLOURS = ((220, 40, 30), (30, 60, 220))


def draw(folder, count, *, seed=0, first=1, size=(128, 96)):
    """Write pictures into a folder; COCO's instances of them, ids from `first`."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(first, first + count):
        ground = random.integers(90, 140, (size[1], size[0], 3), dtype=np.uint8)
        picture = Image.fromarray(ground)
        pen = ImageDraw.Draw(picture)
        for _ in range(int(random.integers(1, 4))):
            width, height = (int(one) for one in random.integers(14, 40, 2))
            x, y = int(random.integers(size[0] - width)), int(random.integers(size[1] - height))
            kind = int(random.integers(2))
            shape = pen.rectangle if kind else pen.ellipse
            shape([x, y, x + width - 1, y + height - 1], fill=COLOURS[kind])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        name = f"{number:03}.png"
        picture.save(folder / name)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def data_folder(folder, *, train=24, validation=8, **settings):
    """What the trainer contract hands over; `settings` go into trainer.json."""
    for part, count, first in (("train", train, 1), ("validation", validation, train + 1)):
        coco = draw(folder / "images", count, seed=first, first=first)
        (folder / f"{part}.json").write_text(json.dumps(coco), encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    usual = {"name": "toy", "kind": "container", "epochs": 1, "batch_size": 4, "seed": 1}
    said = usual | {"checkpoint": None, "hyperparameters": {}} | settings
    (folder / "trainer.json").write_text(json.dumps(said), encoding="utf-8")
    return folder
