"""A file that never ends is refused, and does not fill the memory."""

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from edge.cli import run_command_line
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
sys.exit(run_command_line(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["check", "-c", "/dev/zero"], "/dev/zero: more than 1 MiB; expected a TOML file"),
        (["report", "record", "--out", "page.html", "--marks", "/dev/zero"], "is a device"),
    ],
)
def test_an_endless_file_is_refused(words: list[str], error: str) -> None:
    """It was read until the system had no memory left."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert error in line
