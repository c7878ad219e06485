"""The files of a run, brought into tasks of a real CVAT: on the right pictures, or refused.

The ways are those in which people make tasks. What a picture shows says which boxes are right: the
server gives it, and no name is trusted.
"""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quorate.cvat.pictures import download
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.spec.detection import Publish
from tests.cvat.real import Refused, needs_cvat, unique, zipped
from tests.spots import WORDS, Spots, SpotsPredictor, draw, pool

pytestmark = needs_cvat
BOTH = (("CVAT 1.1", "cvat/annotations.xml"), ("COCO 1.0", "coco/annotations/*.json"))
EYE = SpotsPredictor(Spots(name="eye", kind="spots"))
UNMATCHED = "Could not match item id"


def run(data, out, **more):
    """The files that a run publishes, by CVAT's name of their format."""
    detectors = (Spots(name="a", kind="spots"), Spots(name="b", kind="spots"))
    asked = Publish(formats=("cvat", "coco"), report=False, **more)
    DetectionEnsemble(name="spots", detectors=detectors, publish=asked).run(data, out)
    return {format: next(out.glob(file)) for format, file in BOTH}


def right_and_wrong(real, task, tolerance):
    """How many boxes of a task are those that its pictures show, and how many are not."""
    told = real.get(f"labels?task_id={task}&page_size=100")["results"]
    words = {label["id"]: label["name"] for label in told}
    seen, right, wrong = {}, 0, 0
    for shape in real.shapes(task):
        number = shape["frame"]
        if number not in seen:
            picture = Image.open(io.BytesIO(real.frame(task, number))).convert("RGB")
            (found,) = EYE.predict([np.asarray(picture)])
            seen[number] = dict(zip(map(WORDS.__getitem__, found.label), found.xyxy, strict=True))
        there = seen[number].get(words[shape["label_id"]])
        near = there is not None and np.abs(there - shape["points"]).max() <= tolerance
        right, wrong = right + near, wrong + (not near)
    return right, wrong


def brought(real, task, files, tolerance=0.01):
    """What becomes of each file: the boxes that are right and wrong, or what the server says."""
    found = {}
    for format, _ in BOTH:
        real.send("DELETE", f"tasks/{task}/annotations")
        try:
            real.bring(f"tasks/{task}", format, files[format])
            found[format] = right_and_wrong(real, task, tolerance)
        except Refused as refused:
            found[format] = UNMATCHED if UNMATCHED in str(refused) else str(refused)
    return list(found.values())


@pytest.fixture
def pictures(tmp_path):
    """Six pictures in two folders."""
    return pool(tmp_path / "pool", 6)


def flat(root, to):
    """The same pictures in one folder."""
    to.mkdir()
    for path in root.rglob("*.png"):
        shutil.copy(path, to / path.name)
    return to


def sent(root):
    """Pictures as the browser and the SDK send them: without their folders."""
    return [(path.name, path.read_bytes()) for path in sorted(root.rglob("*.png"))]


def test_a_zip_keeps_the_folders_and_so_do_our_files(real, pictures, tmp_path):
    files = run(pictures, tmp_path / "out")
    task = real.task(files=[zipped(pictures)])
    assert brought(real, task, files) == [(12, 0), (12, 0)]
    real.send("PATCH", f"tasks/{task}/data/meta", body={"deleted_frames": [1, 3]})
    assert brought(real, task, files) == [(12, 0), (12, 0)]


def test_jobs_that_share_frames_and_one_job_alone(real, pictures, tmp_path):
    files = run(pictures, tmp_path / "out")
    task = real.task(files=[zipped(pictures)], segment_size=4, overlap=2)
    assert brought(real, task, files) == [(12, 0), (12, 0)]
    job = real.get(f"jobs?task_id={task}")["results"][0]["id"]
    for format, file in files.items():
        with pytest.raises(Refused, match=UNMATCHED):
            real.bring(f"jobs/{job}", format, file)
    assert right_and_wrong(real, task, 0.01) == (12, 0)  # what was there stays


def test_files_lose_their_folders_so_the_run_must_be_over_one_folder(
    real,
    pictures,
    tmp_path,
):
    task = real.task(files=sent(pictures))
    assert brought(real, task, run(pictures, tmp_path / "out")) == [UNMATCHED, UNMATCHED]
    one = flat(pictures, tmp_path / "flat")
    assert brought(real, task, run(one, tmp_path / "two")) == [(12, 0), (12, 0)]


def test_a_frame_step_wants_the_frames_that_the_task_has(real, pictures, tmp_path):
    step = {"frame_filter": "step=2", "start_frame": 1}
    task = real.task(files=[zipped(pictures)], data=step)
    assert brought(real, task, run(pictures, tmp_path / "out")) == [UNMATCHED, UNMATCHED]
    frames = download(real.client, next(tasks(real.client, Place("task", task))), tmp_path / "f")
    assert brought(real, task, run(frames.folder, tmp_path / "two")) == [(6, 0), (6, 0)]


def test_two_pictures_of_one_base_name(real, tmp_path):
    root = tmp_path / "twins"
    for number in range(6):
        draw(root / ("left" if number % 2 else "right") / f"{number // 2}.png", number)
    task = real.task(files=[zipped(root)])
    assert brought(real, task, run(root, tmp_path / "out")) == [(12, 0), (12, 0)]
    # A run over one of the folders: CVAT takes COCO's bare names for those of the first folder.
    xml, coco = brought(real, task, run(root / "right", tmp_path / "two"))
    assert (xml, coco) == (UNMATCHED, (0, 6))
    named = run(root / "right", tmp_path / "three", folder="right")
    assert brought(real, task, named) == [(6, 0), (6, 0)]


def test_names_that_are_numbers_are_frames_to_cvat_in_coco_alone(real, tmp_path):
    root = pool(tmp_path / "pool", 4)
    task = real.task(files=[zipped(root)])
    other = tmp_path / "other"
    for number in range(4):
        draw(other / f"{number}.png", number + 90)
    assert brought(real, task, run(other, tmp_path / "out")) == [UNMATCHED, (0, 8)]


@pytest.mark.parametrize("where", ["share", "s3"])
def test_a_share_or_a_cloud_storage_puts_its_folders_before(
    real,
    pictures,
    tmp_path,
    where,
    request,
):
    place = unique()
    task = (on_share if where == "share" else on_s3)(real, pictures, place, request)
    plain = run(pictures, tmp_path / "out")
    assert brought(real, task, plain) == [UNMATCHED, (12, 0)]
    named = run(pictures, tmp_path / "named", folder=f"{place}/day")
    assert brought(real, task, named) == [(12, 0), (12, 0)]


def on_share(real, pictures, place, request):
    if not os.environ.get("CVAT_SHARE"):
        pytest.skip("no share: set CVAT_SHARE")
    share = Path(os.environ["CVAT_SHARE"]) / place
    request.addfinalizer(lambda: shutil.rmtree(share))
    shutil.copytree(pictures, share / "day")
    return real.task(data={"server_files": [f"{place}/"]})


def on_s3(real, pictures, place, request):
    if not os.environ.get("CVAT_S3"):
        pytest.skip("no S3 store: set CVAT_S3")
    import boto3

    address = os.environ["CVAT_S3"]
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret-key"}
    s3 = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket=place)
    for path in pictures.rglob("*.png"):
        name = f"{place}/day/{path.relative_to(pictures).as_posix()}"
        s3.put_object(Bucket=place, Key=name, Body=path.read_bytes())
    storage = real.made(
        "cloudstorages",
        provider_type="AWS_S3_BUCKET",
        resource=place,
        display_name=place,
        credentials_type="KEY_SECRET_KEY_PAIR",
        key="key",
        secret_key="secret-key",
        specific_attributes=f"endpoint_url={address}",
    )
    return real.task(
        data={"cloud_storage_id": storage, "server_files": [f"{place}/"], "use_cache": True}
    )


def video(root, path):
    """The pictures of a folder as a clip."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 4_000_000
        for picture in sorted(root.rglob("*.png")):
            out.mux(stream.encode(av.VideoFrame.from_image(Image.open(picture))))
        out.mux(stream.encode())
    return path.name, path.read_bytes()


@pytest.mark.parametrize("step", [{}, {"frame_filter": "step=2", "start_frame": 1}])
def test_a_video_wants_cvats_own_numbers(real, pictures, tmp_path, step):
    """A codec moves edges by a pixel; frames that are next to each other differ by far more."""
    task = real.task(
        files=[video(flat(pictures, tmp_path / "flat"), tmp_path / "a.mp4")], data=step
    )
    whole = next(tasks(real.client, Place("task", task)))
    frames = download(real.client, whole, tmp_path / "f").folder
    count = 2 * len(whole.frames)
    assert brought(real, task, run(frames, tmp_path / "out"), 2) == [(count, 0)] * 2
    # As people's own tools name them, from one on.
    counted = tmp_path / "counted"
    counted.mkdir()
    for number, path in enumerate(sorted((frames / "images").iterdir()), start=1):
        shutil.copy(path, counted / f"img{number:04d}.png")
    assert brought(real, task, run(counted, tmp_path / "two"), 2) == [UNMATCHED, UNMATCHED]
