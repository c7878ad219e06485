"""The VOC files of a folder as the step contract wants them: all that has to be added."""

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

shard = json.loads(Path(os.environ["QUORATE_IMAGES_JSON"]).read_text(encoding="utf-8"))
folder, output = Path(sys.argv[1]), Path(os.environ["QUORATE_OUTPUT"])
found, skipped = [], []
for image in shard["images"]:
    file = (folder / image["file_name"]).with_suffix(".xml")
    if not file.exists():
        skipped.append({"file_name": image["file_name"], "reason": "the detector left no file"})
        continue
    for one in ElementTree.parse(file).iter("object"):
        sides = ("xmin", "ymin", "xmax", "ymax")
        x1, y1, x2, y2 = (float(one.findtext(f"bndbox/{side}")) for side in sides)
        found.append(
            {
                "image_id": image["id"],
                "category_id": one.findtext("name"),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(one.findtext("score")),
            }
        )
(output / "detections.json").write_text(json.dumps(found))
manifest = {"images": len(shard["images"]), "skipped": skipped}
(output / "manifest.json").write_text(json.dumps(manifest))
