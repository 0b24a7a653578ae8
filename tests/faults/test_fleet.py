"""Twenty daemons into one PostgreSQL for ten minutes, with everything killed at random.

Environment variables: ``FLEET_DAEMONS`` (20), ``FLEET_SECONDS`` (600), ``FLEET_RATE_HZ`` (5, of
each daemon), ``FLEET_KILL_S`` (3, mean time between two kills), ``FLEET_SEED``.
"""

import json
import os
import time

import pytest

from tests.support.fleet import running_fleet
from tests.support.postgres import running_server

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

DAEMONS = int(os.environ.get("FLEET_DAEMONS", "20"))
SECONDS = float(os.environ.get("FLEET_SECONDS", "600"))
RATE_HZ = float(os.environ.get("FLEET_RATE_HZ", "5"))
KILL_S = float(os.environ.get("FLEET_KILL_S", "3"))
SEED = int(os.environ.get("FLEET_SEED", str(time.time_ns() % 10**6)))


def test_a_fleet_whose_parts_are_killed_stores_every_message_once() -> None:
    with running_server() as server:
        grows = []
        for count in sorted({1, max(1, DAEMONS // 4), DAEMONS}):
            with running_fleet(server.new_database(), count, RATE_HZ) as fleet:
                fleet.missing_and_stored()  # the start has been caught up with
                grows.append(fleet.measure(min(30.0, SECONDS / 4)))
        with running_fleet(server.new_database(), DAEMONS, RATE_HZ) as fleet:
            fleet.kill_at_random(SECONDS, every_s=KILL_S, seed=SEED)
            missing, stored = fleet.missing_and_stored()
            kills = fleet.kills
    figures = {
        "seed": SEED,
        "rate_hz": RATE_HZ,
        "seconds": SECONDS,
        "kills": kills,
        "stored": stored,
        "missing": missing,
        "gb_per_day": round(grows[-1]["rows_per_s"] * grows[-1]["bytes_per_row"] * 86_400 / 1e9, 3),
        "without_kills": grows,
    }
    print(json.dumps(figures, indent=2))
    assert missing == 0
