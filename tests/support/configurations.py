"""Loads configurations without the variables of this process."""

from pathlib import Path
from typing import Any

from edge.config import Config, load_config


def load(text: str = "", tmp: Path | None = None, **more: Any) -> Config:
    """Return the configuration of a file ``text`` in ``tmp``; without one, of ``more`` alone."""
    path = None
    if tmp is not None:
        path = tmp / "edge.toml"
        path.write_text(text)
    return load_config(path, environment=more.pop("environment", {}), **more)
