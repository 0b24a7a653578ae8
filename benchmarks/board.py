"""The conditions of a measurement: board, governor, throttling, versions, models, date.

``RunWatch`` looks at the machine during the measurement and says what makes its figures invalid.
"""

import importlib.metadata
import json
import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime  # noqa: TID251  (the date of a figure)
from pathlib import Path
from typing import Any, Final

from edge import clock
from edge.board import Board
from edge.config import Config, DetectorConfig, ExpressionConfig, MeshConfig, TranslatorConfig
from edge.vision.inference import Network, open_configured
from edge.vision.inference.choice import board_name
from edge.vision.inference.manifest import Task
from edge.vision.inference.threads import ONE_THREAD, MostThreads
from edge.vision.regions import region_detector

NetworkConfig = DetectorConfig | TranslatorConfig | ExpressionConfig | MeshConfig
BUSY_PERCENT = 25
"""Of one core, used by other processes: more makes figures invalid."""

FREQUENCY_SHARE_MIN = 0.9
"""Lowest clock frequency during a run, relative to its highest."""

SAMPLE_EVERY_MS = 500.0

_PACKAGES = ("affect-edge", "numpy", "opencv-python-headless", "onnxruntime", "ai-edge-litert")


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None  # installed: a checkout that contains the installation is another program's
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    return done.stdout.strip() or None


class RunWatch:
    """Watches load, throttling, temperature and clock frequency during a measurement.

    Call ``sample`` between measured frames: it reads the sensors twice a second at most. A pause
    of the measurement itself (a child that works) counts as this process's work, not as load.
    """

    def __init__(self, board: Board | None = None) -> None:
        self._board = board or Board()
        self._load = OtherLoad()
        self._throttled: dict[str, None] = {}  # in order
        self._celsius: list[float] = []
        self._mhz: list[float] = []
        self._highest_mhz: float | None = None
        self._sampled_ns: int | None = None

    def sample(self) -> None:
        """Read the sensors, if the last time was half a second ago or more."""
        if self._sampled_ns is not None and clock.elapsed_ms(self._sampled_ns) < SAMPLE_EVERY_MS:
            return
        self._throttled |= dict.fromkeys(self._board.throttled() or ())
        celsius = self._board.soc_celsius()
        if celsius is not None:
            self._celsius.append(celsius)
        # the processor that runs this thread is the one that measures
        frequency = self._board.frequency_mhz(current_cpu())
        if frequency is not None:
            self._mhz.append(frequency[0])
            self._highest_mhz = frequency[1]
        self._sampled_ns = clock.monotonic_ns()

    def facts(self) -> dict[str, Any]:
        """Return load and sensors since construction, and under ``invalid`` the reasons, if any.

        Call it after waiting for the children.
        """
        self._sampled_ns = None
        self.sample()
        others = self._load.percent()
        invalid = busy_reasons(others)
        if self._throttled:
            invalid.append(f"the board was throttled during the run: {', '.join(self._throttled)}")
        low, high = min(self._mhz, default=None), max(self._mhz, default=None)
        if low is not None and high is not None and self._highest_mhz is not None:
            if low < FREQUENCY_SHARE_MIN * high:
                invalid.append(f"the clock changed between {low:.0f} and {high:.0f} MHz")
            elif self._board.governor() == "powersave" and high < 0.9 * self._highest_mhz:
                invalid.append(
                    f"the clock was at {high:.0f} of {self._highest_mhz:.0f} MHz (governor"
                    " powersave)"
                )
        return {
            "other_cpu_percent": others,
            "throttled_during": list(self._throttled),
            "soc_celsius_max": max(self._celsius, default=None),
            "mhz": None if low is None else {"min": low, "max": high, "of": self._highest_mhz},
            "invalid": invalid,
        }


def busy_reasons(other_cpu_percent: float) -> list[str]:
    """Return why the load by other processes makes figures invalid: one reason, or none."""
    if other_cpu_percent <= BUSY_PERCENT:
        return []
    return [
        f"the machine was busy: other processes used {other_cpu_percent:.0f} % of a core,"
        f" expected {BUSY_PERCENT} at most"
    ]


def current_cpu() -> int:
    """Return the number of the processor on which this process last ran; 0 when unknown."""
    stat = _read_text("/proc/self/stat") or ""
    fields = stat.rpartition(")")[2].split()  # proc(5), from the third field on; the 39th counts
    return int(fields[36]) if len(fields) > 36 else 0


class OtherLoad:
    """CPU time that other processes use; this process and its children do not count."""

    def __init__(self) -> None:
        self._start_ns = clock.monotonic_ns()
        self._start_busy_s = _machine_cpu_s() - _own_cpu_s()

    def percent(self) -> float:
        """Return the use since construction, in percent of one core, stolen time included.

        Call it after waiting for the children.
        """
        others_s = _machine_cpu_s() - _own_cpu_s() - self._start_busy_s
        return max(0.0, 1e5 * others_s / clock.elapsed_ms(self._start_ns))


def _machine_cpu_s() -> float:
    # proc(5): user nice system idle iowait irq softirq steal, in ticks, all cores together
    ticks = [int(field) for field in Path("/proc/stat").read_text("ascii").split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own_cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measurement_conditions(
    config: Config, most_threads: MostThreads = ONE_THREAD
) -> dict[str, Any]:
    """Return machine, software, threads and model hashes; None for unknown values.

    Call it before measuring: afterwards the load would be the benchmark's own.

    Args:
        config: what is measured.
        most_threads: of networks whose ``threads`` are ``auto``.

    Raises:
        ModelError: a configured network cannot be trusted.
    """
    networks = [(key, network.info) for key, network in _networks(config, most_threads)]
    return {
        **machine(),
        "threads": {_ROLES[key]: info.threads for key, info in networks},
        "models": {info.name: {info.artifact: info.sha256} for _, info in networks},
    }


def artifact_settings(config: Config) -> list[str]:
    """Return settings of the command line that name the artifacts that ``auto`` chooses here.

    Raises:
        ModelError: a configured network cannot be trusted.
    """
    return [f"{key}={json.dumps(network.info.artifact)}" for key, network in _networks(config)]


_ROLES: Final = {
    "detector.artifact": "detector",
    "detector.region_artifact": "region_detector",
    "translator.artifact": "translator",
    "expression.artifact": "expression",
    "mesh.artifact": "mesh",
}
"""Key of a network's artifact -> role of the network."""


def _networks(
    config: Config, most_threads: MostThreads = ONE_THREAD
) -> Iterator[tuple[str, Network]]:
    """Yield the configured networks with the keys of their artifacts, in the order of use."""
    networks: list[tuple[str, Task, NetworkConfig]] = [
        ("detector.artifact", "face-detection", config.detector),
        ("detector.region_artifact", "face-detection", region_detector(config.detector)),
        ("translator.artifact", "spectrum-translation", config.translator),
        ("expression.artifact", "facial-expression", config.expression),
        ("mesh.artifact", "face-mesh", config.mesh),
    ]
    for key, task, each in networks:
        if each.model and (task != "face-mesh" or config.mesh.enabled):
            yield key, open_configured(each, task, None, most_threads)


def machine() -> dict[str, Any]:
    """Return the conditions without models: board, software, load, commit and time.

    Call it before measuring: afterwards the load would be the benchmark's own.
    """
    return {
        "board": board_name(),
        "cores": os.cpu_count(),
        "governor": Board().governor(),
        "throttled": Board().throttled(),
        "soc_celsius": Board().soc_celsius(),
        "memory_mb": Board().memory_mb(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "load_1m": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
