"""The imports keep to the arrows that docs/architecture.md draws."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/quorate"
PAGE = Path(__file__).parents[1] / "docs/architecture.md"


def rooms() -> list[list[str]]:
    """The rows of the page's table, each the rooms of one level, the lowest first."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip(" `/").removesuffix(".py") for cell in row.split(",")] for row in rows]


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or
                  path.parent != SOURCE)  # fmt: skip


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports when it runs; what only a type checker reads is no arrow."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quorate"):
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found |= set(names)
    return found - {"__version__"}


def test_every_room_is_on_the_page():
    listed = {room for row in rooms() for room in row}
    there = {room_of(path) for path in files()} - {"__main__"}
    assert there == listed


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_arrows_point_one_way(path):
    level = {room: i for i, row in enumerate(rooms()) for room in row}
    mine = room_of(path)
    if mine == "__main__":
        return
    for other in imported(path) & level.keys() - {mine}:
        assert level[other] < level[mine], f"{mine} imports {other}, which stands below it"
