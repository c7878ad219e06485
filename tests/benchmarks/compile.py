"""What a new user waits for: compiling all kernels, and the first `quorate fuse`.

    python -m tests.benchmarks.compile

Processor time of new processes with an empty kernel cache, beside that of `import numba`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ALL, FIRST = 60, 25


def processor_seconds(*command: str, cache: str) -> float:
    """What a command and its children take of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *command],
        check=True,
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in ("a", "b"):
            files.append(str(Path(folder) / f"{name}.json"))
            box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}
            Path(files[-1]).write_text(json.dumps([box] * 2))
        out = str(Path(folder) / "fused.json")
        imports = min(
            processor_seconds("-c", "import numba", cache=f"{folder}/none") for _ in range(4)
        )
        fuse = ("-m", "quorate", "fuse", *files, "--method", "wbf", "-o", out)
        rows = (
            ("quorate compile, all kernels", ("-m", "quorate", "compile"), ALL),
            ("the first quorate fuse of two JSON files, WBF", fuse, FIRST),
        )
        print(f"import numba: {imports:.2f} s of processor time")
        for name, command, most in rows:
            taken = processor_seconds(*command, cache=f"{folder}/{name.split()[1]}")
            print(
                f"{name}: {taken:.2f} s, {taken / imports:.1f} times import numba (at most {most})"
            )


if __name__ == "__main__":
    main()
