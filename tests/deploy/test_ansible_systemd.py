"""The Ansible role under real systemd: services run, and handlers restart what a change concerns.

A chamber without a camera and a logging machine, in namespaces, connected by a cable. The tests
share them, in this order. Installation, keys and files: ``test_ansible.py``.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ansible_fleet import HOSTS
from tests.support.running_fleet import RunningFleet

pytestmark = [pytest.mark.stage, pytest.mark.timeout(2400)]

CHAMBER, LOGGER = "chamber-1", "log-1"
SERVICES = {
    CHAMBER: ("affect-edge", "affect-edge-clock"),
    LOGGER: ("affect-edge-clock", "affect-edge-dashboard", "affect-edge-log", "prometheus"),
}
LOG_AND_PAGE = ["log-1 affect-edge-dashboard", "log-1 affect-edge-log"]

UP = """\
import json, sys, urllib.request
url = "http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22affect-edge%22%7D"
found = json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
sys.exit([(each["metric"]["device"], each["value"][1]) for each in found] != [("chamber-1", "1")])
"""

PAGE = """\
import urllib.request
assert b"affect" in urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5).read()
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """The fleet after its first run."""
    with RunningFleet(tmp_path_factory.mktemp("fleet")) as made:
        play(made)
        yield made


def play(fleet: RunningFleet) -> dict[str, int]:
    """Run the playbook without a failure; return how many tasks changed something, by host."""
    counts = fleet.play()
    assert not any(each["failed"] or each["unreachable"] for each in counts.values()), counts
    return {name: each["changed"] for name, each in counts.items()}


def starts(fleet: RunningFleet) -> dict[str, str]:
    """Return systemd's identity of the present start of each service; all must run."""
    found = {}
    for name, services in SERVICES.items():
        for service in services:
            show = f"systemctl is-active {service} && systemctl show -P InvocationID {service}"
            state, identity = fleet.systems[name].output(show).split()
            assert state == "active"
            found[f"{name} {service}"] = identity
    return found


def restarted(fleet: RunningFleet, before: dict[str, str]) -> list[str]:
    after = starts(fleet)
    return [name for name in after if after[name] != before[name]]


def test_after_the_first_run_all_services_work_together(fleet: RunningFleet) -> None:
    """A mark goes from the logging machine to the chamber, and comes back into the record."""
    starts(fleet)
    logger = fleet.systems[LOGGER]
    keys = "--secret-key /etc/affect-edge/keys/log-1.key_secret"
    keys += " --server-key /etc/affect-edge/devices/chamber-1.key"
    service = f"--service tcp://{HOSTS[CHAMBER]}:5556"
    logger.wait_for(f"affect-edge mark 'pressure 2.8 bar' {service} {keys}", 120)
    record = "/var/lib/affect-edge-log/session.sqlite"
    exported = f"rm -f /root/out.*; affect-edge export-log {record} --to /root/out.csv"
    logger.wait_for(f"{exported} && grep 'pressure 2.8 bar' /root/out.events.csv", 300)
    for program in (UP, PAGE):
        logger.wait_for(f"python3 -c '{program}'", 300)


def test_the_second_run_restarts_nothing(fleet: RunningFleet) -> None:
    before = starts(fleet)
    assert play(fleet) == {CHAMBER: 0, LOGGER: 0}
    assert restarted(fleet, before) == []


def test_a_changed_configuration_restarts_the_daemon(fleet: RunningFleet) -> None:
    before = starts(fleet)
    fleet.variables["affect_edge_config"]["source"]["rate_hz"] = 12.5
    assert play(fleet) == {CHAMBER: 2, LOGGER: 0}  # the file and the handler
    assert restarted(fleet, before) == ["chamber-1 affect-edge"]


def test_a_new_key_is_read_without_a_restart(fleet: RunningFleet, tmp_path: Path) -> None:
    before = starts(fleet)
    command = [sys.executable, "-m", "edge", "keys", "new", "laptop", "--dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    fleet.variables["affect_edge_clients"] = [str(tmp_path / "laptop.key")]
    assert play(fleet) == {CHAMBER: 2, LOGGER: 0}
    log = "journalctl -q -b -u affect-edge -o cat --no-pager"
    fleet.systems[CHAMBER].wait_for(f"{log} | grep 'keys reloaded: .*; 1 added'", 120)
    assert restarted(fleet, before) == []


def test_a_change_for_the_log_restarts_log_and_page(fleet: RunningFleet) -> None:
    before = starts(fleet)
    fleet.variables["affect_edge_log_addresses"] = ["192.168.7.99"]
    play(fleet)
    assert restarted(fleet, before) == LOG_AND_PAGE
    state = fleet.systems[LOGGER].output("systemctl show -P NeedDaemonReload affect-edge-log")
    assert state == "no"


def test_what_a_run_that_was_cut_off_changed_is_read_after_the_next_one(
    fleet: RunningFleet,
) -> None:
    before = starts(fleet)
    fleet.variables["affect_edge_config"]["source"]["rate_hz"] = 7.5
    fleet.cut_off("rate_hz = 7.5")
    with pytest.raises(AssertionError, match=r"chamber-1 .*unreachable=1"):
        fleet.play()
    fleet.cut_off(None)
    assert restarted(fleet, before) == []
    play(fleet)
    assert restarted(fleet, before) == ["chamber-1 affect-edge"]
    before = starts(fleet)
    assert play(fleet) == {CHAMBER: 0, LOGGER: 0}
    assert restarted(fleet, before) == []


def test_a_service_that_does_not_run_is_started(fleet: RunningFleet) -> None:
    """Not one that an administrator has disabled."""
    chamber, logger = fleet.systems[CHAMBER], fleet.systems[LOGGER]
    chamber.output("systemctl stop affect-edge")
    logger.output("systemctl stop affect-edge-log && systemctl disable --now prometheus")
    assert play(fleet) == {CHAMBER: 1, LOGGER: 1}
    assert logger.run("systemctl is-active prometheus")[0] != 0
    logger.output("systemctl enable --now prometheus")
    starts(fleet)
