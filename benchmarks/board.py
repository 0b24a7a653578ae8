"""On what a figure was measured: board, governor, throttling, versions, models, commit, date."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.hub.health import Board
from edge.models import find_model, load_manifest

_PACKAGES = ("affect-edge", "numpy", "opencv-python-headless", "onnxruntime", "ai-edge-litert")


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def _board_name() -> str:
    if model := _text("/proc/device-tree/model"):
        return model
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    return told.stdout.strip() or None


def circumstances(config: Config) -> dict[str, Any]:
    """Return everything that a figure is worth nothing without; None where it is unknown."""
    models = {}
    for name in (config.detector.model, config.expression.model):
        manifest = load_manifest(find_model(name))
        models[manifest.name] = {each.file: each.sha256 for each in manifest.artifacts}
    return {
        "board": _board_name(),
        "cores": os.cpu_count(),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "throttled": Board().throttled(),
        "soc_celsius": Board().soc_celsius(),
        "load_1m": os.getloadavg()[0],
        "threads": {
            "detector": config.detector.threads,
            "expression": config.expression.threads,
        },
        "versions": {
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
        "models": models,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
