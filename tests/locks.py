"""The lock files in requirements/, read as pip reads them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[1] / "requirements"
LOCKS = ("core", "cpu", "cuda", "dev", "rfdetr", "servers", "tensorflow", "torch")


@dataclass(frozen=True)
class Entry:
    """One package of a lock file."""

    name: str
    version: str
    extras: frozenset[str]
    marker: Marker | None
    hashes: int

    @property
    def here(self) -> bool:
        """Whether it is installed on this system with this Python."""
        return self.marker is None or self.marker.evaluate()


def entries(lock: str) -> Iterator[Entry]:
    """The packages of `requirements/{lock}.txt`."""
    text = (FOLDER / f"{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in re.sub(r"(?m)^ *#.*$", "", text), f"{lock}.txt names an address"
    for one in re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]:
        said = Requirement(one.partition("\\")[0])
        (pin,) = said.specifier
        assert pin.operator == "==", f"{lock}.txt: {said} is not pinned"
        hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", one))
        yield Entry(
            canonicalize_name(said.name), pin.version, frozenset(said.extras), said.marker, hashes
        )
