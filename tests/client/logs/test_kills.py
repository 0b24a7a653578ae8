"""Loggers that are killed: every message is in the log exactly once."""

import subprocess
import sys

import pytest

from tests.support.kill_loop import check_complete

NAMES = ["log.sqlite", "log.csv", "log.jsonl", "log.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_after_kills_every_message_is_logged_once(tmp_path, name):
    kill_loggers(tmp_path / name, kills=6 if name == "log.parquet" else 12)


def kill_loggers(out, kills):
    command = [sys.executable, "-m", "tests.support.kill_loop", str(out), str(kills), "1"]
    loop = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loop.returncode == 0, loop.stderr
    count = int(loop.stdout)
    check_complete(out, count)
    print(f"{out.name}: {kills} kills, {2 * count} messages, 0 missing, 0 twice")
