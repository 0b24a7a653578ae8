"""Analyses that are killed again and again, on one machine and on a Dask cluster."""

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.analyses import analyse, kill_after, make_recordings, start, tree
from tests.support.dask_cluster import cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stage, pytest.mark.timeout(1800)]

KILLS = 12


def test_ten_recordings_killed_at_random_end_with_the_same_bytes(tmp_path):
    recordings = make_recordings(tmp_path / "in", 10, frames=60)
    code, text = analyse(recordings, "--out", tmp_path / "undisturbed", limit_s=900)
    assert code == 0, text
    arguments = (recordings, "--out", tmp_path / "killed")
    rng = random.Random(19)
    kills = sum(not kill_after(arguments, rng.uniform(1.0, 12.0)) for _ in range(KILLS))
    code, text = analyse(*arguments, limit_s=900)
    assert code == 0, text
    assert tree(tmp_path / "killed") == tree(tmp_path / "undisturbed")
    print(f"killed {kills} of {KILLS} runs over 10 recordings: all files are equal")


def test_one_worker_is_killed_and_the_results_are_those_of_one_machine(tmp_path):
    recordings = make_recordings(tmp_path / "in", 4)
    code, text = analyse(recordings, "--out", tmp_path / "one", limit_s=600)
    assert code == 0, text
    out = tmp_path / "many"
    with cluster(tmp_path / "dask", 2) as (address, workers):
        process = start(recordings, "--out", out, "--scheduler", address)
        wait_until(lambda: list(out.glob(".r*.part")), 90)
        part = next(out.glob(".r*.part"))
        victim = parent_of(int(part.name.split(".")[2].split("-")[0]))
        assert victim in [worker.pid for worker in workers]
        os.kill(victim, signal.SIGKILL)
        text = process.communicate(timeout=600)[1]
        assert process.returncode == 0, text
    assert tree(out) == tree(tmp_path / "one")


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
