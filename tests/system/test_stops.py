"""SIGTERM in each state: a clean stop. Hundreds of trials: ``tests/faults/test_stops.py``."""

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.daemons import affect_edge
from tests.support.hooks import signal_at_import
from tests.support.stops import STATES, make_backlog, stop_in


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short name, for the sockets."""
    with TemporaryDirectory(prefix="affect-edge-stop-") as name:
        yield Path(name)


@pytest.mark.parametrize("state", STATES)
def test_a_stop_in_each_state_is_clean_and_the_journal_complete(folder: Path, state: str) -> None:
    backlog = make_backlog(folder) if state == "fetching" else folder
    trial = folder / "trial"
    trial.mkdir()
    stop_in(state, trial, backlog, random.Random(4))


@pytest.mark.parametrize(
    ("command", "module", "code"),
    [
        (("run", "--source", "demo"), "edge.cli", 0),
        (("run", "--source", "demo"), "edge.hub.daemon", 0),
        (("tail",), "edge.cli", 0),
        (("version",), "edge.cli", 143),
    ],
)
def test_a_signal_within_a_callback_of_an_import_is_not_lost(
    tmp_path: Path, command: tuple[str, ...], module: str, code: int
) -> None:
    """Python ignored the SystemExit there, and the daemon ran on until it was killed."""
    done = affect_edge(*command, environment=signal_at_import(tmp_path, module))
    assert (done.returncode, done.stderr) == (code, "")
