"""Streams of real daemons, recorded by a real inlet to XDF, against the log of the same run.

Each test has a network of its own: LSL on the machine's would be seen by others.
"""

import math
import subprocess
import sys

import pytest

from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.lsl_runs import ERROR_S, LIVE, Recorder, of_daemon, relay, rows
from tests.support.namespaces import Network
from tests.support.synthetic_daemon import SYNTHETIC
from tests.support.waiting import HANG_S

pytest.importorskip("pylsl")
pytest.importorskip("pyxdf")


@pytest.fixture(scope="module")
def network():
    with Network() as network:
        yield network


def logger(daemon, path):
    command = [sys.executable, "-m", "edge", "log", "--out", str(path), *of_daemon(daemon)]
    return subprocess.Popen([*command, "--until-end"], stderr=subprocess.DEVNULL)


def test_the_clip_is_recorded_with_the_times_and_values_of_the_log(tmp_path, network):
    path = tmp_path / "run.csv"
    arguments = ("--source", "demo", "--set", 'device.name="chamber-1"', "--set", "source.repeat=0")
    with (
        RunningDaemon(tmp_path, *arguments) as daemon,
        relay(network, *of_daemon(daemon), "--faces", "2") as lsl,
        Recorder(network, tmp_path / "run.xdf", 3) as recorder,
        logger(daemon, path) as log,
    ):
        recorder.wait_for(lambda line: line == "recording")
        recorder.wait_for_samples(30)
        for command in (["session", "begin", "dive-12"], ["mark", "pressure 2.8 bar"]):
            assert affect_edge(*command, "--service", daemon.service).returncode == 0
        recorder.wait_for_samples(150)
        assert daemon.stop()[0] == 0
        assert log.wait(HANG_S) == 0

        recorder.wait_for(lambda line: line.startswith("marker ") and "epoch_ended" in line)
        streams = recorder.finish()
        assert lsl.stop() == 0

    frames = {}
    for row in rows(path):
        frames.setdefault(int(row["seq"]), []).append(row)
    recorded = streams["affect-edge chamber-1 face 1"]
    numbers = [int(seq) for seq in recorded.column("seq")]
    assert len(numbers) > 150
    assert numbers == sorted(set(numbers))
    assert set(range(numbers[0], numbers[-1] + 1)) & frames.keys() == set(numbers), (
        "none is missing"
    )
    # the times of a file begin with its first picture; from then on they are those of the log
    sensor_s = [int(frames[number][0]["sensor_ns"]) / 1e9 for number in numbers]
    offsets = [at - sensor for at, sensor in zip(recorded.stamps, sensor_s, strict=True)]
    assert max(offsets) - min(offsets) < ERROR_S
    read_s = [
        int(frames[number][0]["published_ns"]) / 1e9 - float(frames[number][0]["total_ms"]) / 1e3
        for number in numbers
    ]
    assert max(abs(a - b) for a, b in zip(recorded.stamps, read_s, strict=True)) < 2
    check_values(streams, frames)

    markers = streams["affect-edge chamber-1 markers"]
    events = rows(tmp_path / "run.events.csv")
    (mark,) = [row for row in events if row["event"] == "mark"]
    at_s = markers.stamps[markers.samples.index("pressure 2.8 bar")]
    assert abs(at_s - int(mark["monotonic_ns"]) / 1e9) < ERROR_S
    ((at_s, began),) = markers.events("session_began")
    (row,) = [row for row in events if row["event"] == "session_began"]
    assert abs(at_s - int(row["monotonic_ns"]) / 1e9) < ERROR_S
    assert began["name"] == "dive-12"
    assert began["seq"] == int(row["seq"])
    assert markers.events("epoch_ended")
    ((at_s, state),) = markers.events("state")
    assert (state["stream"], state["epoch"]) == (rows(path)[0]["stream"], 1)
    assert abs(at_s - recorded.stamps[0]) < 5
    check_metadata(recorded)


def check_values(streams, frames):
    """Compare every face of every recorded frame with its row of the log."""
    compared = 0
    for name in ("face 1", "face 2"):
        stream = streams[f"affect-edge chamber-1 {name}"]
        for sample in stream.samples:
            found = dict(zip(stream.labels, sample, strict=True))
            if math.isnan(found["track"]):
                continue
            (row,) = [
                row for row in frames[int(found["seq"])] if row["track"] == str(int(found["track"]))
            ]
            for column in ("valence", "arousal", "valence_smoothed", "arousal_relative"):
                assert_equal(found[column], row[column])
            for column in ("neutral", "happy", "contempt"):
                assert_equal(found[column], row[f"p_{column}"])
            compared += 1
    assert compared > 50
    faces = sum(row["track"] != "-1" for each in frames.values() for row in each)
    assert compared <= faces


def assert_equal(number, text):
    assert math.isnan(number) if text == "" else number == float(text)


def check_metadata(stream):
    info, desc = stream.info, stream.info["desc"][0]
    assert info["type"] == ["Affect"]
    assert info["source_id"] == ["affect-edge/chamber-1/face 1"]
    assert info["nominal_srate"] == ["0"] or float(info["nominal_srate"][0]) == 0.0
    channels = desc["channels"][0]["channel"]
    assert len(channels) == 25
    assert {each["unit"][0] for each in channels} >= {"normalized", "probability", "seconds"}
    assert desc["synchronization"][0]["can_drop_samples"] == ["true"]
    assert desc["acquisition"][0]["manufacturer"] == ["affect-edge"]
    assert desc["acquisition"][0]["model"][0].startswith("expression-nir")
    own = desc["affect_edge"][0]
    assert own["schema"] == ["affect.v1"]
    assert own["epoch"] == ["1"]


def test_streams_are_on_the_named_interface_only(tmp_path):
    with (
        RunningDaemon(tmp_path, *LIVE, module=SYNTHETIC) as daemon,
        Network() as chamber,
        Network(within=chamber.prefix) as lab,
    ):
        chamber.connect(lab, "10.9.0.1", "10.9.0.2")
        probe = (
            "import socket, sys\n"
            "for port in (16572, 16573):\n"
            "    s = socket.socket(); s.settimeout(1)\n"
            "    print(s.connect_ex((sys.argv[1], port)) == 0)\n"
        )

        def reached(network, address):
            return network.run(sys.executable, "-c", probe, address).split()

        for address, inside, outside in (
            ("127.0.0.1", (chamber, "127.0.0.1"), (lab, "10.9.0.1")),
            ("10.9.0.1", (lab, "10.9.0.1"), (chamber, "127.0.0.1")),
        ):
            with relay(chamber, *of_daemon(daemon), "--faces", "1", address=address) as lsl:
                line = lsl.wait_for(lambda line: "listening on" in line)
                assert f"({address}) only: TCP 16572, 16573, UDP 16571" in line
                assert reached(*inside) == ["True", "True"]
                assert reached(*outside) == ["False", "False"]
                assert lsl.stop() == 0


def test_it_ends_when_the_interface_is_removed(tmp_path, network):
    endpoint = f"ipc://{tmp_path}/none"
    network.run("ip", "link", "add", "usb0", "type", "veth", "peer", "name", "usb1")
    network.run("ip", "address", "add", "10.8.0.1/24", "dev", "usb0")
    network.run("ip", "link", "set", "usb0", "up")
    with relay(network, "--connect", endpoint, address="usb0") as lsl:
        lsl.wait_for(lambda line: "nobody publishes" in line)
        network.run("ip", "link", "delete", "usb0")
        lsl.wait_for(lambda line: "error: the interface usb0 (10.8.0.1) was removed" in line)
        assert lsl.process.wait(HANG_S) == 1
