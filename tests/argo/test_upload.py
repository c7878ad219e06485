"""What lies here, put in a real S3 store, once."""

import hashlib
import uuid

import boto3
import pytest
import yaml

from quorate.argo.rendering.template import workflow_template
from quorate.argo.runs.upload import uploaded
from quorate.cli import main
from quorate.errors import InputError, SpecError
from quorate.spec import EnsembleSpec
from quorate.storage import read_bytes, remove_tree, write_bytes

pytestmark = pytest.mark.s3


@pytest.fixture
def files(tmp_path):
    """Weights and pictures that no other test has."""
    unique = uuid.uuid4().bytes
    (tmp_path / "a.onnx").write_bytes(unique)
    pool = tmp_path / "pool"
    (pool / "north").mkdir(parents=True)
    (pool / "1.jpg").write_bytes(unique + b"1")
    (pool / "north" / "2.jpg").write_bytes(unique + b"2")
    return tmp_path


def spec(folder, **more):
    detector = {"name": "a", "kind": "onnx", "weights": str(folder / "a.onnx")}
    value = {"name": "x", "detectors": [detector], "data": str(folder / "pool"), **more}
    return EnsembleSpec.model_validate(value)


def below(location):
    """The objects below a location: name, and when each was written."""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return {item["Key"].removeprefix(prefix): item["LastModified"] for item in found}


def remove(location):
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    for name in below(location):
        boto3.client("s3").delete_object(Bucket=bucket, Key=prefix + name)


def test_weights_and_pictures_are_sent_once(files, s3_bucket):
    told = []
    there = uploaded(spec(files), None, s3_bucket, progress=lambda *said: told.append(said))
    weights, data = there.detectors[0].weights, there.data
    try:
        digest = hashlib.sha256((files / "a.onnx").read_bytes()).hexdigest()
        assert weights == f"s3://{s3_bucket}/quorate/weights/{digest}/a.onnx"
        assert data.startswith(f"s3://{s3_bucket}/quorate/data/pool-")
        assert data.endswith("/")
        assert there.workflow.bucket == s3_bucket
        first = below(data)
        assert set(first) == {"1.jpg", "north/2.jpg"}
        assert ("a MB", 1, 1) in told
        assert told[-1] == ("data MB", 1, 1)

        again = uploaded(spec(files), None, s3_bucket)
        assert (again.detectors[0].weights, again.data) == (weights, data)
        assert below(data) == first  # not one was written anew

        (files / "pool" / "1.jpg").write_bytes(b"other")
        changed = uploaded(spec(files), None, s3_bucket).data
        assert changed != data
        remove(changed)
    finally:
        remove(weights)
        remove(data)


def test_what_is_in_s3_stays_where_it_is(files, s3_bucket):
    there = uploaded(spec(files, data="s3://elsewhere/pool/"), None, s3_bucket)
    remove(there.detectors[0].weights)
    assert there.data == "s3://elsewhere/pool/"


@pytest.mark.parametrize(
    ("data", "says"),
    [("none", "no such file or folder"), ("empty", "folder is empty"),
     ("pictures/*.jpg", "is a glob, which is not uploaded"),
     ("a.onnx", "is one file, and its pictures lie elsewhere")],
)  # fmt: skip
def test_what_cannot_be_uploaded(files, s3_bucket, data, says):
    (files / "empty").mkdir()
    ensemble = spec(files)
    try:
        with pytest.raises(InputError, match=says):
            uploaded(ensemble, str(files / data), s3_bucket)
    finally:
        digest = hashlib.sha256((files / "a.onnx").read_bytes()).hexdigest()
        remove(f"s3://{s3_bucket}/quorate/weights/{digest}/a.onnx")


def test_a_bucket_that_is_not_there(files, s3_bucket):
    with pytest.raises(InputError, match="no such bucket"):
        uploaded(spec(files), None, f"{s3_bucket}-that-is-not-there")


@pytest.fixture
def weights(s3_prefix, tmp_path):
    """A bucket, and weights of their own: a folder with two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.bin").write_bytes(uuid.uuid4().bytes)
    (folder / "b.bin").write_bytes(b"the other part")
    return s3_prefix.split("/")[2], folder


def send(bucket, folder):
    """Upload once: where the weights are then, and what was told of the way there."""
    detector = {"name": "a", "kind": "container", "image": "x", "weights": str(folder)}
    told = []
    ensemble = EnsembleSpec.model_validate({"name": "x", "detectors": [detector]})
    there = uploaded(ensemble, None, bucket, progress=lambda *said: told.append(said))
    return there.detectors[0].weights, told


def test_a_file_of_another_size_is_sent_again_and_no_other(weights):
    bucket, folder = weights
    place, told = send(bucket, folder)
    try:
        assert len(told) == 3  # at first nothing is there
        for name in ("a.bin", "b.bin"):
            assert read_bytes(place + name) == (folder / name).read_bytes()

        same_size = bytes(len(b"the other part"))
        write_bytes(f"{place}a.bin", b"cut short")
        write_bytes(f"{place}b.bin", same_size)
        again, told = send(bucket, folder)
        assert again == place
        assert len(told) == 2
        assert read_bytes(f"{place}a.bin") == (folder / "a.bin").read_bytes()
        # The place is named by the contents, so a file of the right size there is the right file.
        assert read_bytes(f"{place}b.bin") == same_size
    finally:
        remove_tree(place)


def test_a_template_is_rendered_with_what_is_uploaded(files, s3_bucket, capsys):
    path = files / "spec.yaml"
    given = {"name": "x", "data": "pool", "workflow": {"bucket": s3_bucket},
             "detectors": [{"name": "a", "kind": "onnx", "weights": "a.onnx"}]}  # fmt: skip
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    assert main(["render", str(path)]) == 2
    assert "on this machine" in capsys.readouterr().err
    assert main(["render", str(path), "--upload"]) == 0
    template = yaml.safe_load(capsys.readouterr().out)
    parameters = {
        one["name"]: one.get("value") for one in template["spec"]["arguments"]["parameters"]
    }
    data = parameters["cvat-annotation-path"]
    detect = next(t for t in template["spec"]["templates"] if t["name"] == "detect-a")
    (key,) = [a["s3"]["key"] for a in detect["inputs"]["artifacts"] if a["name"] == "weights"]
    try:
        assert set(below(data)) == {"1.jpg", "north/2.jpg"}
        assert below(f"s3://{s3_bucket}/{key}")
        assert main(["render", "fuse-files", "--upload"]) == 2
    finally:
        remove(data)
        remove(f"s3://{s3_bucket}/{key}")


@pytest.mark.parametrize("location", ["https://models.example/a.onnx", "gs://models/a.onnx"])
def test_weights_that_are_elsewhere_are_said_to_be_there(location, s3_bucket):
    detector = {"name": "a", "kind": "onnx", "weights": location}
    given = EnsembleSpec.model_validate({"name": "x", "detectors": [detector]})
    for ensemble in (given, uploaded(given, None, s3_bucket)):
        with pytest.raises(SpecError) as caught:
            workflow_template(ensemble)
        assert f"is at {location.partition('//')[0]}//: no pod" in caught.value.message
        assert "--upload" not in caught.value.hint
