"""A real Prometheus scrapes a real daemon, and fires the alert of what happens to the board."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import ROOT
from tests.support.known_board import TEMPERATURE, knowing_daemon, write
from tests.support.ports import free_port
from tests.support.postgres import require
from tests.support.waiting import wait_until
from tests.test_prometheus import expressions


def query(port: int, path: str, **parameters: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]
    except OSError:
        return None  # it starts


@pytest.mark.stage
def test_prometheus_fires_the_alert_of_a_hot_board(tmp_path: Path) -> None:
    program = shutil.which("prometheus")  # of Debian's package prometheus
    require("promtool", program)
    assert program is not None
    port = free_port()
    alarms = ("--set", "alarms.board_s=1", "--set", "alarms.clear_s=1", "--set", "alarms.clock_s=0")
    with knowing_daemon(tmp_path, *alarms) as (daemon, metrics, board):
        text = (ROOT / "deploy/prometheus/prometheus.example.yml").read_text()
        text = text.replace("127.0.0.1:9108", f"127.0.0.1:{metrics}").replace("15s", "1s")
        (tmp_path / "prometheus.yml").write_text(text)
        shutil.copy(ROOT / "deploy/prometheus/affect-edge.rules.yml", tmp_path)
        with (tmp_path / "prometheus.log").open("wb") as log:
            prometheus = subprocess.Popen(
                [
                    program,
                    f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: (query(port, "query", query="up == 1") or {}).get("result"), 60)
            firing: set[str] = set()

            def fires(wanted: str) -> bool:
                daemon.receive(0.2)
                found = (query(port, "alerts") or {"alerts": []})["alerts"]
                firing.clear()
                firing.update(
                    each["labels"]["alertname"] + each["labels"].get("rule", "")
                    for each in found
                    if each["state"] == "firing"
                )
                return wanted in firing

            assert not fires("AffectEdgeAlarmboard")
            write(board, TEMPERATURE, "86000\n")
            wait_until(lambda: fires("AffectEdgeAlarmboard"), 60)
            write(board, TEMPERATURE, "50000\n")
            wait_until(lambda: not fires("AffectEdgeAlarmboard"), 120)
            empty = []
            for each in expressions():
                found = query(port, "query", query=each.replace("[1m]", "[10s]"))
                if not found["result"]:
                    empty.append(each)
            # everything else has a value; a daemon in order has lost nothing
            assert [each for each in empty if "_seq_gap_" not in each] == []
        finally:
            prometheus.terminate()
            prometheus.wait(20)
