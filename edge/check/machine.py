"""The machine part of ``affect-edge check``: processor files, memory, swap, disk, camera.

Nothing here loads a runtime or opens a camera.
"""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from edge.board import Board, is_arm, swap_state, worker_rss_limit_mb
from edge.child import child_environment
from edge.config import Config, PicameraSource
from edge.errors import EXIT_CONFIG

Level = Literal["ok", "WARN", "WRONG"]
Line = tuple[Level, str]

_DISK_MIN_MB: Final = 100
_NAME_BYTES_MAX: Final = 255  # of a file or folder name, on every usual file system
_IMPORT_S: Final = 60.0

_ANSWER_PREFIX: Final = "affect-edge answers: "
"""Marks a child's answers: modules that it imports may print lines of their own."""

_DEFINE_ANSWER = f"""
def answer(text):
    print()  # ends a line that was printed without a line feed
    print({_ANSWER_PREFIX!r} + " ".join(str(text).split()), flush=True)
"""
_LOCK_MEMORY = "from edge.worker.memlock import lock_memory; answer(lock_memory())"
_LOAD_STACK = """
import sys
from edge.errors import ConfigError
from edge.vision.sources.picamera_stack import load_stack
from edge.vision.sources.picamera_setup import load_tuning
try:
    stack = load_stack()
    answer(stack.picamera2_version)
    for name in sys.argv[1:]:
        load_tuning(stack.picamera2, name)
        answer("")
except ConfigError as error:
    answer(error)
    sys.exit(error.exit_code)
"""


def machine_lines(config: Config, board: Board) -> Iterator[Line]:
    """Yield one line per finding; the first says whether a runtime can be loaded."""
    yield _processor(board)
    yield _memory(config, board)
    yield _swap(board)
    if config.journal.path:
        yield _journal(config.journal.path)
    else:
        yield (
            "ok",
            "journal.path: not set, so only the newest messages are kept, in memory; the service"
            " sets it (docs/logging.md, The journal)",
        )
    if isinstance(config.source, PicameraSource):
        yield _camera_stack(config.source.tuning)


def _processor(board: Board) -> Line:
    """Report whether the files from which the runtimes detect CPU features can be read."""
    if is_arm() and board.has_garbled_cpuinfo():
        return "WRONG", (
            "processor: /proc/cpuinfo lists no processor, and ONNX Runtime and LiteRT crash on"
            " that; expected the kernel's own file"
        )
    if unreadable := board.unreadable_cpu_files():
        return "WARN", (
            f"processor: {' and '.join(unreadable)} cannot be read, so the runtimes cannot"
            " detect the processor's features and run slowly; expected both files to be readable"
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
    """Report whether a worker that is started from here could be swapped to storage."""
    areas = board.swap_on_storage()
    if areas is None:
        return "WARN", "swap: unknown, /proc/swaps cannot be read or has no table"
    if not areas:
        return "ok", "swap: none on storage"
    code, answers = _run(_LOCK_MEMORY)
    refused = answers[-1] if code == 0 and answers else "the attempt failed"
    text = f"swap: on ({', '.join(areas)})"
    if swap_state(board, memory_locked=not refused) == "prevented":
        return "ok", f"{text}, but the worker's memory is not swapped"
    return "WARN", (
        f"{text}, and a worker started from here cannot lock its memory ({refused}), so pictures"
        " may be written there; run the service, which can lock it, or turn swap off"
    )


def _journal(path: str) -> Line:
    """Report whether the journal's folder can be used, and its free space; it need not exist."""
    subject = f"journal.path {path}"
    expected = "expected a folder that the daemon can make or write"
    try:
        folder = Path(path).absolute()
        existing = _nearest_existing(folder)
        if not stat.S_ISDIR(os.stat(existing).st_mode):
            return "WRONG", f"{subject}: {existing} is not a folder; {expected}"
        parts = folder.relative_to(existing).parts
        if max((len(os.fsencode(part)) for part in parts), default=0) > _NAME_BYTES_MAX:
            return "WRONG", f"{subject}: {os.strerror(errno.ENAMETOOLONG)}; {expected}"
        free = os.statvfs(existing)
        # only an attempt is certain: file modes do not show a read-only mount or an ACL
        os.rmdir(tempfile.mkdtemp(prefix=".affect-edge-", dir=existing))
        if existing == folder:
            _open_lock(folder)
    except OSError as error:
        if error.errno == errno.EACCES:
            return "WARN", (
                f"{subject}: this user cannot write there ({error.strerror}); {expected}: run"
                " check as the user who will run the daemon"
            )
        return "WRONG", f"{subject}: {error.strerror}; {expected}"
    free_mb = free.f_bavail * free.f_frsize / 2**20
    text = f"{subject}: {free_mb:.0f} MiB free"
    if existing != folder:
        text += ", the daemon will make the folder"
    if free_mb < _DISK_MIN_MB:
        return "WARN", f"{text}; expected at least {_DISK_MIN_MB} MiB free"
    return "ok", text


def _nearest_existing(folder: Path) -> Path:
    """Return ``folder`` or its nearest parent that exists.

    Raises:
        OSError: a folder on the path cannot be searched, or a link on it is broken.
    """
    for path in (folder, *folder.parents):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        os.stat(path)
        return path
    return Path("/")


def _open_lock(folder: Path) -> None:
    """Open the lock file of an earlier start as the daemon does; raise OSError on failure."""
    with contextlib.suppress(FileNotFoundError):  # the daemon has not run yet
        os.close(os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))


def _camera_stack(tuning: str | None) -> Line:
    """Import picamera2 in a child process, because its native code may crash; report the result."""
    code, answers = _run(_LOAD_STACK, *([tuning] if tuning else []))
    if code == EXIT_CONFIG and answers:
        return "WRONG", f"camera: {answers[-1]}"
    expected = 1 if tuning is None else 2
    if code == 0 and len(answers) == expected:
        loaded = f", source.tuning {tuning!r} can be loaded" if tuning else ""
        return "ok", (
            f"camera: picamera2 {answers[0]} can be imported{loaded}; no camera was opened:"
            " source.camera, sensor and focus are checked by 'affect-edge run'"
        )
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if code == 0:
        ending += " and without an answer"
    if answers and tuning:
        return "WRONG", (
            f"camera: loading source.tuning {tuning!r} ended with {ending}; expected a tuning"
            " file of libcamera"
        )
    return "WRONG", (
        f"camera: importing picamera2 ended with {ending}; expected the system's picamera2:"
        " run 'sudo apt install --reinstall python3-picamera2 python3-libcamera'"
    )


def _run(program: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a Python program; return its exit code and answers. A timeout counts as SIGKILL."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _DEFINE_ANSWER + program, *arguments],
            capture_output=True, text=True, errors="replace", timeout=_IMPORT_S, check=False,
            env=child_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, []
    lines = done.stdout.splitlines()
    return done.returncode, [
        line.removeprefix(_ANSWER_PREFIX) for line in lines if line.startswith(_ANSWER_PREFIX)
    ]
