"""SIGTERM at a random moment of each state: a clean stop each time.

Environment variables: ``STOPS`` (300), ``STOPS_SEED``.
"""

import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.stops import STATES, Stopped, make_backlog, stop_in

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

STOPS = int(os.environ.get("STOPS", "300"))
SEED = int(os.environ.get("STOPS_SEED", str(time.time_ns() % 10**6)))


def test_a_stop_at_any_moment_is_clean_and_the_journal_complete() -> None:
    choose = random.Random(SEED)
    # without root there is no disk to fill
    states = [state for state in STATES if state != "storage_full" or os.geteuid() == 0]
    stops: dict[str, list[Stopped]] = defaultdict(list)
    with TemporaryDirectory(prefix="affect-edge-backlog-") as made:
        backlog = make_backlog(Path(made))
        for number in range(STOPS):
            state = states[number % len(states)]
            with TemporaryDirectory(prefix="affect-edge-stop-") as folder:
                try:
                    stops[state].append(stop_in(state, Path(folder), backlog, choose))
                except AssertionError as error:
                    raise AssertionError(f"stop {number} of seed {SEED}, {state}") from error
    figures = {
        state: {
            "stops": len(done),
            "slowest_s": round(max(each.took_s for each in done), 2),
            "messages": sum(each.messages for each in done),
            "stored_by_the_next_start": sum(each.is_stored_later for each in done),
        }
        for state, done in stops.items()
    }
    print(json.dumps({"seed": SEED, **figures}, indent=2))
