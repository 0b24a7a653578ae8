"""Runs ``affect-edge analyse`` in processes of their own, and compares what they wrote."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.vision.golden import GOLDEN_FACE
from tests.support.daemons import ROOT
from tests.support.source_media import encode

PURPOSE = ("--purpose", "safety")


def make_recordings(folder: Path, count: int, frames: int = 30) -> Path:
    """Make a folder of short videos that differ."""
    folder.mkdir()
    for number in range(count):
        encode(folder / f"r{number:02}.mp4", frames=frames + 3 * number, seconds=number % 10)
    return folder


def make_pictures(folder: Path) -> Path:
    """Make a folder of three pictures, of which the first and the last show the golden face."""
    folder.mkdir()
    golden = cv2.imread(str(GOLDEN_FACE), cv2.IMREAD_GRAYSCALE)
    assert golden is not None
    for name, picture in (("1", golden), ("2", np.zeros_like(golden)), ("10", golden)):
        cv2.imwrite(str(folder / f"face-{name}.png"), picture)
    return folder


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "edge", "analyse", *map(str, arguments), *PURPOSE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def analyse(*arguments: str | Path, limit_s: float = 110) -> tuple[int, str]:
    """Run the command to its end; return exit code and standard error."""
    process = start(*arguments)
    text = process.communicate(timeout=limit_s)[1]
    return process.returncode, text


def kill_after(arguments: Sequence[str | Path], wait_s: float) -> bool:
    """Run the command and kill it after so many seconds; return whether it ended before."""
    process = start(*arguments)
    try:
        process.communicate(timeout=wait_s)
        return True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by its path within ``folder``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
