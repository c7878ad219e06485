"""Each walk of docs/contributing is walked: its files written, its lines changed, its test run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs/contributing").glob("*.md"))


def blocks(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def copied(folder):
    """A copy of what a walk changes: the code, the tests' helpers, and pyproject.toml."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def change(block, folder):
    """Change the lines of a file, or of the one file of a folder that has them, as a diff says."""
    name, *lines = block.splitlines()
    place = folder / name.removeprefix("--- ")
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    files = [file for file in (place.glob("*.py") if place.is_dir() else [place])
             if old in file.read_text("utf-8")]  # fmt: skip
    assert len(files) == 1, f"these lines are in {len(files)} files of {name}:\n{old}"
    text = files[0].read_text("utf-8")
    assert text.count(old) == 1, old
    files[0].write_text(text.replace(old, new), "utf-8")


def installed(folder):
    """The entry points of pyproject.toml, as an installation of the copy would have them."""
    text = (folder / "pyproject.toml").read_text("utf-8")
    lines = text.partition('[project.entry-points."quorate.detectors"]\n')[2].partition("\n\n")[0]
    about = folder / "src/quorate-9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: quorate\nVersion: 9\n")
    (about / "entry_points.txt").write_text(f"[quorate.detectors]\n{lines.replace(chr(34), '')}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_walk_leads_to_a_test_that_passes(page, tmp_path):
    folder = copied(tmp_path)
    tests = []
    for block in blocks(page, "python"):
        first, _, code = block.partition("\n")
        where, _, name = first.partition(": ")
        file = folder / name
        if where == "# at the end of":
            code = f"{file.read_text('utf-8')}\n\n{code}"
        else:
            assert where == "# new file"
            assert not file.exists(), f"{name} is there already"
        file.write_text(code, "utf-8")
        if name.startswith("tests/"):
            tests.append(name)
    for block in blocks(page, "diff"):
        change(block, folder)
    installed(folder)
    ruff = [sys.executable, "-m", "ruff", "check", "--quiet", "src", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in ([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], ruff):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) == 1
