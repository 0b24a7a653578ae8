"""SIGTERM in each state: a clean stop. Hundreds of trials: ``tests/faults/test_stops.py``."""

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

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
