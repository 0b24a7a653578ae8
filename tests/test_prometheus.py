"""The alert rules and the Grafana dashboard in ``deploy``: they fire, and name what exists."""

import json
import re
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemons import ROOT
from tests.support.known_board import knowing_daemon
from tests.support.postgres import require
from tests.support.waiting import HANG_S

FOLDER = ROOT / "deploy/prometheus"
RULES = FOLDER / "affect-edge.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/affect-edge.json"
SAME = 'device="chamber-1",instance="a:9108",job="affect-edge"'
RUNNING = f'affect_edge_source_state{{{SAME},state="running"}}'


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("promtool")  # of Debian's package prometheus
    require("promtool", program)
    assert program is not None
    command = [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def alerts() -> dict[str, dict[str, str]]:
    """Return severity, description and duration of each alert."""
    found = {}
    for block in RULES.read_text().split("- alert: ")[1:]:
        fields = dict(re.findall(r'(?m)^\s+(severity|description|for): "?(.*?)"?$', block))
        found[block.split()[0]] = fields
    return found


@dataclass(frozen=True)
class Case:
    """What fires an alert: series with a value each minute, and what becomes of the alert.

    Attributes:
        series: name with labels -> values, in promtool's notation.
        minutes: after which it must fire.
        summary: its text.
        labels: it has these, too.
        quiet: series that must not fire it.
    """

    series: dict[str, str]
    minutes: int
    summary: str
    quiet: dict[str, str]
    labels: dict[str, str]


def case(
    series: dict[str, str], minutes: int, summary: str, quiet: dict[str, str], **labels: str
) -> Case:
    return Case(series, minutes, f"chamber-1: {summary}", quiet, labels)


def gauge(name: str, **labels: str) -> str:
    more = "".join(f',{label}="{value}"' for label, value in labels.items())
    return f"affect_edge_{name}{{{SAME}{more}}}"


def bucket(seconds: str) -> str:
    return gauge("commit_seconds_bucket", le=seconds)


CASES = {
    "AffectEdgeDown": case(
        {f"up{{{SAME}}}": "0x20"}, 2, "the daemon does not answer", {f"up{{{SAME}}}": "1x20"}
    ),
    "AffectEdgeAlarm": case(
        {gauge("alarm_active", rule="not_read"): "2x20"},
        1,
        "2 alarm(s) of the rule not_read",
        {gauge("alarm_active", rule="not_read"): "0x20"},
        rule="not_read",
    ),
    "AffectEdgeNoResults": case(
        {gauge("last_result_age_seconds"): "40x20", RUNNING: "1x20"},
        2,
        "no result for 40s",
        {gauge("last_result_age_seconds"): "40x20", RUNNING: "0x20"},
    ),
    "AffectEdgeSourceDown": case(
        {gauge("source_state", state="stalled"): "1x20", RUNNING: "0x20"},
        1,
        "the camera delivers no pictures",
        {gauge("source_state", state="stalled"): "0x20", RUNNING: "1x20"},
    ),
    "AffectEdgePictureShowsNothing": case(
        {gauge("picture_state", state="dark"): "1x20"},
        1,
        "the picture is dark",
        {gauge("picture_state", state="still"): "1x20"},
        state="dark",
    ),
    "AffectEdgeHealthUnusable": case(
        {gauge("health_grade"): "3x20"}, 2, "health is unusable", {gauge("health_grade"): "2x20"}
    ),
    "AffectEdgeFacesNotRead": case(
        {gauge("frames_with_expression_ratio"): "0.1x20", gauge("faces_in_view"): "1x20"},
        11,
        "faces are in view, and hardly any is read",
        {gauge("frames_with_expression_ratio"): "0x20", gauge("faces_in_view"): "0x20"},
    ),
    "AffectEdgeRateLow": case(
        {
            gauge("frame_rate_hertz", of="published"): "6x20",
            gauge("frame_rate_hertz", of="expected"): "30x20",
            gauge("rate_divisor"): "1x20",
            RUNNING: "1x20",
        },
        6,
        "20% of the frames that the camera should deliver are published",
        {
            gauge("frame_rate_hertz", of="published"): "7.5x20",
            gauge("frame_rate_hertz", of="expected"): "30x20",
            gauge("rate_divisor"): "4x20",
            RUNNING: "1x20",
        },
    ),
    "AffectEdgeWorkerLost": case(
        {gauge("worker_restarts_total", reason="stuck"): "0x5 1x15"},
        10,
        "a worker was lost within the last hour",
        {gauge("worker_restarts_total", reason="stuck"): "7x20"},
    ),
    "AffectEdgeJournalInMemory": case(
        {gauge("storage_state", state="memory"): "1x20"},
        1,
        "messages are kept in memory only",
        {gauge("storage_state", state="ok"): "1x20"},
    ),
    "AffectEdgeMessagesLost": case(
        {gauge("seq_gap_total", reason="power_cut"): "0x5 4x15"},
        10,
        "messages are lost (power_cut)",
        {gauge("seq_gap_total", reason="power_cut"): "4x20"},
        reason="power_cut",
    ),
    "AffectEdgeLoggerLags": case(
        {gauge("consumer_lag_records", consumer="lab"): "10000+100x40"},
        20,
        "the logger lab is 12k messages behind",
        {gauge("consumer_lag_records", consumer="lab"): "20000-100x40"},
        consumer="lab",
    ),
    "AffectEdgeJournalNearlyFull": case(
        {
            gauge("journal_bytes"): "900x20",
            gauge("journal_max_bytes"): "1000x20",
            gauge("consumer_lag_records", consumer="lab"): "10000x20",
        },
        6,
        "the journal is 90% full, and a logger lags",
        {
            gauge("journal_bytes"): "900x20",
            gauge("journal_max_bytes"): "1000x20",
            gauge("consumer_lag_records", consumer="lab"): "3x20",
        },
    ),
    "AffectEdgeCommitsSlow": case(
        {bucket("5"): "0x60", bucket("10"): "0+1x60", bucket("+Inf"): "0+1x60"},
        40,
        "the storage needs 9.95s for a commit",
        {bucket("5"): "0+1x60", bucket("10"): "0+1x60", bucket("+Inf"): "0+1x60"},
    ),
    "AffectEdgeClockUnsynchronized": case(
        {gauge("clock_unsync"): "1x30"},
        16,
        "the wall clock is not synchronized",
        {gauge("clock_unsync"): "0x30"},
    ),
    "AffectEdgeHot": case(
        {gauge("soc_celsius"): "83.5x20"},
        6,
        "the chip has 83.5 degrees Celsius",
        {gauge("soc_celsius"): "79x20"},
    ),
    "AffectEdgeThrottled": case(
        {gauge("throttled", flag="under_voltage"): "1x20"},
        6,
        "the board reports under_voltage",
        {gauge("throttled", flag="under_voltage"): "0x20"},
        flag="under_voltage",
    ),
    "AffectEdgeFramesLeftOut": case(
        {gauge("rate_divisor"): "4x20"},
        6,
        "one frame of 4 is processed",
        {gauge("rate_divisor"): "1x20"},
    ),
    "AffectEdgeScheduleBound": case(
        {
            gauge("schedule_bound", by="classifier"): "1x40",
            gauge("schedule_bound", by="detector"): "0x40",
        },
        31,
        "less is done for each frame than configured, for half an hour (classifier)",
        {
            # a crowd for a while, twice
            gauge("schedule_bound", by="classifier"): "1x20 0 1x20",
            gauge("schedule_bound", by="detector"): "0x40",
        },
        by="classifier",
    ),
    "AffectEdgeSwapPossible": case(
        {gauge("swap_possible"): "1x20"},
        2,
        "pictures may be written to swap",
        {gauge("swap_possible"): "0x20"},
    ),
    "AffectEdgePreviewOpen": case(
        {gauge("preview_on"): "1x20"},
        1,
        "the preview is open, pictures can be seen",
        {gauge("preview_on"): "0x20"},
    ),
    "AffectEdgePeersRefused": case(
        {gauge("auth_rejected_total", why="unknown_key"): "0x5 1x15"},
        10,
        "somebody without an allowed key tried to connect",
        {gauge("auth_rejected_total", why="incomplete"): "0+1x20"},
    ),
    "AffectEdgeKeysNotReloaded": case(
        {gauge("auth_reload_failed"): "1x20"},
        1,
        "a removed key may still be accepted",
        {gauge("auth_reload_failed"): "0x20"},
    ),
    "AffectEdgeConnectionsCut": case(
        {gauge("connections_cut_total", socket="publish", reason="bytes"): "0x5 1x15"},
        10,
        "a program floods the publish socket",
        {gauge("connections_cut_total", socket="publish", reason="bytes"): "1x20"},
        socket="publish",
    ),
    "AffectEdgeWebhookFails": case(
        {
            gauge("webhook_messages_total", outcome="failed"): "0+1x60",
            gauge("webhook_messages_total", outcome="delivered"): "0x60",
        },
        40,
        "alarms do not reach alarms.webhook_url",
        {
            gauge("webhook_messages_total", outcome="failed"): "0+1x60",
            gauge("webhook_messages_total", outcome="delivered"): "0+1x60",
        },
    ),
}


def unit_test(name: str, series: dict[str, str], minutes: int, expected: list[Any]) -> Any:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": expected}
        ],
    }


def test_every_alert_has_a_case() -> None:
    assert set(alerts()) == set(CASES)


def test_promtool_accepts_the_rules_and_the_example() -> None:
    for done in (
        promtool("check", "rules", RULES),
        promtool("check", "config", FOLDER / "prometheus.example.yml"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_not_else(tmp_path: Path, name: str) -> None:
    each, fields = CASES[name], alerts()[name]
    own = {"device": "chamber-1", "instance": "a:9108", "job": "affect-edge"}
    firing = {
        "exp_labels": {"severity": fields["severity"], **own, **each.labels, **kept(name)},
        "exp_annotations": {"summary": each.summary, "description": fields["description"]},
    }
    tests = [
        unit_test(name, each.series, each.minutes, [firing]),
        unit_test(name, each.quiet, each.minutes, []),
        unit_test(name, {}, each.minutes, []),  # a daemon that is not there
    ]
    if "for" in fields:
        tests.append(unit_test(name, each.series, 0, []))  # not at once
    file = tmp_path / "test.yml"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def kept(name: str) -> dict[str, str]:
    """Return the labels that an alert has from its series, and that say nothing."""
    return {
        "AffectEdgeJournalInMemory": {"state": "memory"},
        "AffectEdgeWebhookFails": {"outcome": "failed"},
    }.get(name, {})


# -- the dashboard ---------------------------------------------------------------------------------


def expressions() -> list[str]:
    """Return every query of the dashboard, with Grafana's variables as Grafana replaces them."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [each.replace("$device", ".*").replace("$__rate_interval", "1m") for each in found]


def test_promtool_can_parse_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"each:{number}", "expr": each} for number, each in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_complete_and_has_no_address() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 25
    assert not re.search(r"https?://", DASHBOARD.read_text())
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not own & cells, panel["title"]
        cells |= own
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert len(panel["description"]) > 10


# -- against a real daemon -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names of the labels of each series of a running daemon."""
    with knowing_daemon(tmp_path_factory.mktemp("daemon")) as (_, port, _):
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=HANG_S) as answer:
            page = answer.read().decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_and_label_exists_in_a_running_daemon(
    path: Path, labels: dict[str, set[str]]
) -> None:
    text = path.read_text() if path == RULES else "\n".join(expressions())
    named = set(re.findall(r"\baffect_edge_\w+", text))
    assert len(named) > 15
    assert sorted(named - labels.keys()) == []
    scraped = {"device", "instance", "job"}  # by Prometheus
    for name, selector in re.findall(r"\b(affect_edge_\w+)\{(.*?)\}", text):
        used = set(re.findall(r"(\w+) ?[=!]~?", re.sub(r'"[^"]*"', "", selector)))
        assert used <= labels[name] | scraped, name
    for expression in text.splitlines():
        if "annotations" in expression or "summary" in expression:
            continue
        known = set().union(*(labels[each] for each in named if each in expression), scraped)
        for listed in re.findall(r"\b(?:by|on|ignoring) \((.*?)\)", expression):
            assert set(listed.split(", ")) <= known, expression


def test_every_metric_is_in_the_rules_or_on_the_dashboard(labels: dict[str, set[str]]) -> None:
    text = RULES.read_text() + "\n".join(expressions())
    unused = {
        name for name in labels
        if name.startswith("affect_edge_") and not name.endswith(("_created", "_sum", "_count"))
        and name not in text
    }  # fmt: skip
    assert unused == {
        "affect_edge_build_info",  # lists the devices
        "affect_edge_backlog_records",  # next to its bytes
        "affect_edge_clock_steps_total",
        "affect_edge_frames_with_expression_total",  # next to its ratio
        "affect_edge_stage_seconds_bucket",  # next to its mean
    }
