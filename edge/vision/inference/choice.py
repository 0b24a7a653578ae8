"""``auto``: the artifact that is fastest on this board, measured once and remembered.

Which runtime and precision wins differs from board to board, and no table made elsewhere can tell.
So the artifacts that passed parity are run a few times, in turns, and the choice is written down
under the hashes of the files, the board, the runtimes' versions, ours (runtimes are told how to
run) and the threads: where any of these changes, it is measured again. What is written down is
advice, never trusted: it can only name an artifact that could be chosen anyhow.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, Final

from edge import __version__
from edge.clock import elapsed_ms, monotonic_ns
from edge.vision.inference.manifest import Artifact

_FILE: Final = "artifact-choices.json"
_FILE_BYTES_MAX: Final = 1 << 18
_CHOICES_MAX: Final = 64  # kept in the file, the newest; a board has a handful
_ROUNDS: Final = 15
_ROUNDS_MIN: Final = 3
_BUDGET_MS: Final = 2000.0
"""Time after which no round is begun: three networks start well within ``limits.start_s``."""
_GAIN: Final = 0.05
"""Share by which a later artifact must be faster than an earlier one: below, it is chance."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

_PACKAGES: Final = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy")

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen here, and what a run of each artifact took, milliseconds.

    ``measured`` is the day (UTC) on which that was, such as "2026-11-27"; empty where not known.
    """

    artifact: str
    run_ms: Mapping[str, float]
    measured: str = ""


def measure(runs: Mapping[str, Run]) -> dict[str, float]:
    """Return the median milliseconds of each call, made in turns after one uncounted each.

    Calls that the budget of time does not reach are left out; the first never is.
    """
    begun_ns = monotonic_ns()
    took_ms: dict[str, list[float]] = {}
    for name, run in runs.items():
        if took_ms and elapsed_ms(begun_ns) > _BUDGET_MS:
            break
        run()
        took_ms[name] = []
    for done in range(_ROUNDS):
        if done >= _ROUNDS_MIN and elapsed_ms(begun_ns) > _BUDGET_MS:
            break
        for name, times in took_ms.items():
            if not times or elapsed_ms(begun_ns) < 2 * _BUDGET_MS:
                started_ns = monotonic_ns()
                runs[name]()
                times.append(elapsed_ms(started_ns))
    return {name: median(times) for name, times in took_ms.items()}


def fastest(run_ms: Mapping[str, float]) -> str:
    """Return the name with the least time; an earlier one where the gain is chance."""
    best = ""
    for name, took_ms in run_ms.items():
        if not best or took_ms < (1 - _GAIN) * run_ms[best]:
            best = name
    return best


def load_choice(key: str, state_dir: Path | None, files: Sequence[str]) -> Choice | None:
    """Return the choice under ``key``, where it names one of ``files``; None where there is none.

    A file that is missing, cut off, or not ours is the same as none.
    """
    folder = choices_folder(state_dir)
    data = _read(folder) if folder else {}
    known = data.get(key)
    if not isinstance(known, dict) or known.get("artifact") not in files:
        return None
    times = known.get("run_ms")
    if not isinstance(times, dict) or not all(
        isinstance(value, float) and name in files for name, value in times.items()
    ):
        return None
    measured = known.get("measured")
    if not isinstance(measured, str) or not _DAY.fullmatch(measured):
        measured = ""  # written by an earlier version
    return Choice(known["artifact"], times, measured)


def save_choice(key: str, state_dir: Path | None, choice: Choice) -> None:
    """Write ``choice`` down under ``key``; where nothing can be written, nothing is.

    The daemon's own folder is not made here: it belongs to whom the journal makes it for.
    """
    folder = choices_folder(state_dir)
    if folder is None:
        return
    kept = {name: value for name, value in _read(folder).items() if name != key}
    data = dict(list(kept.items())[-(_CHOICES_MAX - 1) :])
    data[key] = {
        "artifact": choice.artifact,
        "run_ms": dict(choice.run_ms),
        "measured": choice.measured,
    }
    with contextlib.suppress(OSError):
        if not state_dir:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{_FILE}-", dir=folder)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
            os.replace(name, folder / _FILE)
        except OSError:
            os.unlink(name)
            raise


def choice_key(artifacts: Sequence[Artifact], threads: int) -> str:
    """Return what a choice among ``artifacts`` holds for: their bytes, this board, its software."""
    told = [
        *(f"{each.file} {each.sha256}" for each in artifacts),
        board_name(),
        platform.machine(),
        str(os.cpu_count()),
        f"threads {threads}",
        *(f"{package} {version}" for package, version in runtime_versions().items()),
        f"affect-edge {__version__}",  # what runtimes are asked for comes with a release
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def choices_folder(state_dir: Path | None) -> Path | None:
    """Return where choices are kept; None where this user has no place of the kind.

    ``state_dir`` (the daemon's ``journal.path``), else the service manager's ``STATE_DIRECTORY``,
    else the user's cache.
    """
    managed = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state_dir or managed:
        return state_dir or Path(managed)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return Path(cache) / "affect-edge"
    try:
        return Path.home() / ".cache" / "affect-edge"
    except RuntimeError:  # a user without a home
        return None


def board_name() -> str:
    """Return what this board calls itself: its model, else its processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text("utf-8", "replace").strip("\0\n ")
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def runtime_versions() -> dict[str, str | None]:
    """Return the versions of what runs networks here; None where it is not installed."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _read(folder: Path) -> dict[str, Any]:
    try:
        with (folder / _FILE).open("rb") as file:
            data = json.loads(file.read(_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
