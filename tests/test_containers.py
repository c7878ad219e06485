"""What the images are built of."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.locks import entries

ROOT = Path(__file__).parents[1]
ROLES = ("cpu", "cuda")


def locked(role):
    """The packages of a role's lock file, and their versions."""
    return {one.name: one.version for one in entries(role)}


def names(dependencies):
    return {canonicalize_name(Requirement(one).name) for one in dependencies}


@pytest.mark.parametrize("role", ROLES)
def test_an_image_has_all_that_the_package_needs(role):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = names(project["dependencies"])
    for extra in ("darknet", "heif", "remote", "serve", "traces"):
        needed |= names(extras[extra])
    if role == "cuda":
        needed |= names(extras["torch"]) | {"onnxruntime-gpu"}
        needed -= {"onnxruntime"}
    assert needed - locked(role).keys() == set()


def test_one_onnxruntime_and_one_cuda():
    cpu, cuda = (locked(role) for role in ROLES)
    assert "onnxruntime" not in cuda, "both write the same files"
    assert not [name for name in cpu if name.startswith(("nvidia", "torch", "onnxruntime-"))]
    # onnxruntime says so in its metadata, torch in its requirements: both are of CUDA 13.
    assert cuda["cuda-toolkit"].partition(".")[0] == "13"
    assert {"nvidia-cudnn-cu13", "nvidia-curand", "nvidia-cufft"} <= cuda.keys()


def test_an_image_has_the_versions_that_are_tested():
    tested = locked("dev")
    for role in ROLES:
        for name, version in locked(role).items():
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
