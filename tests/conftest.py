"""Fixtures of all tests: the folder of NIR photographs, and a clean environment."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Without a deadline: on a fresh machine the first text takes seconds, because Hypothesis builds its
# table of characters. Speed is measured in benchmarks.
settings.register_profile("any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def nir_faces() -> Path:
    """The folder of real NIR photographs, which are not part of the project."""
    named = os.environ.get("AFFECT_EDGE_NIR_FACES")
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "nir-faces"
    if not (folder / "images").is_dir():
        pytest.skip(f"no NIR photographs at {folder} (set AFFECT_EDGE_NIR_FACES)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _default_stop_signals() -> None:
    """Let child processes receive SIGHUP and SIGINT.

    Under ``nohup`` or in the background of a script they are ignored, and children inherit that.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restored_stop_signals(_default_stop_signals: None) -> Iterator[None]:
    """Restore the handlers: a daemon that ran in this process ignores stop signals at its end."""
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    }
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the measurements of `auto` out of the user's cache; share them between tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("STATE_DIRECTORY", None)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AFFECT_EDGE__"):
            monkeypatch.delenv(name)
