import os
import subprocess
import uuid

import pytest
from hypothesis import HealthCheck, settings

# No example fails for being slow: how fast a machine is, is not what the tests are about.
settings.register_profile("quorate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# In CI the same examples every time, so that a change fails for what it changed; elsewhere new
# ones on every run, which is how faults are found.
settings.register_profile("ci", settings.get_profile("quorate"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "quorate")


@pytest.fixture(scope="session")
def s3_store():
    """Variables of the environment that lead to an S3 store: to one given, or to one of our own."""
    if os.environ.get("AWS_ENDPOINT_URL") and os.environ.get("S3_BUCKET"):
        yield {name: os.environ[name] for name in os.environ if name.startswith(("AWS_", "S3_"))}
        return
    from tests import s3_server

    process, used = s3_server.start()
    yield used
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture
def s3_bucket(s3_store, monkeypatch):
    """The name of a bucket in an S3 store, which the environment leads to."""
    from quorate.storage import s3

    for name, value in s3_store.items():
        monkeypatch.setenv(name, value)
    s3.client.cache_clear()
    yield s3_store["S3_BUCKET"]
    s3.client.cache_clear()


@pytest.fixture
def s3_prefix(s3_bucket):
    """A prefix of its own in an S3 store, which is removed afterwards."""
    from quorate.storage import remove_tree

    prefix = f"s3://{s3_bucket}/quorate-test/{uuid.uuid4().hex}"
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


@pytest.fixture(scope="module")
def chromium():
    """The Chromium that is on the path; see `tests.chromium.NEEDED`."""
    from tests.chromium import launched

    with launched() as browser:
        yield browser
