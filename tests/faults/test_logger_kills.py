"""Many loggers of each format that are killed, or lose their power.

``AFFECT_EDGE_KILLS`` is how many are killed (250), ``AFFECT_EDGE_CUTS`` how many lose power (100).
"""

import os
import subprocess
import sys

import pytest

from tests.client.logs.test_kills import NAMES, kill_loggers
from tests.support.killed_erasure import kill_erasures

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("name", NAMES)
def test_after_many_kills_every_message_is_logged_once(tmp_path, name):
    kill_loggers(tmp_path / name, kills=int(os.environ.get("AFFECT_EDGE_KILLS", "250")))


@pytest.mark.parametrize("name", NAMES)
def test_an_erasure_that_is_killed_at_any_step_is_completed(tmp_path, name):
    (tmp_path / "of-the-log").mkdir()
    print(f"{name}: {kill_erasures(tmp_path / 'of-the-log' / name, every=1)} kills")


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
@pytest.mark.parametrize("name", NAMES)
def test_after_power_cuts_every_message_is_logged_once(tmp_path, name):
    """Nothing is acknowledged before it would survive a power cut."""
    cuts = os.environ.get("AFFECT_EDGE_CUTS", "100")
    command = [sys.executable, "-m", "tests.faults.logger_power_cuts", name, cuts]
    command.append(str(tmp_path / "noted"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout, end="")
