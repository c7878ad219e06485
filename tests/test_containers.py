"""What the images are built of."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROLES = ("cpu", "cuda")


def locked(path):
    """The packages of a requirements file, and their versions."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "://" not in re.sub(r"(?m)^ *#.*$", "", text)
    found = {}
    for one in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        name, version = re.match(r"([a-z0-9._-]+)==(\S+)", one).groups()
        assert "--hash=sha256:" in one, name
        found[name] = version
    return found


def names(dependencies):
    return {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in dependencies}


@pytest.mark.parametrize("role", ROLES)
def test_an_image_has_all_that_the_package_needs(role):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = names(project["dependencies"]) | names(extras["remote"])
    if role == "cuda":
        needed |= names(extras["torch"]) | {"onnxruntime-gpu"}
        needed -= {"onnxruntime"}
    assert needed - locked(f"containers/{role}/requirements.txt").keys() == set()


def test_one_onnxruntime_and_one_cuda():
    cpu, cuda = (locked(f"containers/{role}/requirements.txt") for role in ROLES)
    assert "onnxruntime" not in cuda, "both write the same files"
    assert not [name for name in cpu if name.startswith(("nvidia", "torch", "onnxruntime-"))]
    # onnxruntime says so in its metadata, torch in its requirements: both are of CUDA 13.
    assert cuda["cuda-toolkit"].partition(".")[0] == "13"
    assert {"nvidia-cudnn-cu13", "nvidia-curand", "nvidia-cufft"} <= cuda.keys()


def test_an_image_has_the_versions_that_are_tested():
    tested = locked("requirements-dev.txt")
    for role in ROLES:
        for name, version in locked(f"containers/{role}/requirements.txt").items():
            assert tested.get(name, version) == version, f"{role}: {name}; run `make lock`"


@pytest.mark.parametrize("role", ROLES)
def test_a_containerfile_keeps_what_is_promised(role):
    lines = (ROOT / "containers" / role / "Containerfile").read_text(encoding="utf-8").splitlines()
    said = [line.split() for line in lines if line and not line.startswith("#")]
    assert lines[[line.startswith("ARG BASE=") for line in lines].index(True)]
    assert [words for words in said if words[0] == "USER"] == [["USER", "65532:65532"]]
    assert not [words for words in said if words[0] == "ENTRYPOINT"]
    installs = [line for line in lines if "pip install" in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs), installs
    assert len(installs) == 2
