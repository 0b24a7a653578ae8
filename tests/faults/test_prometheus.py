"""A real Prometheus scrapes a real daemon, and fires the alert of what happens to the board."""

import shutil
from pathlib import Path

import pytest

from tests.support.daemons import ROOT
from tests.support.known_board import TEMPERATURE, knowing_daemon, write
from tests.support.prometheus_server import running_prometheus
from tests.support.waiting import wait_until
from tests.test_prometheus import expressions


@pytest.mark.stage
def test_prometheus_fires_the_alert_of_a_hot_board(tmp_path: Path) -> None:
    alarms = ("--set", "alarms.board_s=1", "--set", "alarms.clear_s=1", "--set", "alarms.clock_s=0")
    with knowing_daemon(tmp_path, *alarms) as (daemon, metrics, board):
        text = (ROOT / "deploy/prometheus/prometheus.example.yml").read_text()
        text = text.replace("127.0.0.1:9108", f"127.0.0.1:{metrics}").replace("15s", "1s")
        shutil.copy(ROOT / "deploy/prometheus/affect-edge.rules.yml", tmp_path)
        with running_prometheus(tmp_path, text) as server:
            wait_until(lambda: server.value("up") == 1, 60)
            firing: set[str] = set()

            def fires(wanted: str) -> bool:
                daemon.receive(0.2)
                found = (server.query("alerts") or {"alerts": []})["alerts"]
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
                found = server.query("query", query=each.replace("[1m]", "[10s]"))
                if not found["result"]:
                    empty.append(each)
            # everything else has a value; a daemon in order has lost nothing, and nothing binds it
            none = ("_seq_gap_", "_schedule_bound")
            assert [each for each in empty if not any(name in each for name in none)] == []
