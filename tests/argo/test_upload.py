"""What `submit --upload` sends, to an S3 store; tests/cluster has more."""

import uuid

import pytest

from quorate.argo.runs.upload import uploaded
from quorate.spec import EnsembleSpec
from quorate.storage import read_bytes, remove_tree, write_bytes


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
