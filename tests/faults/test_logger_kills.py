"""Many killed loggers of each format; ``AFFECT_EDGE_KILLS`` is how many (250)."""

import os

import pytest

from tests.client.logs.test_kills import NAMES, kill_loggers

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("name", NAMES)
def test_after_many_kills_every_message_is_logged_once(tmp_path, name):
    kill_loggers(tmp_path / name, kills=int(os.environ.get("AFFECT_EDGE_KILLS", "250")))
