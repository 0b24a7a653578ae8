"""What ``affect-edge check`` says about the machine: processor files, memory, swap, disk, camera.

Nothing here loads a runtime or opens a camera.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from edge.board import Board, is_arm, swap_state, worker_rss_limit_mb
from edge.config import Config, PicameraSource
from edge.errors import EXIT_CONFIG

Level = Literal["ok", "WARN", "WRONG"]
Line = tuple[Level, str]

_DISK_MIN_MB: Final = 100
_IMPORT_S: Final = 60.0

_LOCK_MEMORY = "from edge.worker.memlock import lock_memory; print(lock_memory())"
_LOAD_STACK = """
import sys
from edge.errors import ConfigError
from edge.vision.sources.picamera_stack import load_stack
try:
    print(load_stack().picamera2_version)
except ConfigError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def machine_lines(config: Config, board: Board) -> Iterator[Line]:
    """Yield one line per finding; the first one says whether a runtime can be loaded at all."""
    yield _processor(board)
    yield _memory(config, board)
    yield _swap(board)
    if config.journal.path:
        yield _disk(Path(config.journal.path))
    if isinstance(config.source, PicameraSource):
        yield _camera_stack()


def _processor(board: Board) -> Line:
    """Report on the files from which the runtimes learn which instructions they may use."""
    if is_arm() and board.has_garbled_cpuinfo():
        return "WRONG", (
            "processor: /proc/cpuinfo lists no processor, and ONNX Runtime and LiteRT crash on"
            " that; expected the kernel's own file"
        )
    if unreadable := board.unreadable_cpu_files():
        return "WARN", (
            f"processor: {' and '.join(unreadable)} cannot be read, so the runtimes cannot see"
            " what the processor can do and run slowly; expected both files to be readable"
        )
    return "ok", "processor: /proc/cpuinfo and /sys/devices/system/cpu can be read"


def _memory(config: Config, board: Board) -> Line:
    memory_mb = board.memory_mb()
    limit_mb = worker_rss_limit_mb(config.limits.worker_rss_mb, memory_mb)
    known = "unknown" if memory_mb is None else f"{memory_mb:.0f} MiB"
    text = f"memory: {known}, of which the worker may take {limit_mb} MiB"
    if not board.has_memory_cgroup():
        text += "; no memory cgroup, so MemoryMax and MemorySwapMax of the service have no effect"
    if memory_mb is not None and limit_mb > memory_mb:
        return "WARN", f"{text}; lower limits.worker_rss_mb"
    return "ok", text


def _swap(board: Board) -> Line:
    """Report whether pictures could be swapped to storage by a worker that is started from here."""
    areas = board.swap_on_storage()
    if areas is None:
        return "WARN", "swap: unknown, /proc/swaps cannot be read or has no table"
    if not areas:
        return "ok", "swap: none on storage"
    code, refused = _run(_LOCK_MEMORY)
    if code != 0:
        refused = "the attempt failed"
    text = f"swap: on ({', '.join(areas)})"
    if swap_state(board, memory_locked=not refused) == "prevented":
        return "ok", f"{text}, but the worker's memory stays out of it"
    return "WARN", (
        f"{text}, and a worker started from here cannot lock its memory ({refused}), so pictures"
        " may be written there; run the service, which may, or turn swap off"
    )


def _disk(folder: Path) -> Line:
    """Report the free space where the journal is, or will be once the folder has been made."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free_mb = os.statvfs(there).f_bavail * os.statvfs(there).f_frsize / 2**20
    except OSError as error:
        return "WARN", f"journal.path {folder}: free space unknown: {error.strerror}"
    text = f"journal.path {folder}: {free_mb:.0f} MiB free"
    if free_mb < _DISK_MIN_MB:
        return "WARN", f"{text}; expected at least {_DISK_MIN_MB}"
    return "ok", text


def _camera_stack() -> Line:
    """Import picamera2 in a process of its own: its native code may crash, and keeps threads."""
    code, said = _run(_LOAD_STACK)
    if code == 0:
        return "ok", f"camera: picamera2 {said} can be imported; no camera was opened"
    if code == EXIT_CONFIG:
        return "WRONG", f"camera: {said}"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return "WRONG", (
        f"camera: importing picamera2 ended with {how}; expected the system's picamera2:"
        " run 'sudo apt install --reinstall python3-picamera2 python3-libcamera'"
    )


def _run(program: str) -> tuple[int, str]:
    """Return exit code and last printed line of a Python program; a hang counts as SIGKILL."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, errors="replace", timeout=_IMPORT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, ""
    lines = done.stdout.splitlines()
    return done.returncode, lines[-1] if lines else ""
