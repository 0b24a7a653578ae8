"""LSL streams over restarts of both processes, and of a machine whose clock differs."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.lsl_runs import ERROR_S, LIVE, Recorder, of_daemon, relay, rows
from tests.support.namespaces import Network
from tests.support.synthetic_daemon import SYNTHETIC

pytest.importorskip("pylsl")
pytest.importorskip("pyxdf")

pytestmark = pytest.mark.stage

AHEAD_S = 5000


@pytest.fixture
def network():
    with Network() as network:
        yield network


def test_a_camera_is_recorded_with_the_times_of_its_sensor_over_restarts(tmp_path, network):
    journal = ("--set", f'journal.path="{tmp_path / "j"}"')
    folder = tmp_path / "xdf"
    folder.mkdir()
    environment = {"SYNTHETIC_FACES": "3"}

    def start():
        return RunningDaemon(tmp_path, *LIVE, *journal, module=SYNTHETIC, environment=environment)

    with start() as daemon:
        arguments = of_daemon(daemon)
        with relay(network, *arguments) as lsl, Recorder(network, folder / "a.xdf", 5) as recorder:
            recorder.wait_for(lambda line: line == "recording")
            recorder.wait_for_samples(60)
            os.kill(daemon.process.pid, signal.SIGKILL)
            daemon.process.wait()
            with start() as again:
                again.wait_for_frame()
                recorder.wait_for_samples(60)
                lsl.process.kill()  # the process of the streams, too
                lsl.process.wait()
                with relay(network, *arguments) as second:
                    recorder.wait_for_samples(60)
                    path = tmp_path / "run.csv"
                    command = ["log", "--out", str(path), *arguments, "--once"]
                    assert affect_edge(*command).returncode == 0
                    streams = recorder.finish()
                    assert second.stop() == 0
    sensors = {
        (int(row["epoch"]), int(row["seq"])): int(row["sensor_ns"]) / 1e9 for row in rows(path)
    }
    found = streams["affect-edge chamber-1 face 3"]
    epoch, before, errors = 1, -1, []
    for at_s, seq in zip(found.stamps, found.column("seq"), strict=True):
        epoch += seq < before
        before = seq
        if (epoch, int(seq)) in sensors:
            errors.append(abs(at_s - sensors[epoch, int(seq)]))
    assert epoch == 2
    assert len(errors) > 150
    assert max(errors) < ERROR_S
    markers = streams["affect-edge chamber-1 markers"]
    # who was subscribed again in time has the first event, else the gap
    assert markers.events("epoch_started") or markers.events("gap")


def test_another_machine_is_measured_over_its_service(tmp_path, network):
    """The daemon's monotonic clock is 5000 s ahead, as on a machine that was started earlier."""
    ahead = ("unshare", "-rT", "--monotonic", str(AHEAD_S), "--fork", "--kill-child")
    if subprocess.run([*ahead, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespace here")
    python = (*ahead, sys.executable)
    with RunningDaemon(tmp_path, *LIVE, module=SYNTHETIC, python=python) as daemon:
        daemon.wait_for_frame()
        with relay(network, "--connect", daemon.endpoint) as lsl:  # as behind a tunnel
            lsl.wait_for(lambda line: "runs on another machine" in line)
            assert lsl.process.wait(10) == 78
            assert len(lsl.lines) == 3
        with (
            relay(network, *of_daemon(daemon)) as lsl,
            Recorder(network, tmp_path / "run.xdf", 5) as recorder,
        ):
            lsl.wait_for(lambda line: "measured over the service" in line)
            recorder.wait_for(lambda line: line == "recording")
            recorder.wait_for_samples(100)
            streams = recorder.finish()
        found = streams["affect-edge chamber-1 face 1"]
        newest = max(found.column("seq"))
        daemon.wait_for(lambda message: message.get("seq", -1) >= newest)
    sensors = {each["seq"]: each["time"]["sensor_ns"] / 1e9 for each in daemon.frames}
    errors = [
        abs(at_s - (sensors[int(seq)] - AHEAD_S))
        for at_s, seq in zip(found.stamps, found.column("seq"), strict=True)
    ]
    assert len(errors) > 90
    assert max(errors) < ERROR_S
