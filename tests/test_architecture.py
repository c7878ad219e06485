"""The imports keep to the arrows that docs/architecture.md draws; functions are easy to call."""

import ast
import itertools
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/quorate"
PAGE = Path(__file__).parents[1] / "docs/architecture.md"

# A description of a detector and what loads it know each other: the description says `load`, the
# loader takes the description.
PAIRS = {
    ("detectors.darknet.conversion", "detectors.darknet.spec"),
    ("detectors.torch.torchvision", "detectors.torch.torchvision_predictor"),
    ("detectors.torch.transformers", "detectors.torch.transformers_predictor"),
}
# The description's `load` names the type that it returns.
UP = {("spec.detector", "detectors.base"), ("spec.classifier", "classifiers.base")}

MOST_PARAMETERS = 8
# The parameters of these are what a user may choose, each with a name of its own.
OPTIONS = {
    "detections.build": "the columns of a table, each by its name",
    "formats.shapes.add": "likewise, of one row",
    "cvat.run.annotate": "the options of `quorate cvat run`",
    "cvat.cluster.on_cluster.submit": "likewise, over a cluster",
    "ensemble.submit": "the options of `quorate submit`",
    "fusion.ensemble_boxes.nms_method": "the signature of ensemble-boxes",
    "fusion.ensemble_boxes.soft_nms": "likewise",
    "fusion.ensemble_boxes.weighted_boxes_fusion": "likewise",
    "tuning.tune.tune": "what a search may be told",
}


def rooms() -> list[list[str]]:
    """The rows of the page's table, each the rooms of one level, the lowest first."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip(" `/").removesuffix(".py") for cell in row.split(",")] for row in rows]


def name_of(path: Path) -> str:
    """A file's module, below the package; "" for the package's own `__init__`."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def trees() -> dict[str, ast.Module]:
    """Every file of the package but its own `__init__`, by module."""
    found = {name_of(path): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    del found[""]
    return found


@cache
def imported(module: str) -> frozenset[str]:
    """All modules that a file imports: at its top, in functions, and for the type checker."""
    found = set()
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports say whole names"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("quorate.")
                found.add(f"quorate.{inner}" if inner in trees() else str(node.module))
    ours = {name.removeprefix("quorate.") for name in found if name.startswith("quorate.")}
    return frozenset(ours & trees().keys() - {module})


def circles() -> set[tuple[str, ...]]:
    """The sets of files each of which leads to every other by imports."""
    leads: dict[str, set[str]] = {}
    for module in trees():
        reached: set[str] = set()
        ahead = set(imported(module))
        while ahead:
            reached |= ahead
            ahead = set().union(*(imported(one) for one in ahead)) - reached
        leads[module] = reached
    found = set()
    for module, reached in leads.items():
        if module in reached:
            found.add(tuple(sorted(one for one in reached if module in leads[one])))
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_is_on_the_page():
    listed = {room for row in rooms() for room in row}
    assert {room_of(module) for module in trees()} - {"__main__"} == listed


@pytest.mark.parametrize("module", trees())
def test_arrows_point_one_way(module):
    level = {room: i for i, row in enumerate(rooms()) for room in row}
    mine = room_of(module)
    if mine == "__main__":
        return
    for other in sorted(imported(module)):
        room = room_of(other)
        ok = room == mine or level[room] < level[mine] or (module, other) in UP
        assert ok, f"{module} imports {other}, whose room does not stand above its own"


def test_files_form_no_circles():
    found = circles()
    assert found <= PAIRS, f"circles: {sorted(found - PAIRS)}"
    assert found >= PAIRS, f"no circles, to be listed no more: {sorted(PAIRS - found)}"


def functions() -> dict[str, int]:
    """The number of parameters of each function, without `self` and `cls`."""
    found: dict[str, int] = {}
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [one.arg for one in itertools.chain(given.posonlyargs, given.args)]
                count = len(names) + len(given.kwonlyargs) - (names[:1] in (["self"], ["cls"]))
                name = f"{module}.{node.name}"
                found[name] = max(count, found.get(name, 0))
    return found


def test_no_function_has_very_many_parameters():
    long = {name for name, count in functions().items() if count > MOST_PARAMETERS}
    listed = OPTIONS.keys()
    assert long <= listed, f"more than {MOST_PARAMETERS} parameters: {sorted(long - listed)}"
    assert listed <= long, f"short enough, to be listed no more: {sorted(listed - long)}"
