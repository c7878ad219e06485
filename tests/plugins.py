"""Kinds of detectors for the tests alone, as a package that is installed would have them."""

from pathlib import Path


def install_kind(folder: Path, kind: str, of: str) -> None:
    """Make a kind known to Python processes whose path has the folder; `of` is MODULE:CLASS."""
    about = folder / f"{kind}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {kind}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[quorate.detectors]\n{kind} = {of}\n")
