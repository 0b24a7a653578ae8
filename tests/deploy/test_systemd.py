"""The installed service under a real systemd: reboots, upgrades, power cuts in them, instances.

Without a camera, which the service declares absent; with one, on a kernel of its own, and with a
disk that loses what was not written: ``test_vm.py``. The tests share one system, in this order.
"""

import os
import re
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.support.debian_root import DebianRoot, debian_cache, newer_wheel
from tests.support.postgres import require
from tests.support.systemd_container import FOR_BUSY_MACHINES, PROGRAMS, SystemdContainer

pytestmark = [pytest.mark.stage, pytest.mark.timeout(1800)]

UNIT = "affect-edge.service"
INSTALL = "/root/src/deploy/install.sh"
REBOOTS = int(os.environ.get("REBOOTS", "5"))

INSTANCE = """
[device]
name = "{name}"
purpose = "research-consent"
[source]
kind = "v4l2"
[detector]
threads = 1
[publish]
endpoint = "tcp://127.0.0.1:{port}"
service_endpoint = "tcp://127.0.0.1:{service}"
[metrics]
address = "127.0.0.1:{metrics}"
"""
"""One of several cameras; there is none here."""

RELEASES = (
    ("good", "0.1.1", ""),
    ("bad", "0.1.2", "\nraise RuntimeError('a broken release')\n"),
    ("hung", "0.1.3", "\nimport signal\nsignal.pause()\n"),
)
"""Folder of wheels, version, and what it does when the daemon starts."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdContainer]:
    debian_cache(*PROGRAMS)
    require("vm", SystemdContainer.is_possible(), "control groups of version 2")
    root = DebianRoot(tmp_path_factory.mktemp("systemd"))
    options = ("--wheels", "/root/wheels", "--purpose", "research-consent", "--appliance")
    done = root.install(*options)
    assert done.returncode == 0, done.stderr
    for unit in (UNIT, "affect-edge@.service"):
        drop_in = root.path / f"etc/systemd/system/{unit}.d/busy.conf"
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text(FOR_BUSY_MACHINES)
    for name, version, appended in RELEASES:
        release = root.path / "root" / name
        release.mkdir()
        for wheel in (root.path / "root/wheels").iterdir():
            (release / wheel.name).hardlink_to(wheel)
        newer_wheel(release, version, edge_hub_supervisor=appended)
    with SystemdContainer(root) as started:
        started.start()
        yield started


def show(system: SystemdContainer, name: str, unit: str = UNIT) -> str:
    return system.output(f"systemctl show -P {name} {unit}")


def version(system: SystemdContainer) -> str:
    return system.output("affect-edge version")


def wait_until_ready(system: SystemdContainer, unit: str = UNIT) -> None:
    """Wait for the service; check that it has not failed on the way."""
    system.wait_for(f"systemctl is-active {unit}", 600)
    system.wait_for(f"systemctl show -P StatusText {unit} | grep 'source absent'", 60)
    assert show(system, "NRestarts", unit) == "0"


def epoch(system: SystemdContainer, unit: str = UNIT) -> int:
    said = system.output(f"journalctl -q -b -u {unit} -o cat --no-pager")
    return int(re.findall(r"journal: .*, epoch (\d+)", said)[-1])


def assert_no_trial(system: SystemdContainer) -> None:
    left = "/opt/affect-edge/trial* /etc/systemd/system/undo* /etc/systemd/system/*/undo*"
    _, found = system.run(f"ls -d {left} 2>/dev/null")
    assert found == ""


def test_it_starts_with_the_system(system: SystemdContainer) -> None:
    wait_until_ready(system)
    assert system.wait_for("systemctl is-system-running", 300) == "running", "nothing has failed"


def test_it_comes_back_after_reboots(system: SystemdContainer) -> None:
    before, took = epoch(system), []
    for number in range(1, REBOOTS + 1):
        began = time.monotonic()
        system.reboot()
        wait_until_ready(system)
        took.append(time.monotonic() - began)
        assert epoch(system) == before + number
    print(f"{REBOOTS} reboots, ready after {min(took):.1f} to {max(took):.1f} s")


def test_an_upgrade_is_ready_before_it_counts(system: SystemdContainer) -> None:
    began = time.monotonic()
    said = system.output(f"{INSTALL} --wheels /root/good", 1200)
    print(f"upgraded in {time.monotonic() - began:.0f} s")
    assert "affect-edge 0.1.1 is ready: " in said
    assert version(system) == "affect-edge 0.1.1"
    command = system.output(f"tr '\\0' ' ' < /proc/{show(system, 'MainPID')}/cmdline")
    assert "/releases/2/" in command
    assert_no_trial(system)


def test_an_upgrade_that_does_not_get_ready_is_undone(system: SystemdContainer) -> None:
    code, said = system.run(f"{INSTALL} --wheels /root/bad", 1200)
    assert code == 1
    *_, line = said.splitlines()
    assert line.startswith(f"install.sh: {UNIT} of affect-edge 0.1.2 does not get ready")
    assert line.endswith("affect-edge 0.1.1 runs again")
    assert version(system) == "affect-edge 0.1.1"
    assert system.output("ls /opt/affect-edge/releases").split() == ["1", "2"]
    assert show(system, "ActiveState") == "active"
    assert_no_trial(system)


def test_an_upgrade_that_a_power_cut_ends_is_undone_at_the_next_start(
    system: SystemdContainer,
) -> None:
    """The new release is installed and has started, but is not ready when the power goes."""
    system.output(f"setsid {INSTALL} --wheels /root/hung </dev/null >/root/install.log 2>&1 &")
    running = f"tr '\\0' ' ' < /proc/$(systemctl show -P MainPID {UNIT})/cmdline"
    system.wait_for(f"{running} | grep -F /releases/3/ || ! cat /root/install.log", 1200)
    assert show(system, "ActiveState") == "activating"
    system.cut_power()
    system.start()
    wait_until_ready(system)
    said = system.output("journalctl -q -b -u undo-affect-edge -o cat --no-pager")
    assert "the upgrade to affect-edge 0.1.3 was cut off before it was ready" in said, said
    assert version(system) == "affect-edge 0.1.1"
    command = system.output(f"tr '\\0' ' ' < /proc/{show(system, 'MainPID')}/cmdline")
    assert "/releases/2/" in command
    assert_no_trial(system)
    assert system.wait_for("systemctl is-system-running", 300) == "running"


def test_a_wrong_configuration_is_not_started_again(system: SystemdContainer) -> None:
    config = "/etc/affect-edge/edge.toml"
    system.output(f"cp {config} /root/edge.toml; echo '[nonsense]' >>{config}")
    assert system.run(f"systemctl restart {UNIT}", 600)[0] != 0
    assert (show(system, "ExecMainStatus"), show(system, "ActiveState")) == ("78", "failed")
    assert show(system, "NRestarts") == "0"
    system.output(f"cp /root/edge.toml {config}; systemctl start {UNIT}", 600)
    wait_until_ready(system)


def test_exit_code_75_reboots_an_appliance(system: SystemdContainer) -> None:
    """A program that ends with 75 is in place of the daemon, until the reboot empties ``/run``."""
    before = epoch(system)
    folder = f"/run/systemd/system/{UNIT}.d"
    ends = '[Service]\nExecStart=\nExecStart=/bin/sh -c "exit 75"\n'
    system.output(f"mkdir -p {folder}; printf %s {shlex.quote(ends)} >{folder}/stuck.conf")
    system.run(f"systemctl daemon-reload; systemctl restart {UNIT}")
    system.start_after_reboot()
    wait_until_ready(system)
    assert epoch(system) == before + 1
    assert len(system.output("cat /var/lib/affect-edge-reboots/times").splitlines()) == 1
    assert show(system, "RuntimeWatchdogUSec", "") == "14s"


def test_several_cameras_have_a_service_each(system: SystemdContainer) -> None:
    """As docs/install.md has it; also after a reboot."""
    for index, name in enumerate(("left", "right")):
        ports = {"port": 5560 + index, "service": 5570 + index, "metrics": 9110 + index}
        config = shlex.quote(INSTANCE.format(name=name, **ports))
        system.output(f"printf %s {config} >/etc/affect-edge/{name}.toml")
    both = ("affect-edge@left", "affect-edge@right")
    system.output("systemctl disable --now affect-edge")
    system.output(f"systemctl enable --now {' '.join(both)}", 1200)
    for number in (1, 2):
        for unit in both:
            wait_until_ready(system, unit)
            assert epoch(system, unit) == number
        if number == 1:
            system.reboot()
    assert show(system, "ActiveState") == "inactive"
    assert system.output("stat -c %a /var/lib/private/affect-edge-*").split() == ["700", "700"]
    system.output(f"systemctl disable --now {' '.join(both)}; systemctl enable --now {UNIT}", 600)
