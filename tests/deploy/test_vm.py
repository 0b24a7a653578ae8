"""The service under real systemd on a kernel of its own, with a simulated camera and a disk.

Upgrades are in ``test_systemd.py``, without emulation. The tests share one machine, in this order;
each leaves the service running. ``make vm-test``; the two of a start alone, with more reboots:
``make vm-soak``.
"""

import json
import os
import re
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.support.debian_root import DebianRoot, debian_cache
from tests.support.virtual_machine import PROGRAMS, VirtualMachine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

UNIT = "affect-edge.service"
PYTHON = "/opt/affect-edge/venv/bin/python"

CONFIG = """
[device]
name = "vm"
purpose = "research-consent"
[source]
kind = "v4l2"
path = "/dev/video0"
width = 640
height = 360
rate_hz = 1.0
[detector]
model = "centerface-96x96"  # a seventh of the work, for an emulated processor
artifact = "centerface.int8.tflite"  # auto measures all of them
schedule = "every-frame"
[expression]
artifact = "expression.int8.onnx"
[limits]
stall_s = 60.0
inference_s = 60.0
start_s = 890.0
rate_min_hz = 0.1
"""
SLOWER = "[Service]\nTimeoutStartSec=900\nWatchdogSec=40\n"
"""An emulated processor takes a minute to start the daemon."""

REBOOTS = int(os.environ.get("REBOOTS", "5"))

START_S = 900
"""Seconds for a start on a busy machine; the tests end as soon as it has started."""

WARNED = re.compile("WARNING: (?!alarm )")
"""A slow processor alone raises alarms."""

RECEIVE = """
import json, sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.connect("tcp://127.0.0.1:5555")
socket.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.frame")
socket.setsockopt(zmq.RCVTIMEO, 300_000)
for _ in range(int(sys.argv[1])):
    print(socket.recv().partition(b" ")[2].decode(), flush=True)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMachine]:
    """A machine that was installed as a card's image is, and has been switched on."""
    debian_cache(*PROGRAMS)
    began = time.monotonic()
    folder = tmp_path_factory.mktemp("vm")
    root = DebianRoot(folder)
    settings = root.path / "etc/affect-edge"
    settings.mkdir()
    (settings / "edge.toml").write_text(CONFIG)
    done = root.install("--wheels", "/root/wheels", "--appliance")
    assert done.returncode == 0, done.stderr
    (root.path / "etc/systemd/system/affect-edge.service.d/vm.conf").write_text(SLOWER)
    (root.path / "root/receive.py").write_text(RECEIVE)
    with VirtualMachine(folder) as found:
        found.make_disk(root)
        print(f"\ninstalled on a disk in {time.monotonic() - began:.0f} s")
        found.start()
        yield found
        print(
            f"\nin all {time.monotonic() - began:.0f} s, {found.processor_s():.0f} s of processor"
            " time of the machine"
        )


@pytest.fixture(autouse=True)
def _times(machine: VirtualMachine) -> Iterator[None]:
    """Print what each test takes, also in processor time: busy machines differ less in it."""
    began, used = time.monotonic(), machine.processor_s()
    yield
    print(
        f"{time.monotonic() - began:.0f} s, {machine.processor_s() - used:.0f} s of processor time"
    )


def show(machine: VirtualMachine, name: str, unit: str = UNIT) -> str:
    return machine.output(f"systemctl show -P {name} {unit}")


def log(machine: VirtualMachine, since: str = "-b") -> str:
    return machine.output(f"journalctl -q -u {UNIT} -o short-monotonic --no-pager {since}")


def wait_until_active(machine: VirtualMachine) -> None:
    machine.wait_for(f"systemctl is-active {UNIT}", START_S)


def at(text: str, pattern: str) -> float:
    """Return the seconds after boot of the first line of a log that matches."""
    match = re.search(rf"(?m)^\[\s*(\d+\.\d+)\].*{pattern}", text)
    assert match, text
    return float(match[1])


def receive(machine: VirtualMachine, count: int) -> list[dict[str, object]]:
    """Subscribe as any program would; return that many frames."""
    lines = machine.output(f"{PYTHON} /root/receive.py {count}", 400).splitlines()
    return [json.loads(line) for line in lines]


def test_it_starts_at_boot_and_is_ready_after_the_first_result(machine: VirtualMachine) -> None:
    wait_until_active(machine)
    said = log(machine)
    begun, running = at(said, "Starting affect-edge.service"), at(said, "source running")
    ready = at(said, "Started affect-edge.service")
    assert begun < running < ready
    assert show(machine, "NRestarts") == "0"
    assert not WARNED.search(said), said
    print(f"ready {ready:.0f} s after boot, {ready - begun:.0f} s after its start")


def test_it_runs_with_the_rights_of_the_unit(machine: VirtualMachine) -> None:
    pid = show(machine, "MainPID")
    assert machine.output("stat -c %G:%a /dev/video0") == "video:660"
    status = machine.output(f"cat /proc/{pid}/status")
    video = machine.output("getent group video | cut -d: -f3")
    assert re.search(rf"(?m)^Gid:\s+{video}\s", status), "the camera's group, and no other"
    assert re.search(r"(?m)^CapEff:\s+0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s+1$", status)
    assert not re.search(r"(?m)^Uid:\s+0\s", status)
    worker = machine.output(f"cat /proc/{pid}/task/{pid}/children").split()[0]
    assert re.search(r"(?m)^VmLck:\s+[1-9]\d* kB", machine.output(f"cat /proc/{worker}/status"))
    assert machine.output("stat -c %a /var/lib/private/affect-edge") == "700"
    # messages that are not in the file yet survive a kill: in memory, beside systemd's link
    machine.wait_for("ls /run/private/affect-edge/tail-*/", 120)
    exposure = machine.output(f"systemd-analyze security --no-pager {UNIT} | tail -1")
    assert re.search(r"level for affect-edge.service: 1\.[0-2] ", exposure), exposure


def test_frames_of_the_camera_flow_to_a_subscriber(machine: VirtualMachine) -> None:
    frames = receive(machine, 3)
    numbers = [frame["seq"] for frame in frames]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert {(frame["device"], frame["schema"]) for frame in frames} == {("vm", "affect.v1")}
    sizes = {(f["frame"]["width"], f["frame"]["height"]) for f in frames}  # type: ignore[index]
    assert sizes == {(640, 360)}


def test_the_state_of_the_clock_is_told(machine: VirtualMachine) -> None:
    """No NTP here: the kernel says that the clock is not synchronised, and so does the daemon."""
    health = machine.output("cat /run/affect-edge-clock/health")
    assert re.fullmatch(r"0 -1 \d+", health)
    helper = show(machine, "MainPID", "affect-edge-clock.service")
    assert re.search(r"(?m)^CapEff:\s+0+$", machine.output(f"cat /proc/{helper}/status"))


def test_a_worker_that_is_killed_is_replaced_without_a_restart(machine: VirtualMachine) -> None:
    pid = show(machine, "MainPID")
    old = machine.output(f"cat /proc/{pid}/task/{pid}/children").split()[0]
    machine.output(f"kill -9 {old}")
    machine.wait_for(f"journalctl -q -b -u {UNIT} | grep -E 'worker .*lost'", 200)
    frames = receive(machine, 1)
    assert frames
    assert show(machine, "MainPID") == pid
    assert show(machine, "NRestarts") == "0"


def test_a_reload_reads_the_allowed_keys_again(machine: VirtualMachine) -> None:
    """With the secret key as systemd's credential, from a file that only root can read."""
    keys = "/etc/affect-edge/keys"
    command = "/usr/local/bin/affect-edge"
    machine.output(f"cd {keys} && {command} keys new device && {command} keys new logger-1", 300)
    machine.output(f"{command} keys new logger-2 --dir {keys}", 300)
    machine.output(f"install -m 644 {keys}/logger-1.key /etc/affect-edge/allowed/")
    drop_in = "/etc/systemd/system/affect-edge.service.d/keys.conf"
    machine.output(f"cp /root/src/systemd/affect-edge.service.d/keys.conf {drop_in}")
    machine.output(f"systemctl daemon-reload; systemctl restart {UNIT}", START_S)
    pid = show(machine, "MainPID")
    assert re.search(r"keys: .*logger-1", log(machine))
    assert machine.output(f"stat -c %a {keys}/device.key_secret") == "600"
    assert "logger-2" not in log(machine)

    machine.output(f"install -m 644 {keys}/logger-2.key /etc/affect-edge/allowed/")
    machine.output(f"systemctl reload {UNIT}")
    machine.wait_for(f"journalctl -q -b -u {UNIT} | grep 'keys reloaded: .*logger-2'", 120)
    assert show(machine, "MainPID") == pid
    assert show(machine, "ActiveState") == "active"
    machine.output(f"rm {drop_in}; systemctl daemon-reload")


def test_a_wrong_configuration_ends_with_78_and_is_not_restarted(machine: VirtualMachine) -> None:
    config = "/etc/affect-edge/edge.toml"
    machine.output(f"cp {config} /root/edge.toml; echo '[nonsense]' >> {config}")
    code, _ = machine.run(f"systemctl restart {UNIT}", START_S)
    assert code != 0
    assert show(machine, "ExecMainStatus") == "78"
    assert show(machine, "ActiveState") == "failed"
    restarts = show(machine, "NRestarts")
    waited = machine.output("sleep 8; systemctl show -P NRestarts,ActiveState affect-edge.service")
    assert show(machine, "NRestarts") == restarts == "0", waited  # RestartSec is 2
    assert "nonsense" in log(machine)
    machine.output(f"cp /root/edge.toml {config}; systemctl start {UNIT}", START_S)
    assert show(machine, "ActiveState") == "active"


def test_a_daemon_that_hangs_is_killed_and_restarted(machine: VirtualMachine) -> None:
    pid = show(machine, "MainPID")
    started = time.monotonic()
    machine.output(f"kill -STOP {pid}")
    machine.wait_for(f"[ $(systemctl show -P NRestarts {UNIT}) = 1 ]", 300)
    took = time.monotonic() - started
    said = log(machine)
    assert "Watchdog timeout (limit 40s)" in said
    assert f"Killing process {pid}" in said
    assert "SIGKILL" in said, "no SIGABRT: its core dump would hold pictures"
    wait_until_active(machine)
    assert show(machine, "MainPID") != pid
    assert receive(machine, 1)
    print(f"killed {took:.0f} s after it hung; WatchdogSec=40 here, 15 in the unit")


def test_the_record_survives_a_power_cut(machine: VirtualMachine) -> None:
    """What a subscriber had more than a few seconds before the cut is in the journal after it."""
    out = "/root/power.sqlite"
    take = f"affect-edge log --name power --out {out} --once --give-up-s 300"
    machine.output(take, 400)
    frames = receive(machine, 20)
    epoch, last = frames[-1]["epoch"], frames[-1]["seq"]
    machine.cut_power()
    machine.start()
    wait_until_active(machine)
    machine.output(take, 400)
    query = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "print([r[0] for r in c.execute('SELECT seq FROM messages WHERE epoch = ? ORDER BY seq', "
        "(int(sys.argv[2]),))]); print(c.execute('SELECT * FROM gaps').fetchall())"
    )
    text = machine.output(f"{PYTHON} -c {shlex.quote(query)} {out} {epoch}", 300)
    stored, gaps = text.splitlines()
    numbers = json.loads(stored)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    lost = int(str(last)) - numbers[-1]
    assert lost <= 12, f"one frame a second, and the journal is written every 5 s: {text}"
    assert lost <= 0 or gaps != "[]", f"what is lost is counted: {text}"
    assert int(str(receive(machine, 1)[0]["epoch"])) == int(str(epoch)) + 1
    print(f"{len(numbers)} messages of the epoch kept, {max(0, lost)} of the last seconds lost")


def test_it_comes_back_after_reboots(machine: VirtualMachine) -> None:
    took = []
    for _ in range(REBOOTS):
        began = time.monotonic()
        machine.reboot()
        wait_until_active(machine)
        took.append(time.monotonic() - began)
        assert show(machine, "NRestarts") == "0"
        said = log(machine)
        assert not WARNED.search(said), said
    assert receive(machine, 1)
    print(f"{REBOOTS} reboots, ready after {min(took):.0f} to {max(took):.0f} s")
