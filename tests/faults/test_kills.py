"""Daemons and loggers of all formats and PostgreSQL, killed at random with SIGKILL.

Environment variables: ``KILLS`` (1000), ``KILLS_RATE_HZ`` (30, of each of two daemons),
``KILLS_EVERY_S`` (0.5, mean time between two kills), ``KILLS_SEED``.
"""

import json
import os
import time

import pytest

from tests.support.killed_system import killed_system
from tests.support.postgres import running_server

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("KILLS", "1000"))
RATE_HZ = float(os.environ.get("KILLS_RATE_HZ", "30"))
EVERY_S = float(os.environ.get("KILLS_EVERY_S", "0.5"))
SEED = int(os.environ.get("KILLS_SEED", str(time.time_ns() % 10**6)))


def test_after_kills_of_daemons_and_loggers_every_log_has_every_message_once() -> None:
    with running_server() as server, killed_system(server.new_database(), RATE_HZ) as system:
        start_s = time.monotonic()
        system.kill_at_random(KILLS, every_s=EVERY_S, seed=SEED)
        elapsed_s = time.monotonic() - start_s
        found = system.missing_and_repeated()
        figures = {"seed": SEED, "seconds": round(elapsed_s), "kills": system.kills, "logs": found}
    print(json.dumps(figures, indent=2))
    for each in found.values():
        assert (each["missing"], each.get("repeated", 0)) == (0, 0)
