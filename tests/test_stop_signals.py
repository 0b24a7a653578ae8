"""The end by a signal, wherever the program is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import ROOT

_COMMANDS = ("edge check", "benchmarks fps", "exporters golden", "exporters.recipes recalibrate")
_PROGRAM = """
import signal, sys
from edge.stop_signals import exit_on_signal, on_stop_signals
on_stop_signals(exit_on_signal)
sys.path.insert(0, sys.argv[1])
import interrupted
while True:
    signal.pause()
"""


def test_a_signal_during_an_import_ends_the_program_after_it(tmp_path: Path) -> None:
    """The module was half there: of a native one that was an ImportError with a traceback."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal\nsignal.raise_signal(signal.SIGINT)\nos.write(1, b'complete')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "complete", "")


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_signal_during_the_first_imports_ends_a_command_without_a_traceback(
    command: str, tmp_path: Path
) -> None:
    """Benchmarks and exporters printed pages."""
    for name in ("numpy", "pydantic"):  # whichever comes first
        (tmp_path / f"{name}.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")
