"""What has to agree when a version comes out, and what the pages for contributors name."""

import re
from pathlib import Path

import pytest
import yaml

from quorate._version import __version__

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs/contributing").glob("*.md"))]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_everywhere():
    released = re.findall(r"^## \[(\d[^]]*)\] - (.+)$", text("CHANGELOG.md"), re.M)[0]
    cited = yaml.safe_load(text("CITATION.cff"))
    chart = yaml.safe_load(text("charts/quorate/Chart.yaml"))
    assert released == (cited["version"], cited["date-released"])
    assert {__version__, cited["version"], chart["version"], chart["appVersion"]} == {__version__}
    images = yaml.safe_load(text("charts/quorate/values.yaml"))["images"]
    assert {images["cpu"], images["cuda"]} == {
        f"quorate-{r}:{__version__}" for r in ("cpu", "cuda")
    }
    assert f"| {__version__.rpartition('.')[0]} | yes |" in text("SECURITY.md")


def test_every_target_of_make_is_explained():
    targets = set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.M))
    assert set(re.findall(r"^\| `make ([a-z-]+)`", text("CONTRIBUTING.md"), re.M)) == targets
    assert len(targets) <= 13


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_contributors_are_sent_to_are_there(page):
    said = page.read_text(encoding="utf-8")
    new = set(re.findall(r"^# (?:new file|new): (\S+)", said, re.M))
    named = set(re.findall(r"`((?:src|tests|docs|requirements|\.github)/[\w./-]+)`", said)) - new
    assert named or page.name == "CONTRIBUTING.md"
    missing = {name for name in named if not (ROOT / name).exists()}
    assert not missing
