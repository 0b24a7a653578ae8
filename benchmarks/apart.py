"""Runs ``benchmarks fps`` in a process of its own, which inherits no memory and no thread pools."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.child import child_environment


def fps_apart(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run ``fps`` with ``arguments``; return its exit code and its result.

    Where it failed, the result is the reason in one line, under ``failed``.
    """
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        path = Path(folder) / "result.json"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "fps", *arguments, "--json", str(path)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            env=child_environment(),
        )  # fmt: skip
        if done.returncode == 0:
            return 0, json.loads(path.read_text("utf-8"))
    reason = (done.stderr.strip().splitlines() or ["it ended"])[-1]
    return done.returncode, {"failed": reason.removeprefix("benchmarks: error: ")}
