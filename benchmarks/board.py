"""The conditions of a measurement: board, governor, throttling, versions, models, date."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from datetime import UTC, datetime  # noqa: TID251  (the date of a figure)
from pathlib import Path
from typing import Any

from edge import clock
from edge.board import Board
from edge.config import Config, DetectorConfig, ExpressionConfig, TranslatorConfig
from edge.vision.inference import open_network
from edge.vision.inference.choice import board_name
from edge.vision.inference.manifest import Task

NetworkConfig = DetectorConfig | TranslatorConfig | ExpressionConfig
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


def measurement_conditions(config: Config) -> dict[str, Any]:
    """Return machine, software, threads and model hashes; None for unknown values.

    Call it before measuring: afterwards the load would be the benchmark's own.

    Raises:
        ModelError: a configured network cannot be trusted.
    """
    networks: list[tuple[Task, NetworkConfig]] = [
        ("face-detection", config.detector),
        ("facial-expression", config.expression),
    ]
    if config.translator.model:
        networks.insert(1, ("spectrum-translation", config.translator))
    infos = [
        open_network(each.model, task=task, artifact=each.artifact).info for task, each in networks
    ]
    return {
        **machine(),
        "threads": {
            "detector": config.detector.threads,
            **({"translator": config.translator.threads} if config.translator.model else {}),
            "expression": config.expression.threads,
        },
        "models": {info.name: {info.artifact: info.sha256} for info in infos},
    }


def machine() -> dict[str, Any]:
    """Return the conditions without models: board, software, load, commit and time.

    Call it before measuring: afterwards the load would be the benchmark's own.
    """
    return {
        "board": board_name(),
        "cores": os.cpu_count(),
        "governor": _read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "throttled": Board().throttled(),
        "soc_celsius": Board().soc_celsius(),
        "load_1m": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
