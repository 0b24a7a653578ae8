"""Participants, seats and sessions of a real daemon, which is killed."""

import json
import os
import signal
from pathlib import Path

import pytest

from edge.client.ask import ask
from edge.errors import RequestRefused
from edge.protocol.requests import (
    AssignRequest,
    BeginSessionRequest,
    EndSessionRequest,
    EraseRequest,
    FetchRequest,
    ListSessionsRequest,
    StatusRequest,
)
from tests.support.daemons import Message, RunningDaemon, affect_edge
from tests.support.left_files import content_of
from tests.support.still_face import still_face
from tests.support.waiting import wait_until

EVERYWHERE = "polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]"
TOP = "polygon = [[0, 0], [1, 0], [1, 0.01], [0, 0.01]]"


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[str, ...]:
    """Return arguments for a source that shows one face, and a journal's folder."""
    return (
        *(*still_face(tmp_path / "pictures"), "--wait-for-subscriber"),
        *("--set", f"journal.path={tmp_path / 'journal'}"),
    )


def codes(message: Message) -> list[str | None]:
    return [face["participant"] for face in message.get("faces", [])]


def test_a_killed_daemon_knows_who_is_who_and_the_session_goes_on(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    seats = ("--set", f"zones.seats={{ chair = {{ {EVERYWHERE} }} }}")
    with RunningDaemon(tmp_path, *arguments, *seats) as daemon:
        face = daemon.wait_for(lambda m: codes(m) == [None])["faces"][0]
        assert face["seat"] == "chair"
        assert face["expression"] is not None
        began = ask(daemon.service, BeginSessionRequest(name="morning", note="mask 2"))
        ask(daemon.service, AssignRequest(seat="chair", participant="P07"))
        daemon.wait_for(lambda m: codes(m) == ["P07"])
        status = daemon.wait_for(lambda m: m["kind"] == "status" and m["session"] is not None)
        assert status["session"] == {"session": began["session"], "name": "morning"}
        os.kill(daemon.worker_pid(), signal.SIGKILL)  # first the worker alone
        ended = daemon.wait_for(lambda m: m.get("event") == "participant_track_ended")
        back = daemon.wait_for(lambda m: m.get("event") == "participant_track_returned")
        assert back["detail"]["participant"] == ended["detail"]["participant"] == "P07"
        assert back["detail"]["track"] != ended["detail"]["track"]
        daemon.process.kill()
        daemon.process.wait()
    with RunningDaemon(tmp_path, *arguments, *seats) as daemon:
        daemon.wait_for(lambda m: codes(m) == ["P07"])
        # a status may come between them
        assert [each["event"] for each in daemon.messages if each["kind"] == "event"][1:4] == [
            "participants_restored",
            "session_resumed",
            "seat_assigned",
        ]
        back = daemon.wait_for(lambda m: m.get("event") == "participant_track_returned")
        assert back["detail"]["away_s"] > 0
        reply = ask(daemon.service, EndSessionRequest())
        assert (reply["restarts"], reply["participants"]) == (1, ["P07"])
        assert reply["seats"] == {"chair": "P07"}
        daemon.wait_for(lambda m: codes(m) == [None])
        assert [
            each["name"] for each in ask(daemon.service, ListSessionsRequest())["sessions"]
        ] == ["morning"]
        with pytest.raises(RequestRefused, match="no session is running"):
            ask(daemon.service, EndSessionRequest())


def test_nobody_outside_a_seat_is_published(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    seats = ("--set", f"zones.seats={{ chair = {{ {TOP}, participant = 'P07' }} }}")
    with RunningDaemon(tmp_path, *arguments, *seats) as daemon:
        frames = [daemon.wait_for_frame() for _ in range(10)]
        assert all(frame["faces"] == [] for frame in frames)
        assert all(frame["frame"]["ignored"] == 1 for frame in frames)
        reply = ask(daemon.service, StatusRequest())
        assert reply["seats"] == {"chair": "P07"}
        assert [each["since_unix_ns"] for each in reply["participants"]] == [None]


def test_the_operators_commands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    seats = ("--set", f"zones.seats={{ chair = {{ {EVERYWHERE} }} }}")
    with RunningDaemon(tmp_path, *arguments, *seats) as daemon:
        daemon.wait_for_frame()

        def run(*words: str) -> tuple[int, str]:
            done = affect_edge(*words, "--service", daemon.service)
            return done.returncode, done.stdout + done.stderr

        assert "seat chair has no participant" in run("participant", "list")[1]
        assert run("session", "list") == (0, "no sessions; affect-edge session begin NAME\n")
        code, line = run("session", "begin", "MAR1")
        assert (code, "a spreadsheet would turn it into a date" in line) == (78, True)
        assert run("session", "begin", "morning", "--note", "mask 2")[0] == 0
        assert run("session", "begin", "noon")[0] == 78
        code, line = run("participant", "assign", "chair", "P07")
        assert (code, line.startswith("whoever sits on chair is P07 at ")) == (0, True)
        code, line = run("participant", "assign", "1", "P07")
        assert (code, "codes belong to seats; expected one of chair" in line) == (78, True)
        daemon.wait_for(lambda m: codes(m) == ["P07"])
        assert "P07  seat chair, track" in run("participant", "list")[1]
        assert "running" in run("session", "list")[1]
        code, line = run("session", "end")
        assert (code, "seat chair is not P07 any more" in line) == (0, True)
        assert "frames, P07; mask 2" in run("session", "list")[1]
        kept = json.loads((tmp_path / "journal" / "participants.json").read_bytes())
        assert [each["name"] for each in kept["sessions"]] == ["morning"]


def test_a_session_is_erased_from_the_journal_while_the_daemon_runs(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    tail = tmp_path / "tail"
    seats = ("--set", f"zones.seats={{ chair = {{ {EVERYWHERE} }} }}")
    kept_in = ("--set", f"journal.tail={tail}")
    with RunningDaemon(tmp_path, *arguments, *seats, *kept_in) as daemon:
        daemon.wait_for_frame()
        began = ask(daemon.service, BeginSessionRequest(name="morning", note="mask-two"))
        ask(daemon.service, AssignRequest(seat="chair", participant="PX99"))
        for _ in range(10):
            daemon.wait_for(lambda m: codes(m) == ["PX99"])
        with pytest.raises(RequestRefused, match="session morning is running; end it first"):
            ask(daemon.service, EraseRequest(session="morning"))
        wait_until(lambda: any(b"PX99" in content_of(path) for path in tail.rglob("*.tail")))
        ended = ask(daemon.service, EndSessionRequest())
        daemon.wait_for(lambda m: codes(m) == [None])
        done = affect_edge("erase", "--session", "morning", "--service", daemon.service)
        assert done.returncode == 0, done.stderr
        assert "erased session morning and the codes PX99: " in done.stdout
        assert "0 hits of " in done.stdout
        erased = daemon.wait_for(lambda m: m.get("event") == "session_erased")
        # the code is also in the event that its track has ended, after the session
        assert erased["detail"]["messages"] >= ended["seq"] - began["seq"] + 1
        assert erased["detail"]["session"] == began["session"]
        listed = ask(daemon.service, ListSessionsRequest())["sessions"]
        assert listed == []
        for path in [*tail.rglob("*.tail"), *(tmp_path / "journal").iterdir()]:
            for word in (b"morning", b"mask-two", b"PX99"):
                assert word not in content_of(path), (path, word)
        first = ended["seq"] - 1
        missing = ask(
            daemon.service,
            FetchRequest(stream=erased["stream"], epoch=1, seq=began["seq"] - 1, max=5),
        )["gap"]
        assert missing["first_missing"] == began["seq"]
        assert missing["last_missing"] >= first
        assert missing["reason"] == "erased"
        with pytest.raises(RequestRefused, match="no session morning"):
            ask(daemon.service, EraseRequest(session="morning"))
        daemon.process.kill()
        daemon.process.wait()
    with RunningDaemon(tmp_path, *arguments, *seats, *kept_in) as daemon:
        daemon.wait_for_frame()
        again = ask(
            daemon.service,
            FetchRequest(stream=erased["stream"], epoch=1, seq=began["seq"] - 1, max=5),
        )["gap"]
        assert again == missing
        assert ask(daemon.service, ListSessionsRequest())["sessions"] == []
