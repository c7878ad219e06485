"""The commands of docs/guides/fuse-files.md, run on files of the shapes it names."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pycocotools.mask import encode

from quorate.cli import main

GUIDE = (Path(__file__).parents[1] / "docs/guides/fuse-files.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.strip().splitlines()
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = {139: "000000000139", 285: "000000000285", 632: "scene/b"}
    instances = {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "width": 640, "height": 426}
            for i, name in pictures.items()
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 18, "bbox": [236.98, 142.51, 24.7, 69.5],
             "area": 1716.65, "iscrowd": 0, "segmentation": []}
            for i in pictures
        ],
    }  # fmt: skip
    Path("instances_val.json").write_text(json.dumps(instances))
    Path("order.txt").write_text("285\n139\n632\n")

    def row(image_id, x=236.98, category_id=18, **more):
        return {"image_id": image_id, "bbox": [x, 142.51, 24.7, 69.5], "score": 0.91,
                "category_id": category_id, **more}  # fmt: skip

    mmdet = [row(i, 236.9800109863281) for i in pictures]
    # Ultralytics: a stem, as a number where it is one; newer ones tell the file as well.
    stems = [int(name) if name.isnumeric() else name for name in pictures.values()]
    ultralytics = [row(stem, 237.1, file_name=f"{stem}.jpg") for stem in stems]
    pixels = np.zeros((426, 640), np.uint8, order="F")
    pixels[143:212, 237:262] = 1
    counts = encode(pixels)["counts"].decode()
    masks = {"segmentation": {"size": [426, 640], "counts": counts}}
    for name, rows in {
        "mmdet.bbox.json": mmdet,
        "predictions.json": ultralytics,
        "coco_instances_results.json": [row(i, 236.5, **masks) for i in pictures],
        "retinanet.json": mmdet,
        "yolo.json": [row(i, 237.5) for i in pictures],
        "rtdetr.json": [row(i, 400) for i in pictures],
    }.items():
        Path(name).write_text(json.dumps(rows))
    import gzip

    for name in ("a", "b"):
        Path(f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(mmdet).encode()))


def test_every_command_of_the_guide_does_its_work(files, capsys):
    assert len(COMMANDS) == 11
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "quorate"
        assert main(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
        if line.startswith("quorate fuse") and line.endswith(".json"):
            fused = json.loads(Path("fused.json").read_text())
            assert {one["image_id"] for one in fused} == {139, 285, 632}, line
            assert {one["category_id"] for one in fused} == {18}
    fused = json.loads(Path("fused.json").read_text())
    assert [one["votes"] for one in fused] == [2, 2, 2]
    assert Path("out/cvat/annotations.xml").exists()


def test_the_python_of_the_guide_runs(files):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    found = {}
    exec(code, found)
    assert found["done"].fused.votes.tolist() == [2, 2, 2]


COMING = (Path(__file__).parents[1] / "docs/guides/coming-from-ensemble-boxes.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", COMING, re.DOTALL))
def test_the_python_for_users_of_ensemble_boxes_runs(code):
    found = {}
    exec(code, found)
    scores = found.get("scores")
    assert len(found["fused"] if scores is None else scores)


TOOLS = (Path(__file__).parents[1] / "docs/guides/coming-from-other-tools.md").read_text()


@pytest.fixture
def tools(files):
    """Files as the tools of the page write them, of the pictures of `files`."""

    def put(name, what):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(what if isinstance(what, str) else json.dumps(what))

    mmdet = json.loads(Path("mmdet.bbox.json").read_text())
    for name in ("work_dirs/rtmdet.bbox.json", "work_dirs/dino.bbox.json",
                 "inference/coco_instances_results.json"):  # fmt: skip
        put(name, mmdet)
    for model in ("yolo11m", "rtdetr"):
        put(
            f"runs/detect/{model}/predictions.json",
            json.loads(Path("predictions.json").read_text()),
        )
    for stem in ("000000000139", "000000000285", "b"):
        put(f"runs/detect/text/labels/{stem}.txt", "1 0.39 0.41 0.04 0.16 0.9\n")
        put(
            f"outputs/preds/{stem}.json",
            {"labels": [1], "scores": [0.8], "bboxes": [[9, 9, 20, 20]]},
        )
    truth = json.loads(Path("instances_val.json").read_text())
    for model in ("yolo", "rtdetr"):  # FiftyOne counts pictures from 1 and labels from 0
        put(f"fiftyone/{model}.json", {
            "info": {}, "licenses": [],
            "categories": [{"id": 0, "name": "dog", "supercategory": None}],
            "images": [{**one, "id": n} for n, one in enumerate(truth["images"], 1)],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 0, "bbox": [237, 142, 25, 70], "score": 0.7,
                 "area": 1750, "iscrowd": 0} for n in (1, 2, 3)
            ],
        })  # fmt: skip


def test_every_command_of_the_page_for_other_tools_does_its_work(tools, capsys):
    blocks = re.findall(r"```(sh|python)\n(.*?)```", TOOLS, re.DOTALL)
    assert [kind for kind, _ in blocks] == [
        "sh",
        "python",
        "sh",
        "sh",
        "sh",
        "sh",
        "sh",
        "python",
        "sh",
    ]
    for kind, body in blocks:
        if kind == "python":
            exec(body, {})
            continue
        for line in body.strip().splitlines():
            program, *arguments = shlex.split(line)
            words = [
                found
                for word in arguments
                for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
            ]
            assert program == "quorate"
            assert main(words) == 0, f"{line}\n{capsys.readouterr().err}"
    assert Path("out/cvat/labels.json").exists()
    written = json.loads(Path("quorum/annotations/instances_default.json").read_text())
    assert [one["attributes"]["votes"] for one in written["annotations"]] == [2, 2, 2]
    assert {one["category_id"] for one in written["annotations"]} == {18}
    assert json.loads(Path("inferencer.json").read_text())[0] == {
        "image_id": "000000000139", "category_id": "person", "score": 0.8, "bbox": [9, 9, 11, 11],
    }  # fmt: skip
