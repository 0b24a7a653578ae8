"""``affect-edge tail``: rows in a terminal and in a pipe."""

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.client import Gap, Subscriber
from edge.tools import silence
from edge.tools.tail import HEADER, gap_row, row, run_tail
from tests.support.waiting import HANG_S
from tests.support.wire import MESH, Publisher, event, face, frame, status


def never():
    return False


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/pub"


def tail_of(endpoint, sent, console, limit):
    with Publisher(endpoint) as publisher, Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(*sent)
        return run_tail(subscriber, console, never, limit)


def test_a_frame_gives_a_line_per_face():
    unclassified = face(12, reasons=("too_small", "blurred"), classified=False)
    assert str(row(frame(3, face(4), unclassified))).splitlines() == [
        "22:13:20.123       10      4  neutral     +0.50    -0.10    17.0 ms  ok",
        "22:13:20.123       10     12  -               -        -    17.0 ms  too_small, blurred",
    ]
    assert str(row(frame(3))) == (
        "22:13:20.123       10      -  no face                       17.0 ms"
    )


def test_participant_and_seat_of_a_face_are_shown():
    known = face(4) | {"participant": "P07", "seat": "left"}
    faces = [known, known | {"participant": None}, known | {"seat": None}]
    ends = [line.rpartition("ms  ")[2] for line in str(row(frame(3, *faces))).splitlines()]
    assert ends == ["P07 on left: ok", "left: ok", "P07: ok"]


def test_a_row_says_what_the_mesh_knows_of_the_eyes():
    lids = [
        MESH["lids"] | {"closed_s": 2.6},
        MESH["lids"] | {"perclos": None, "perclos_reason": "too_seldom"},
    ]
    faces = [face(4) | {"mesh": MESH | {"lids": each}} for each in lids]
    ends = [line.rpartition("ms  ")[2] for line in str(row(frame(3, *faces))).splitlines()]
    assert ends == ["ok; eyes closed for 3 s, PERCLOS 12 %", "ok"]


def test_values_stand_below_their_column_names():
    line = str(row(frame(3, face(4))))
    assert line.index("neutral") == HEADER.index("label")
    for shown, name in (("10 ", "frame "), ("4  n", "track  l"), ("17.0 ms", "latency")):
        assert line.index(shown) + len(shown) == HEADER.index(name) + len(name)
    assert line.index("ok") == HEADER.index("quality")


def test_lines_of_events_gaps_and_statuses():
    assert str(row(event(0, "worker_lost", {"why": "stalled"}))) == (
        '22:13:20.123  edge: worker_lost {"why": "stalled"}'
    )
    assert str(row(event(0))) == "22:13:20.123  edge: epoch_started"
    assert str(gap_row(Gap("s", 3, 5, 9), "edge")) == "edge: 5 messages missing, 5 to 9 of epoch 3"
    assert str(row(status(3, state="stalled"))) == (
        "22:13:20.123  edge: excellent, source stalled, 29.8 frames/s"
    )
    assert str(row(status(3, picture_state="dark"))) == (
        "22:13:20.123  edge: excellent, source running, picture dark, 29.8 frames/s"
    )


@given(st.text())
def test_text_from_the_network_cannot_control_the_terminal(text):
    sent = [
        event(0, text, {"text": text}, device=text),
        status(0, state=text, device=text),
        frame(0, face(reasons=(text,))),
    ]
    for message in sent:
        assert str(row(message)).isprintable()


def test_lines_of_a_run(endpoint):
    out = io.StringIO()
    console = Console(file=out, width=20)  # narrow, but rows are not wrapped
    sent = [event(0), status(0), frame(1, face()), status(1), frame(4), status(4, state="stalled")]
    assert tail_of(endpoint, [*sent, frame(5)], console, limit=4) == 4
    lines = out.getvalue().splitlines()
    assert lines[0] == HEADER
    assert [line for line in lines if "source" in line] == [
        str(row(status(0))),
        str(row(status(4, state="stalled"))),
    ]
    assert lines[4:6] == ["edge: 2 messages missing, 2 to 3 of epoch 1", str(row(frame(4)))]
    assert len(lines) == 8
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_colours(endpoint):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=100)
    tail_of(endpoint, [event(0)], console, limit=1)
    assert "\x1b[36m" in out.getvalue()


def test_stop_ends_the_run(endpoint):
    answers = iter([False, False, True])
    with Subscriber([endpoint]) as subscriber:
        console = Console(file=io.StringIO())
        assert run_tail(subscriber, console, lambda: next(answers)) == 0


def test_silence_is_reported_once(endpoint, monkeypatch, capsys):
    monkeypatch.setattr(silence, "NOBODY_MS", 100.0)
    answers = iter([*[False] * 4, True])
    with Subscriber([endpoint, endpoint + "2"]) as subscriber:
        run_tail(subscriber, Console(file=io.StringIO()), lambda: next(answers))
    captured = capsys.readouterr()
    assert captured.err == (
        f"affect-edge: nobody publishes at {endpoint}, {endpoint}2 yet; waiting;"
        " is a daemon running there, and is that its publish.endpoint?\n"
    )
    assert captured.out == ""


def test_a_device_that_falls_silent_does_not_control_the_terminal(endpoint, monkeypatch, capsys):
    monkeypatch.setattr(silence, "SILENT_MS", 100.0)
    said = []

    def has_said():
        said.append(capsys.readouterr().err)
        return any(said)

    with Publisher(endpoint) as publisher, Subscriber([endpoint]) as subscriber:
        publisher.wait_for_subscriptions()
        publisher.send(frame(1, device="\x1b]0;gone"))
        run_tail(subscriber, Console(file=io.StringIO()), has_said)
    assert "".join(said).startswith(r"affect-edge: \x1b]0;gone: nothing received for ")


TAIL = """
import sys
from rich.console import Console
from edge.client import Subscriber
from edge.tools.tail import run_tail
with Subscriber([sys.argv[1]]) as subscriber:
    run_tail(subscriber, Console(), lambda: False, int(sys.argv[2]))
"""


def test_lines_are_flushed_at_once_to_a_pipe(endpoint):
    command = [sys.executable, "-c", TAIL, endpoint, "2"]
    with (
        Publisher(endpoint) as publisher,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail,
    ):
        try:
            publisher.wait_for_subscriptions()
            assert tail.stdout.readline().rstrip() == HEADER
            for message in (event(0), frame(1, face())):
                publisher.send(message)
                assert tail.stdout.readline().rstrip() == str(row(message))
            assert tail.wait(timeout=HANG_S) == 0
        finally:
            tail.kill()
