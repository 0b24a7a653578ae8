"""Fixtures of ``make test-picamera2``: the real picamera2 over a libcamera without a camera."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.picamera2_stack.hardware import STACK, STUB, Hardware

if STACK is not None:
    sys.path[:0] = [str(STUB), str(STACK)]
else:
    collect_ignore = ["test_binding.py"]  # it imports the stub


def pytest_report_header() -> str:
    return f"picamera2: {STACK}"


@pytest.fixture(autouse=True)
def _require_stack() -> None:
    if STACK is None or not (STACK / "picamera2").is_dir():
        pytest.fail("expected AFFECT_EDGE_PICAMERA2 to name a folder: run make test-picamera2")


@pytest.fixture
def hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hardware]:
    """Return the script of a camera that works."""
    hardware = Hardware(tmp_path / "hardware.json")
    for name, value in hardware.environment.items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    yield hardware
    hardware.set(stop_hangs=False, silent=False)
