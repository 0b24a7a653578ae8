"""A logger that waits for the daemon: every message of the run is logged or counted as missing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.daemons import ROOT, affect_edge
from tests.support.waiting import HANG_S


def test_every_message_is_logged_or_missing(tmp_path: Path) -> None:
    endpoint, out = f"ipc://{tmp_path}/live", tmp_path / "log.jsonl"
    command = ["log", "--connect", endpoint, "--out", str(out), "--until-end"]
    with subprocess.Popen(
        [sys.executable, "-m", "edge", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as logger:
        assert logger.stderr is not None
        # after some seconds it connects only every few seconds
        while "nobody publishes" not in (line := logger.stderr.readline()):
            assert line, "the logger has ended"
        ran = affect_edge(
            *("run", "--source", "demo", "--set", f'publish.endpoint="{endpoint}"'),
            *("--set", 'metrics.address=""'),
        )
        assert ran.returncode == 0, ran.stderr
        summary = logger.stderr.read().splitlines()[-1]
        assert logger.wait(HANG_S) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    numbers = [record["seq"] for record in records if "seq" in record]
    (gap,) = [record for record in records if record["kind"] == "gap"]
    assert numbers[0] > 0, "the logger lost nothing: it cannot show what it counts"
    assert (gap["first_missing"], gap["last_missing"]) == (0, numbers[0] - 1)
    (ended,) = [record for record in records if record.get("event") == "epoch_ended"]
    assert len(numbers) + numbers[0] == ended["detail"]["messages"]
    assert f"1 gaps, {numbers[0]} missing" in summary
