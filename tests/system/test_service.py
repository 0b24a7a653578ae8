"""Requests to a running daemon (marks, participants, baselines), also by the command line."""

import json
import math
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge import clock
from edge.cli import run_command_line
from edge.client.ask import ask
from edge.errors import RequestRefused, ServiceUnavailable
from edge.protocol.json_schema import json_schema
from edge.protocol.messages import decode
from edge.protocol.requests import (
    AssignRequest,
    BaselineRequest,
    MarkRequest,
    SchemaRequest,
    StatusRequest,
    TimeRequest,
)
from edge.vision.inference import find_model
from tests.support.daemons import Message, RunningDaemon, affect_edge
from tests.support.model_folders import changed_copy
from tests.support.still_face import still_face

DEMO = ("--source", "demo", "--wait-for-subscriber", "--set", "source.repeat=0")
"""It goes on until it is stopped: a command may take longer than the clip on a busy machine."""


@pytest.fixture
def calm(tmp_path: Path) -> tuple[str, ...]:
    """Return the arguments of a run in which the clip's smiling person looks neutral.

    The priors do so for the probabilities, and a tenth of the model's points for valence and
    arousal.
    """

    def change(data: dict[str, Any]) -> None:
        points = data["recalibration"]["points"]
        data["recalibration"]["points"] = [[0.1 * value for value in point] for point in points]
        for tolerance in (data["golden"], data["golden"]["int8"]):
            tolerance["affect_max"] = 2.0

    model = changed_copy(find_model("expression-nir"), tmp_path / "calm", change)
    return (
        *("--set", "expression.priors={ neutral = 0.9999 }", "--set", "affect.baseline_min_s=1"),
        *("--set", f"expression.model='{model}'"),
    )


def has_classified_face(message: Message) -> bool:
    return message["kind"] == "frame" and any(face["affect"] for face in message["faces"])


def face_of(code: str, message: Message) -> dict[str, Any] | None:
    faces = message["faces"] if message["kind"] == "frame" else []
    return next((face for face in faces if face["participant"] == code and face["affect"]), None)


def test_a_mark_is_published_as_a_numbered_event(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        done = affect_edge("mark", "pressure 2.8 bar", "--service", daemon.service)
        assert (done.returncode, done.stderr) == (0, "")
        event = daemon.wait_for(lambda m: m.get("event") == "mark")
        assert event["detail"] == {"text": "pressure 2.8 bar"}
        assert f"message {event['seq']}" in done.stdout
        assert daemon.stop()[0] == 0
    numbers = [m["seq"] for m in daemon.messages if m["kind"] != "status"]
    assert numbers == list(range(len(numbers)))


def assign(daemon: RunningDaemon, code: str) -> int:
    """Assign ``code`` to the next classified face; return its track."""
    message = daemon.wait_for(has_classified_face)
    track = int(next(face["track"] for face in message["faces"] if face["affect"]))
    ask(daemon.service, AssignRequest(track=track, participant=code))
    return track


def learn_baseline(daemon: RunningDaemon, code: str, seconds: float) -> dict[str, Any]:
    """Let the daemon learn for ``seconds`` of the source's time; return the reply to the stop."""
    ask(daemon.service, BaselineRequest(action="start", participant=code))
    start_ns = daemon.wait_for(lambda m: state(code, m) == "learning")["time"]["sensor_ns"]
    daemon.wait_for(
        lambda m: face_of(code, m) is not None and m["time"]["sensor_ns"] - start_ns > seconds * 1e9
    )
    return ask(daemon.service, BaselineRequest(action="stop", participant=code))


def state(code: str, message: Message) -> str | None:
    face = face_of(code, message)
    return face["affect"]["baseline"] if face else None


def test_relative_values_have_the_baseline_as_origin(tmp_path: Path, calm: tuple[str, ...]) -> None:
    with RunningDaemon(tmp_path, *DEMO, *calm) as daemon:
        track = assign(daemon, "P07")
        first = daemon.wait_for(lambda m: face_of("P07", m) is not None)
        assigned = daemon.events("participant_assigned")[0]
        assert assigned["detail"] == {"track": track, "participant": "P07"}
        assert assigned["seq"] < first["seq"]
        assert state("P07", first) == "none"
        reply = learn_baseline(daemon, "P07", 1.5)
        last = daemon.wait_for(lambda m: state("P07", m) in ("ready", "invalid"))
        ready = daemon.events("baseline_ready")[0]
        assert ready["detail"].items() <= reply.items()
        learning = [
            face["affect"]
            for message in daemon.frames
            if (face := face_of("P07", message)) and state("P07", message) == "learning"
        ]
        assert reply["readings"] == len(learning)
        assert all(affect["relative"] is None for affect in learning)
        latest = face_of("P07", last)["affect"]
        for axis in ("valence", "arousal"):
            mean = sum(affect[axis] for affect in learning) / len(learning)
            assert reply[axis] == pytest.approx(mean, abs=6e-5)
            expected = math.tanh(math.atanh(latest[axis]) - math.atanh(reply[axis]))
            assert latest["relative"][axis] == pytest.approx(expected, abs=1e-4)
        # faces without a participant are unchanged
        others = [f for m in daemon.frames for f in m["faces"] if f["track"] != track]
        assert all(face["participant"] is None for face in others)
        assert daemon.stop()[0] == 0


def test_a_smile_gives_an_invalid_baseline(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, "--set", "affect.baseline_min_s=1") as daemon:
        assign(daemon, "P07")
        reply = learn_baseline(daemon, "P07", 1.5)
        assert reply["baseline"] == "invalid"
        assert "not neutral: happy" in reply["reason"]
        message = daemon.wait_for(lambda m: state("P07", m) not in (None, "learning"))
        assert state("P07", message) == "invalid"
        assert face_of("P07", message)["affect"]["relative"] is None
        assert daemon.events("baseline_invalid")[0]["detail"].items() <= reply.items()


def test_a_baseline_is_kept_when_the_worker_is_replaced(
    tmp_path: Path, calm: tuple[str, ...]
) -> None:
    with RunningDaemon(tmp_path, *DEMO, *calm) as daemon:
        before = assign(daemon, "P07")
        assert learn_baseline(daemon, "P07", 1.2)["baseline"] == "ready"
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda m: m.get("event") == "worker_started")
        again = daemon.wait_for(has_classified_face)
        # the new worker's tracks are not assigned
        assert all(face["participant"] is None for face in again["faces"])
        assert assign(daemon, "P07") != before
        message = daemon.wait_for(lambda m: face_of("P07", m) is not None)
        assert state("P07", message) == "ready"


@pytest.fixture
def constant_face(tmp_path: Path) -> tuple[str, ...]:
    """Return arguments for a source that shows one face."""
    return (*still_face(tmp_path / "pictures"), "--wait-for-subscriber")


def test_an_operator_learns_a_baseline_with_four_commands(
    tmp_path: Path,
    constant_face: tuple[str, ...],
    calm: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = ("--service", f"ipc://{tmp_path}/service")
    with RunningDaemon(
        tmp_path, *constant_face, *calm, "--set", "affect.baseline_min_s=0.1"
    ) as daemon:
        track = str(daemon.wait_for(has_classified_face)["faces"][0]["track"])

        def run(*words: str) -> tuple[int, str]:
            code = run_command_line([*words, *service])
            printed = capsys.readouterr()
            assert printed.out.count("\n") + printed.err.count("\n") == 1
            return code, printed.out + printed.err

        code, line = run("participant", "list")
        assert (code, line.startswith("no participants")) == (0, True)
        code, line = run("participant", "assign", "999", "P07")
        assert (code, "track 999 is not in view; in view:" in line) == (78, True)
        code, line = run("participant", "assign", track, "Jane Doe")
        assert (code, "participant: expected a letter" in line) == (78, True)
        code, line = run("participant", "assign", track, "P07")
        assert (code, line.startswith(f"track {track} is P07 at ")) == (0, True)
        code, line = run("baseline", "stop", "P07")
        assert (code, "no baseline of P07 is being learnt" in line) == (78, True)
        code, line = run("baseline", "start", "P07")
        assert (code, line.startswith("learning the baseline of P07 at ")) == (0, True)
        for _ in range(3):
            daemon.wait_for(lambda m: state("P07", m) == "learning")
        code, line = run("baseline", "stop", "P07")
        assert (code, line.startswith("baseline of P07: valence ")) == (0, True), line
        code, line = run("participant", "list")
        told = rf"P07  track {track}, in view since [-\d]+ [:\d]+ UTC, baseline ready\n"
        assert (code, re.fullmatch(told, line) is not None) == (0, True), line
        code, line = run("participant", "release", "P07")
        assert (code, line.startswith("P07 is released at ")) == (0, True)


def test_no_track_can_be_assigned_while_no_worker_runs(
    tmp_path: Path, constant_face: tuple[str, ...]
) -> None:
    with RunningDaemon(tmp_path, *constant_face) as daemon:
        track = assign(daemon, "P07")
        daemon.wait_for(lambda m: face_of("P07", m) is not None)
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        daemon.wait_for(lambda m: m.get("event") == "worker_lost")
        with pytest.raises(RequestRefused, match=f"track {track} is not in view"):
            ask(daemon.service, AssignRequest(track=track, participant="P08"))
        ended = daemon.wait_for(lambda m: m.get("event") == "participant_track_ended")
        assert ended["detail"] == {"track": track, "participant": "P07", "seat": None}
        (participant,) = ask(daemon.service, StatusRequest())["participants"]
        since_ns = participant.pop("since_unix_ns")
        assert participant == {
            "participant": "P07", "track": track, "seat": None, "in_view": False,
            "baseline": "none",
        }  # fmt: skip
        seen = [m for m in daemon.frames if face_of("P07", m) is not None]
        published = [m["time"]["published_ns"] for m in seen]
        (lost,) = daemon.events("worker_lost")
        last_ns = ended["time"]["monotonic_ns"] - (ended["time"]["unix_ns"] - since_ns)
        # between the last frame and the loss; two clocks are read one after the other, and a busy
        # machine may be late between them
        assert published[-1] - 500e6 <= last_ns <= lost["time"]["monotonic_ns"] + 500e6


def test_an_invalid_baseline_gives_exit_code_1(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        assign(daemon, "P07")
        ask(daemon.service, BaselineRequest(action="start", participant="P07"))
        done = affect_edge("baseline", "stop", "P07", "--service", daemon.service)
        assert done.returncode == 1
        assert done.stdout.startswith("no baseline of P07: classified for ")


def test_clocks_status_and_schema_can_be_requested(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        sent_ns = clock.monotonic_ns()
        clocks = ask(daemon.service, TimeRequest())
        received_ns = clock.monotonic_ns()
        times = [sent_ns, clocks["received"]["monotonic_ns"], clocks["sent"]["monotonic_ns"]]
        assert [*times, received_ns] == sorted([*times, received_ns])  # one machine, one clock
        assert abs(clocks["received"]["unix_ns"] - clock.wall_ns()) < 60e9
        status = ask(daemon.service, StatusRequest())["status"]
        assert decode(f"x {json.dumps(status)}".encode()).kind == "status"
        assert status["device"] == "edge"
        assert ask(daemon.service, SchemaRequest())["schema"] == json.loads(json_schema())
        assert daemon.stop()[0] == 0


def test_a_mark_before_the_first_subscriber_is_refused(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO, topic="nothing.") as daemon:
        status = first_status(daemon.service)
        assert status["source_state"] in ("starting", "waiting")
        with pytest.raises(RequestRefused, match="nothing is recorded before somebody subscribes"):
            ask(daemon.service, MarkRequest(text="early"))
        with pytest.raises(RequestRefused, match="nothing is recorded before somebody subscribes"):
            ask(daemon.service, AssignRequest(track=1, participant="P07"))
        daemon.subscribe("affect.v1.")
        daemon.wait_for_frame()
        ask(daemon.service, MarkRequest(text="now"))
        assert daemon.stop()[0] == 0
        assert [m["detail"] for m in daemon.events("mark")] == [{"text": "now"}]


def first_status(service: str) -> dict[str, Any]:
    """Ask until the daemon has started and published a status; return it."""
    for _ in range(50):
        try:
            if (status := ask(service, StatusRequest())["status"]) is not None:
                return dict(status)
        except ServiceUnavailable:
            continue
    raise AssertionError("the service did not start")


def test_an_endpoint_without_a_daemon_gives_a_one_line_error(tmp_path: Path) -> None:
    done = affect_edge("mark", "x", "--service", f"ipc://{tmp_path}/none")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no reply from" in done.stderr
    done = affect_edge("mark", "x", "--service", "carrier-pigeon://loft")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "carrier-pigeon" in done.stderr
    done = affect_edge("mark", "x", "--service", "ipc:///tmp/\udcff")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)


def test_a_mark_in_characters_that_the_terminal_lacks_succeeds(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, *DEMO) as daemon:
        daemon.wait_for_frame()
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        done = affect_edge("mark", "Größe", "--service", daemon.service, environment=ascii_only)
        assert (done.returncode, done.stderr) == (0, "")
        assert daemon.wait_for(lambda m: m.get("event") == "mark")["detail"] == {"text": "Größe"}


def test_a_reply_of_another_program_is_reported(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    other = context.socket(zmq.REP)
    other.bind(f"ipc://{tmp_path}/other")

    def stranger() -> None:
        other.recv()
        other.send(b"<html>")

    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(stranger)
            with pytest.raises(ServiceUnavailable, match="not from affect-edge"):
                ask(f"ipc://{tmp_path}/other", TimeRequest())
    finally:
        context.destroy(linger=0)
