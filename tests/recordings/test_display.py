"""Progress of several recordings on standard error."""

import contextlib
import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.clock import monotonic_ns
from edge.recordings.analysis import display as display_module
from edge.recordings.analysis import identity
from edge.recordings.analysis.analyse import _shown_sha256
from edge.recordings.analysis.display import Display
from edge.recordings.analysis.job import Progress
from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import ROOT


def test_without_a_terminal_there_is_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job: Any = SimpleNamespace(name="r00")
    with Display({"r00": 100}) as display:
        display.progress(job, Progress("analyse", 0.4))
        assert capsys.readouterr().err == ""
        display._began_ns = display._reported_ns = monotonic_ns() - 10_000_000_000
        display.progress(job, Progress("analyse", 0.5))
        assert capsys.readouterr().err == "affect-edge: 50% done, 10 s left\n"
        display.progress(job, Progress("analyse", 0.6))
        assert capsys.readouterr().err == ""


def test_comparing_with_earlier_results_is_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was shown while hours of a recording were read for their hash."""
    monkeypatch.setattr(display_module, "_LINE_MS", 0.0)
    monkeypatch.setattr(identity, "_CHUNK_BYTES", 1000)
    (path := tmp_path / "r00.mp4").write_bytes(bytes(4000))
    job: Any = SimpleNamespace(name="r00", path=str(path), kind="video")
    with Display({"r00": 4000}) as display:
        assert _shown_sha256(job, display) == hashlib.sha256(bytes(4000)).hexdigest()
    assert capsys.readouterr().err.splitlines() == [
        f"affect-edge: r00: compared with its earlier results: {share}%"
        for share in (0, 25, 50, 75, 100)
    ]


def test_progress_is_shown_before_the_networks_are_loaded(tmp_path: Path) -> None:
    """A terminal showed nothing until then: seconds on a slow machine."""
    (tmp_path / "visit.mp4").write_bytes(DEMO_CLIP.read_bytes())
    ours, theirs = pty.openpty()
    words = ["visit.mp4", "--out", "out", "--purpose", "medical"]
    words += ["--set", 'expression.model="none"']
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "analyse", *words],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal ends with its last process
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 78
    assert shown.index(b"total") < shown.index(b"error: ")


def test_a_name_does_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display({"demo": 1}) as display:
        display.line("FAILED \x1b[31ma\nb.mp4: \u00e9")
    assert capsys.readouterr().err == "affect-edge: FAILED \\x1b[31ma\\nb.mp4: \u00e9\n"
