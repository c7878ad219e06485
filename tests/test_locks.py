"""What the lock files in requirements/ must keep, so that any pip installs them for years."""

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.locks import FOLDER, LOCKS, entries

ROOT = FOLDER.parent
ENVIRONMENTS = (".venv", ".venv-torch", ".venv-tensorflow", ".venv-rfdetr", ".venv-remote")


def installed() -> dict[tuple[str, str], Distribution]:
    """Name and version of all that is installed here and in the environments that make builds."""
    places = [*sys.path]
    for one in ENVIRONMENTS:
        places += map(str, (ROOT / one).glob("lib/python*/site-packages"))
    return {(canonicalize_name(one.name), one.version): one for one in distributions(path=places)}


def unnamed(lock, packages):
    """Extras that a locked package asks of another, and the lock does not name: (who, what)."""
    here = [entry for entry in entries(lock) if entry.here]
    named: dict[str, set[str]] = {}
    for entry in here:
        named.setdefault(entry.name, set()).update(entry.extras)
    found, read = [], 0
    for entry in here:
        package = packages.get((entry.name, entry.version))
        if package is None:
            continue
        read += 1
        for line in package.requires or ():
            asked = Requirement(line)
            # "" is the environment of a package of which no extra is asked for.
            extras = {"", *named[entry.name]}
            if asked.marker and not any(asked.marker.evaluate({"extra": one}) for one in extras):
                continue
            name = canonicalize_name(asked.name)
            assert name in named, f"{lock}.txt: {entry.name} needs {name}; run `make lock`"
            if not asked.extras <= named[name]:
                found.append((entry.name, str(asked)))
    return found, read


def test_all_lock_files_are_known():
    assert sorted(file.stem for file in FOLDER.glob("*.txt") if "overrides" not in file.name) == [
        *LOCKS
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_with_hashes_and_without_addresses(lock):
    found = list(entries(lock))
    assert len(found) > 20
    assert not [entry.name for entry in found if not entry.hashes]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_the_extras_that_its_packages_ask_for(lock):
    # Where one asks for coverage[toml] and only "coverage==…" is locked, pip looks for another
    # coverage, which is not locked, and an installation that worked for weeks fails.
    found, read = unnamed(lock, installed())
    assert not found, f"{lock}.txt: {found}; run `make lock`"
    if lock in ("core", "dev"):
        assert read > 20


def test_pip_is_never_asked_to_look_for_more_than_a_lock_names():
    # Where "torchmetrics[detection]==…" is locked and another package asks for "torchmetrics>0.7",
    # pip 23.0 looks for one without a hash, and an image could not be built.
    places = [ROOT / "Makefile", *(ROOT / "containers").glob("*/Containerfile")]
    lines = [line for place in places for line in place.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if "--require-hashes" in line and "/uv pip" not in line]
    assert len(found) == 6
    assert not [line for line in found if "--no-deps" not in line]


def test_an_extra_that_is_not_named_is_found(tmp_path, monkeypatch):
    text = (FOLDER / "dev.txt").read_text(encoding="utf-8")
    assert "\ncoverage[toml]==" in text
    (tmp_path / "dev.txt").write_text(text.replace("\ncoverage[toml]==", "\ncoverage=="))
    monkeypatch.setattr("tests.locks.FOLDER", Path(tmp_path))
    found, _ = unnamed("dev", installed())
    assert [(who, what.partition(">")[0]) for who, what in found] == [
        ("pytest-cov", "coverage[toml]")
    ]
