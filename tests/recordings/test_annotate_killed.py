"""A run of ``annotate`` that was killed leaves no result, and the next one is complete."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from edge.vision.sources.video import DEMO_CLIP
from tests.support.videos import content_of
from tests.support.waiting import wait_until


def test_killed_run_leaves_no_result_and_does_not_hinder_the_next(tmp_path: Path) -> None:
    out, mine = tmp_path / "out.mp4", tmp_path / ".out.mp4.new"
    mine.write_text("mine")
    command = [*(sys.executable, "-m", "edge", "annotate", str(DEMO_CLIP), str(out))]
    command += ["--purpose", "medical", "--end", "1s"]
    with subprocess.Popen(command) as process:
        wait_until(lambda: bool(list(tmp_path.glob(".out.mp4.*.affect-edge.new"))), timeout_s=60.0)
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()

    subprocess.run(command, check=True, timeout=100)

    assert len(content_of(out).pictures) == 25
    assert mine.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {out.name, mine.name}
