"""A fixture for files and options that the exporter of generators refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporters.cli import main
from tests.support.command_errors import refusal_without_files


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function: weights and further options -> the error line of the export.

    It fails if the export writes a file into ``tmp_path``.
    """

    def refuse(weights: Path, *options: str) -> str:
        out = tmp_path / "made" / "net"
        command = ["cyclegan", "--weights", str(weights), "--out", str(out), *options]
        return refusal_without_files(main, command, capfd, tmp_path)

    return refuse
