"""Progress of several recordings on standard error."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge.clock import monotonic_ns
from edge.recordings.analysis.display import Display
from edge.recordings.analysis.job import Progress


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


def test_a_name_does_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display({"demo": 1}) as display:
        display.line("FAILED \x1b[31ma\nb.mp4: \u00e9")
    assert capsys.readouterr().err == "affect-edge: FAILED \\x1b[31ma\\nb.mp4: \u00e9\n"
