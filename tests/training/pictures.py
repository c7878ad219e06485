"""Labelled pictures to learn from: a red or a green square on a dark, noisy ground."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("red", "green")
TRAINER = Path(__file__).parent / "numpy_trainer.py"


def trainer(name: str = "linear", **settings):
    """The entry of `numpy_trainer.py` under `trainers:`."""
    return {"name": name, "kind": "container", "command": [sys.executable, str(TRAINER)],
            "epochs": 8, "batch_size": 8, **settings}  # fmt: skip


def spoilt(name: str, spoil: str, **settings):
    """Likewise, and a shell does something afterwards, in the folder that it leaves."""
    words = f'"$0" "$1" --data "$3" --out "$5" && cd "$QUORATE_OUT" && {spoil}'
    entry = trainer(name, **settings)
    return entry | {"command": ["sh", "-c", words, *entry["command"]]}


def squares(folder: Path, count: int = 40, *, seed: int = 0, side: int = 64) -> Path:
    """A data set in COCO's form as CVAT writes it; the folder."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(1, count + 1):
        pixels = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        label = int(rng.integers(0, 2))
        x, y = rng.integers(0, side - 24, 2).tolist()
        pixels[y : y + 24, x : x + 24, label] = 230
        name = f"shot {rng.integers(1 << 40):x}.png"
        Image.fromarray(pixels).save(folder / "images" / name)
        images.append({"id": i, "width": side, "height": side, "file_name": name})
        annotations.append({"id": i, "image_id": i, "category_id": label + 1, "segmentation": [],
                            "bbox": [x, y, 24, 24], "area": 576, "iscrowd": 0,
                            "attributes": {"occluded": False}})  # fmt: skip
    write(folder, images, annotations)
    return folder


def write(folder: Path, images, annotations, names=NAMES) -> None:
    """`annotations/instances_default.json`."""
    categories = [{"id": i, "name": n, "supercategory": ""} for i, n in enumerate(names, 1)]
    whole = {"licenses": [], "info": {}, "categories": categories, "images": images,
             "annotations": annotations}  # fmt: skip
    (folder / "annotations/instances_default.json").write_text(json.dumps(whole))


def instances(folder: Path):
    """What stands there."""
    return json.loads((folder / "annotations/instances_default.json").read_text())


def ended(pid: int) -> bool:
    """Whether a process is at work no more, be it that nobody has asked for its status."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
