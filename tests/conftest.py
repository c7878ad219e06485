import os
import subprocess
import uuid

import pytest
from hypothesis import settings

# In CI the same examples every time, so that a change fails for what it changed; elsewhere new
# ones on every run, which is how faults are found.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def s3_prefix():
    """A prefix of its own in a real S3 store, which is removed afterwards."""
    if not (os.environ.get("AWS_ENDPOINT_URL") and os.environ.get("S3_BUCKET")):
        pytest.skip("needs an S3 store: AWS_ENDPOINT_URL and S3_BUCKET are not set")
    from quorate.storage import remove_tree

    prefix = f"s3://{os.environ['S3_BUCKET']}/quorate-test/{uuid.uuid4().hex}"
    yield prefix
    remove_tree(prefix)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted: not root, or in a container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
