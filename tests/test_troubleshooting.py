"""docs/troubleshooting.md quotes what the program says: every quotation is looked for in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
# Text between the parts of a literal that is broken over lines, and what is filled in.
JOINTS = re.compile(r'"\s*\n\s*f?"')
SOURCE = "".join(
    JOINTS.sub("", path.read_text()) for path in sorted((ROOT / "src/quorate").rglob("*.py"))
)
OURS = [
    quoted
    for row in re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    for quoted in re.findall(r"`([^`]+)`", row)
    if not quoted.startswith(("quorate", "publish"))
]


def test_quotations_are_found():
    assert len(OURS) > 12


@pytest.mark.parametrize("quoted", OURS)
def test_what_is_quoted_is_said(quoted):
    # A word that the program fills in: a label; "is" or "are"; detectors or classifiers.
    said = re.escape(quoted).replace("'truck'", r"(\{.*?\}|'\{.*?\}')")
    said = said.replace(r"are\ left", r"(are|\{are\})\ left").replace(
        "detector", r"(detector|\{.*?\})"
    )
    assert re.search(said, SOURCE), quoted
