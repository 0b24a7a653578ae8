"""Daemons and a logger with a real PostgreSQL: each is killed, and every message is stored once."""

import random

from tests.support.fleet import running_fleet
from tests.support.postgres import running_server


def test_whatever_is_killed_every_message_is_stored_once() -> None:
    choose = random.Random(3)
    with running_server() as server, running_fleet(server.new_database(), 2, 30.0) as fleet:
        for what in ("daemon", "logger", "server", "daemon", "logger", "server"):
            fleet.daemons[0].newest()
            fleet.kill(what, choose)
        missing, stored = fleet.missing_and_stored()
    assert missing == 0
    assert stored > 30
