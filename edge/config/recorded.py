"""What is recorded of a run's conditions: the configuration without secrets, and versions."""

import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import PurePath
from typing import Any, Final

from edge import __version__
from edge.config.redact import redact
from edge.config.schema import Config
from edge.config.sources import ImagesSource, VideoSource

_PACKAGES: Final = {
    "numpy": ("numpy",),
    # one of these; they hold the same module
    "opencv": ("opencv-python-headless", "opencv-contrib-python-headless", "opencv-python"),
    "onnxruntime": ("onnxruntime",),
    "litert": ("ai-edge-litert", "tflite-runtime"),
    "pyzmq": ("pyzmq",),
    "pydantic": ("pydantic",),
}
"""Name in the record -> distributions that may provide it."""

_SECRET: Final = re.compile(r"secret|token|password", re.IGNORECASE)
_HIDDEN: Final = "..."


def recorded_config(config: Config) -> dict[str, Any]:
    """Return the whole configuration in force, without secrets.

    Of a camera's address only scheme, host and port stay, and of the path to recordings only the
    last name: folders are often named after people. Keys, tokens and passwords are never part of
    it.
    """
    recorded: dict[str, Any] = _without_secrets(config.model_dump(mode="json"))
    if isinstance(config.source, VideoSource | ImagesSource):
        recorded["source"]["path"] = PurePath(config.source.path).name
    return recorded


def versions() -> dict[str, str]:
    """Return the versions of what computes and sends the results; without what is not installed."""
    found = {
        "affect-edge": __version__,
        "python": platform.python_version(),
        "kernel": f"{platform.release()} {platform.machine()}",
    }
    for name, distributions in _PACKAGES.items():
        version = _first_version(distributions)
        if version:
            found[name] = version
    return found


def _first_version(distributions: Iterable[str]) -> str:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _HIDDEN if _SECRET.search(key) and each else _without_secrets(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return redact(value) if isinstance(value, str) else value
