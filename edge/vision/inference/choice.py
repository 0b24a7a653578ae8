"""``auto``: chooses the fastest artifact on this board, by measuring once and saving the result.

The fastest runtime and precision differ between boards. The artifacts that passed parity are
therefore run a few times, alternately, and the choice is saved in a file. What counts is processor
time: on a busy machine, the time that passes measures the others' work. The key is a hash of the
artifacts' hashes, the board, the versions of the runtimes and of this program (which configures the
runtimes) and the number of threads: if any of these changes, ``auto`` measures again. The file is
not trusted: a choice is used only if it names an artifact that may be chosen.
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
from edge.clock import elapsed_ms, monotonic_ns, processor_ns
from edge.vision.inference.manifest import Artifact

_FILE: Final = "artifact-choices.json"
_FILE_BYTES_MAX: Final = 1 << 18
_CHOICES_MAX: Final = 64  # newest choices kept in the file; a board has a handful
_ROUNDS: Final = 15
_ROUNDS_MIN: Final = 3
_BUDGET_MS: Final = 2000.0
"""Time after which no further round starts: three networks start well within ``limits.start_s``."""
_GAIN: Final = 0.05
"""Fraction by which a later artifact must be faster than an earlier one: less may be noise."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

_PACKAGES: Final = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy")

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen artifact, and the processor time of a run of each one.

    Attributes:
        artifact: file name of the chosen artifact.
        run_ms: file name -> median processor time of a run, all threads together, milliseconds.
        measured: day (UTC) of the measurement, such as "2026-11-27"; empty if unknown.
    """

    artifact: str
    run_ms: Mapping[str, float]
    measured: str = ""


def measure(runs: Mapping[str, Run]) -> dict[str, float]:
    """Return the median processor time of each call, all threads together, milliseconds.

    Each call is made once without being counted, then all are made alternately. Calls that the
    budget of time that passes does not reach are left out; the first one never is.
    """
    start_ns = monotonic_ns()
    took_ms: dict[str, list[float]] = {}
    for name, run in runs.items():
        if took_ms and elapsed_ms(start_ns) > _BUDGET_MS:
            break
        run()
        took_ms[name] = []
    for finished in range(_ROUNDS):
        if finished >= _ROUNDS_MIN and elapsed_ms(start_ns) > _BUDGET_MS:
            break
        for name, times in took_ms.items():
            if not times or elapsed_ms(start_ns) < 2 * _BUDGET_MS:
                run_start_ns = processor_ns()
                runs[name]()
                times.append((processor_ns() - run_start_ns) / 1e6)
    return {name: median(times) for name, times in took_ms.items()}


def fastest(run_ms: Mapping[str, float]) -> str:
    """Return the name with the shortest time; of nearly equal ones, the first."""
    best = ""
    for name, took_ms in run_ms.items():
        if not best or took_ms < (1 - _GAIN) * run_ms[best]:
            best = name
    return best


def load_choice(key: str, state_dir: Path | None, files: Sequence[str]) -> Choice | None:
    """Return the choice saved under ``key``; None if there is none that names one of ``files``.

    A file that is missing, truncated or of another format counts as none.
    """
    folder = choices_folder(state_dir)
    data = _load_file(folder) if folder else {}
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
        measured = ""  # saved by an earlier version
    return Choice(known["artifact"], times, measured)


def save_choice(key: str, state_dir: Path | None, choice: Choice) -> None:
    """Save ``choice`` under ``key``; does nothing if the file cannot be written.

    ``state_dir`` is not created here: the hub creates it, with its own owner and mode.
    """
    folder = choices_folder(state_dir)
    if folder is None:
        return
    others = {name: value for name, value in _load_file(folder).items() if name != key}
    data = dict(list(others.items())[-(_CHOICES_MAX - 1) :])
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
    """Return the key of a choice: a hash of artifacts, board, software versions and threads."""
    parts = [
        *(f"{each.file} {each.sha256}" for each in artifacts),
        board_name(),
        platform.machine(),
        str(os.cpu_count()),
        f"threads {threads}",
        "processor time",  # earlier choices were by the time that passed
        *(f"{package} {version}" for package, version in runtime_versions().items()),
        f"affect-edge {__version__}",  # a release may configure the runtimes differently
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def choices_folder(state_dir: Path | None) -> Path | None:
    """Return the folder of the saved choices; None if this user has none.

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
    except RuntimeError:  # a user without a home folder
        return None


def board_name() -> str:
    """Return the model of this board from the device tree; else the name of its processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text("utf-8", "replace").strip("\0\n ")
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def runtime_versions() -> dict[str, str | None]:
    """Return the versions of the runtimes and NumPy; None if one is not installed."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _load_file(folder: Path) -> dict[str, Any]:
    try:
        with (folder / _FILE).open("rb") as file:
            data = json.loads(file.read(_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
