"""The demo: three small detectors, pictures of machine parts, and the spec of their ensemble.

A wheel has some of the pictures, beside this file; a checkout has all, in docs/examples/parts.
`hatch_build.py` puts them into the wheel.
"""

from __future__ import annotations

from pathlib import Path

from quorate.errors import InputError
from quorate.storage import write_bytes

_INSTALLED = Path(__file__).parent / "parts"
_CHECKOUT = Path(__file__).parents[3] / "docs/examples/parts"


def unpack(folder: Path) -> Path:
    """Put the demo's files into a folder, save those that are there already.

    So a spec that somebody has changed stays as it is.

    Returns:
        The spec in the folder.

    Raises:
        InputError: this installation came without the demo, or the folder cannot be written.
    """
    source = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    if not (source / "spec.yaml").is_file():
        raise InputError(
            "this installation of Quorate has no demo.",
            hint="install a wheel that was built from the whole repository",
        )
    files = [source / "spec.yaml"]
    files += sorted(file for part in ("images", "models") for file in (source / part).rglob("*.*"))
    for file in files:
        target = folder / file.relative_to(source)
        if not target.exists():
            write_bytes(target, file.read_bytes())
    return folder / "spec.yaml"
