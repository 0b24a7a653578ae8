"""What tests share: where the true NIR photographs are, and a fence around the environment."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def nir_faces() -> Path:
    """The folder of the true NIR photographs; they never enter the project."""
    named = os.environ.get("AFFECT_EDGE_NIR_FACES")
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "nir-faces"
    if not (folder / "images").is_dir():
        pytest.skip(f"no NIR photographs at {folder} (set AFFECT_EDGE_NIR_FACES)")
    return folder


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AFFECT_EDGE__"):
            monkeypatch.delenv(name)
