"""Where compiled kernels are kept, and found where nothing can be written."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

MODULE = """
import numpy as np
from quorate.compiled import kernel

@kernel
def total(values):
    found = 0.0
    for value in values:
        found += value
    return found

if __name__ == "__main__":
    import sys
    kinds = {"float64": np.float64, "float32": np.float32}
    print(total(np.arange(4, dtype=kinds[sys.argv[1]])), total.stats.cache_hits.total())
"""


@pytest.fixture
def module(tmp_path):
    """A module with one kernel, in a folder of its own."""
    path = tmp_path / "package" / "sums.py"
    path.parent.mkdir()
    path.write_text(MODULE)
    return path


def ran(module: Path, kind: str) -> subprocess.CompletedProcess[str]:
    """Run the module in a fresh process that may write only what its file mode says."""
    command = [sys.executable, str(module), kind]
    if os.geteuid() == 0:  # whom no folder refuses
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    plain = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def told(module: Path, kind: str) -> str:
    """What a run says on standard error."""
    return ran(module, kind).stderr


def call(module: Path, kind: str = "float64") -> tuple[float, int]:
    """The total that a run prints, and how often it found its code."""
    total, hits = ran(module, kind).stdout.split()
    return float(total), int(hits)


def test_compiling_is_told_once(module):
    source = module.read_text().replace("print(", "total(np.arange(2)); print(")
    module.write_text(source)
    command = [sys.executable, str(module), "float64"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True).stderr for _ in range(2)
    )
    assert first.count("compiling kernels, once for this installation") == 1
    assert second == ""


def protect(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_code_is_kept_beside_the_module(module):
    assert call(module) == (6.0, 0)
    assert call(module) == (6.0, 1)


def test_code_is_found_where_nothing_can_be_written(module):
    call(module)
    protect(module.parent)
    assert call(module) == (6.0, 1)


def test_what_was_not_compiled_before_is_compiled_where_nothing_can_be_written(module):
    call(module)
    protect(module.parent)
    assert call(module, "float32") == (6.0, 0)


def test_a_module_without_code_runs_where_nothing_can_be_written(module):
    protect(module.parent)
    assert call(module) == (6.0, 0)
    assert [path.name for path in module.parent.iterdir()] == ["sums.py"]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"garbage" * 100,
        lambda data: data[:-200] + bytes(byte ^ 255 for byte in data[-200:]),
        lambda data: data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :],
    ],
    ids=["empty", "cut", "garbage", "end-flipped", "hole"],
)
def test_damaged_code_is_made_anew(module, kind, damage):
    call(module)
    (path,) = module.parent.rglob(f"*.{kind}")
    path.write_bytes(damage(path.read_bytes()))
    assert call(module) == (6.0, 0)
    assert call(module) == (6.0, 1)


def test_code_for_another_type_is_not_taken(module):
    """As when two processes, each with a type of its own, write the same number of data file."""
    call(module)
    call(module, "float32")
    first, second = sorted(module.parent.rglob("*.nbc"))
    first.write_bytes(second.read_bytes())
    assert call(module) == (6.0, 0)
    assert call(module, "float32") == (6.0, 1)


def test_a_changed_module_beside_it_makes_code_stale(module):
    helper = module.parent / "helper.py"
    helper.write_text("one = 1\n")
    call(module)
    assert call(module) == (6.0, 1)
    helper.write_text("one = 2\n")
    assert call(module) == (6.0, 0)


def test_two_that_compile_at_once_both_succeed(module):
    with ThreadPoolExecutor(2) as pool:
        assert [total for total, _ in pool.map(call, [module, module])] == [6.0, 6.0]
    assert call(module) == (6.0, 1)


def test_what_cannot_be_kept_is_told_once(module):
    call(module)
    protect(module.parent)
    assert "cannot be kept" in told(module, "float32")
    assert told(module, "float64") == ""


def test_no_function_is_cached_in_another_way():
    source = Path(__file__).parents[1] / "src/quorate"
    plain = [path.name for path in source.rglob("*.py") if "cache=True" in path.read_text()]
    assert plain == []
