"""``auto``: chooses the fastest artifact on this board, by measuring once and saving the result.

The fastest runtime and precision differ between boards. The artifacts that passed parity are
therefore run a few times, alternately, and the choice is saved in a file. What counts is processor
time: on a busy machine, the time that passes measures the others' work. Where a network may use
several threads (``edge.vision.inference.threads``), the chosen artifact is then run with each
number of them, and the time that passes counts, as that is what threads are for.

The key is a hash of the artifacts' hashes, the board, the versions of the runtimes and of this
program (which configures the runtimes) and the number of threads: if any of these changes, ``auto``
measures again. The file is not trusted: a choice is used only if it may be made.
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
from typing import Any, Final, NamedTuple, TypeVar

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
_THREADS_GAIN: Final = 0.2
"""Fraction of the time that more threads must save: less is not worth a core, nor its heat."""
_THREADS_COST: Final = 1.3
"""Largest processor time with several threads, relative to one: threads that wait for one another
in a loop would take a core from other programs."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

_PACKAGES: Final = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy")

Run = Callable[[], object]
Key = TypeVar("Key", str, int)


class Took(NamedTuple):
    """What a run took, milliseconds: time that passed, and processor time of all threads."""

    passed_ms: float
    processor_ms: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and what a run took with each possibility.

    Attributes:
        chosen: file name of an artifact, or number of threads.
        run_ms: each possibility -> median milliseconds of a run: processor time of all threads
            together where artifacts are compared, time that passed where threads are.
        measured: day (UTC) of the measurement, such as "2026-11-27"; empty if unknown.
    """

    chosen: str
    run_ms: Mapping[str, float]
    measured: str = ""


def measure(runs: Mapping[Key, Run]) -> dict[Key, Took]:
    """Return the medians of what each call took.

    Each call is made once without being counted, then all are made alternately. Calls that the
    budget of time that passes does not reach are left out; the first one never is.
    """
    start_ns = monotonic_ns()
    took: dict[Key, list[Took]] = {}
    for name, run in runs.items():
        if took and elapsed_ms(start_ns) > _BUDGET_MS:
            break
        run()
        took[name] = []
    for finished in range(_ROUNDS):
        if finished >= _ROUNDS_MIN and elapsed_ms(start_ns) > _BUDGET_MS:
            break
        for name, times in took.items():
            if not times or elapsed_ms(start_ns) < 2 * _BUDGET_MS:
                passed_ns, run_start_ns = monotonic_ns(), processor_ns()
                runs[name]()
                processor_ms = (processor_ns() - run_start_ns) / 1e6
                times.append(Took(elapsed_ms(passed_ns), processor_ms))
    return {
        name: Took(
            median(each.passed_ms for each in times), median(each.processor_ms for each in times)
        )
        for name, times in took.items()
    }


def fastest(run_ms: Mapping[str, float]) -> str:
    """Return the name with the shortest time; of nearly equal ones, the first."""
    best = ""
    for name, took_ms in run_ms.items():
        if not best or took_ms < (1 - _GAIN) * run_ms[best]:
            best = name
    return best


def best_threads(took: Mapping[int, Took]) -> int:
    """Return the number of threads with which a run is fastest, one unless more save enough.

    Args:
        took: number of threads, 1 included -> what a run took.
    """
    best = 1
    for threads in sorted(took):
        saves = took[threads].passed_ms < (1 - _THREADS_GAIN) * took[best].passed_ms
        if saves and took[threads].processor_ms < _THREADS_COST * took[1].processor_ms:
            best = threads
    return best


def load_choice(key: str, state_dir: Path | None, choices: Sequence[str]) -> Choice | None:
    """Return the choice saved under ``key``; None if there is none that is one of ``choices``.

    A file that is missing, truncated or of another format counts as none.
    """
    folder = choices_folder(state_dir)
    data = _load_file(folder) if folder else {}
    known = data.get(key)
    if not isinstance(known, dict) or known.get("chosen") not in choices:
        return None
    times = known.get("run_ms")
    if not isinstance(times, dict) or not all(
        isinstance(value, float) and name in choices for name, value in times.items()
    ):
        return None
    measured = known.get("measured")
    if not isinstance(measured, str) or not _DAY.fullmatch(measured):
        measured = ""  # saved by an earlier version
    return Choice(known["chosen"], times, measured)


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
        "chosen": choice.chosen,
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


def artifact_key(artifacts: Sequence[Artifact], threads: int) -> str:
    """Return the key of the choice among ``artifacts`` that run with so many threads."""
    # earlier choices were by the time that passed
    return _key(artifacts, f"threads {threads}", "processor time")


def threads_key(artifact: Artifact, most: int) -> str:
    """Return the key of the choice of up to ``most`` threads for ``artifact``."""
    return _key([artifact], f"up to {most} threads")


def _key(artifacts: Sequence[Artifact], *what: str) -> str:
    """Return a hash of what may be chosen, of the board, and of the software's versions."""
    parts = [
        *(f"{each.file} {each.sha256}" for each in artifacts),
        board_name(),
        platform.machine(),
        str(os.cpu_count()),
        *what,
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
