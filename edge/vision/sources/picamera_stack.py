"""Imports picamera2 and libcamera, which Raspberry Pi OS provides, and no package index.

The import can fail in many ways (not installed, built for another NumPy or Python, a missing shared
library), and older versions lack functions that the camera source needs. Each failure becomes a
``ConfigError`` with the remedy.
"""

import inspect
import logging
import os
import re
import sys
import traceback
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath
from typing import Any

from edge.errors import ConfigError

OLDEST_VERSION = (0, 3, 21)
"""The oldest picamera2 that is tested; 0.3.20 brought ``cancel_all_and_flush``."""

_PREFIX = 'source.kind "picamera": '
_INSTALL = (
    "run 'sudo apt install --no-install-recommends python3-picamera2' and make the environment with"
    " '/usr/bin/python3 -m venv --system-site-packages'"
)
_SYSTEM_PREFIX = "/usr"  # of the system's Python, the only one that finds apt's packages
_UPGRADE = "run 'sudo apt update' and 'sudo apt full-upgrade'"
_SIMPLEJPEG = "run \"pip install 'simplejpeg>=1.9'\" in the environment of affect-edge"


@dataclass(frozen=True, slots=True)
class CameraStack:
    """The imported modules.

    Attributes:
        libcamera: the module.
        picamera2: the module.
        picamera2_version: the installed version, such as "0.3.31"; "unknown" without metadata.
    """

    libcamera: Any
    picamera2: Any
    picamera2_version: str


def load_stack() -> CameraStack:
    """Import libcamera and picamera2; return the modules and the version.

    Opens no camera. May be called again: Python caches imports. Any thread.

    Raises:
        ConfigError: one of them cannot be imported, or picamera2 is too old.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    # it also raises what it logs as an error: a busy camera would flood the log
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)
    try:
        import libcamera  # noqa: PLC0415
        import picamera2  # noqa: PLC0415
    except (Exception, SystemExit) as error:  # an import may raise anything
        raise ConfigError(_PREFIX + _import_failure(error)) from error
    version = _installed_version()
    if missing := _missing_features(picamera2, version):
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ConfigError(
            f"{_PREFIX}picamera2 {version} {missing}; expected picamera2 {oldest} or newer:"
            f" {_UPGRADE}"
        )
    return CameraStack(libcamera, picamera2, version)


def _import_failure(error: Exception | SystemExit) -> str:
    """Return the failure of the import and the remedy, in one line."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return f"{text}; expected the system's picamera2: {_INSTALL}{_foreign_python()}"
    module = _failing_module(error)
    found = f"importing {module} raised {type(error).__name__}: {text}"
    if module == "simplejpeg" or "numpy" in text.lower():
        # apt's simplejpeg is built for NumPy 1, but the environment has NumPy 2
        return f"{found}; expected packages that are built for the installed NumPy: {_SIMPLEJPEG}"
    return (
        f"{found}; expected the system's picamera2, built for this Python:"
        f" {_INSTALL}{_foreign_python()}"
    )


def _foreign_python() -> str:
    """Return the end of a message that names this Python's prefix; empty for the system's."""
    if sys.base_prefix == _SYSTEM_PREFIX:
        return ""
    return f" (this environment comes from {sys.base_prefix}; expected /usr/bin/python3)"


def _failing_module(error: BaseException) -> str:
    """Return the name of the package whose code raised the error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = PurePath(frame.filename).parts
        for folder in ("site-packages", "dist-packages"):
            if folder in parts[:-1]:
                return PurePath(parts[parts.index(folder) + 1]).stem
    name = getattr(error, "name", None)
    return str(name).partition(".")[0] if name else "picamera2"


def _installed_version() -> str:
    try:
        return metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        return "unknown"


def _missing_features(picamera2: Any, version: str) -> str | None:
    """Return why this picamera2 cannot be used, as the end of a sentence; None if it can."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    if numbers and numbers < OLDEST_VERSION:
        return "is too old"
    try:
        from picamera2 import job  # noqa: PLC0415

        needed = (
            hasattr(picamera2.Picamera2, "cancel_all_and_flush"),
            "timeout" in inspect.signature(job.Job.get_result).parameters,
            "write" in inspect.signature(picamera2.MappedArray.__init__).parameters,
        )
    except (ImportError, AttributeError) as error:
        return f"is not complete ({error})"
    return None if all(needed) else "lacks functions of later versions"
