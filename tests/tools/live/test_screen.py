"""Lines of the live view, from messages to text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from edge.client import Gap, Received
from edge.protocol.events import FREQUENT, ModelReference
from edge.protocol.messages import StatusMessage
from edge.tools.live.screen import bar, body_lines, flow, note_lines, span
from edge.tools.live.state import LiveState
from edge.tools.live.view import Screen
from tests.support.wire import MESH, event, face, frame, status

SECOND = 1_000_000_000


def state_of(*sent, at_ns=SECOND, state=None):
    state = state or LiveState()
    for message in sent:
        state.note(Received(message, b"", None, False), at_ns)
    return state


def shown(state, now_ns=SECOND, width=80):
    lines = body_lines(state, now_ns, width)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def known(track, participant=None, seat=None, **others):
    return face(track, **others) | {"participant": participant, "seat": seat}


def test_a_face_that_is_read_shows_label_probability_and_smoothed_values():
    state = state_of(status(0), frame(1, known(4, "P07", "left")))
    assert shown(state) == [
        "edge  excellent  29.8 of 30.0 frames/s  picture normal",
        "  latency p50 17, p99 17 ms  dropped 0  clock not synchronized",
        "who          track label       p valence         arousal            age state",
        "P07 left         4 neutral   10% +0.50 ····│██·· -0.10 ···▐│····   12 s ok",
    ]


def with_mesh(track=4, **lids):
    return face(track) | {"mesh": MESH | {"lids": MESH["lids"] | lids}}


def test_eyes_and_head_stand_below_the_line_of_a_face_that_the_mesh_measures():
    state = state_of(frame(1, with_mesh()))
    head = "head yaw -8 pitch +3 roll +0 degrees"
    assert shown(state, width=100)[-1] == (f"  PERCLOS 12 %, blinks measured too seldom, {head}")
    short = {"perclos": None, "perclos_reason": "too_short", "blinks_reason": "too_short"}
    state_of(frame(2, with_mesh(**short)), state=state)
    assert shown(state, width=100)[-1] == f"  PERCLOS and blinks known after a minute, {head}"
    state_of(frame(3, with_mesh(closed_s=0.3)), state=state)
    assert shown(state)[-1].startswith("  PERCLOS"), "a blink is no news"
    state_of(frame(4, with_mesh(closed_s=4.2, blinks_per_min=14.4, blinks_reason="")), state=state)
    assert shown(state, width=60)[-1].startswith(
        "  eyes closed for 4 s, PERCLOS 12 %, blinks 14/min, head"
    )
    assert max(map(len, shown(state, width=42)[-2:])) <= 42


def test_a_face_that_the_mesh_does_not_reach_says_so():
    assert "measured" not in "".join(shown(state_of(status(0), frame(1, face()))))
    models = {"mesh": ModelReference(name="face-mesh", sha256="0")}
    state = state_of(status(0).model_copy(update={"models": models}), frame(1, face()))
    assert shown(state)[-1] == "  eyes and head not measured"
    state_of(frame(2, with_mesh()), state=state)
    state_of(frame(3, face()), at_ns=3 * SECOND, state=state)
    assert "PERCLOS 12 %" in shown(state, 3 * SECOND)[-1], "between two turns"
    state_of(frame(4, face()), at_ns=9 * SECOND, state=state)
    assert shown(state, 9 * SECOND)[-1] == "  eyes and head not measured for 8 s"
    state_of(frame(5), at_ns=10 * SECOND, state=state)
    assert "measured for 9 s" in shown(state, 10 * SECOND)[-1], "lost for a moment is in view"
    state_of(frame(6), at_ns=11 * SECOND, state=state)
    assert "measured" not in "".join(shown(state, 10 * SECOND)), "nobody is there to be measured"


def test_no_value_is_minus_zero():
    read = face(4)
    read["affect"] = read["affect"] | {"smoothed": {"valence": -0.0004, "arousal": -0.0049}}
    pose = {"yaw": -0.4, "pitch": -0.1, "roll": -0.5}
    state = state_of(frame(1, read | {"mesh": MESH | {"pose": pose}}))
    assert not re.search(r"-0(\.0+)?\b", "".join(shown(state, width=120)[1:]))


def test_daemons_with_one_name_have_rows_of_their_own():
    state = LiveState()
    for seq in range(3):
        for stream, code in (("aaaaaaaa-1", "P07"), ("bbbbbbbb-2", "P08")):
            state_of(status(seq, stream=stream), state=state)
            state_of(frame(seq, known(4, code), stream=stream), state=state)
    lines = shown(state, width=100)
    assert [line.split()[0] for line in lines if "neutral" in line] == ["P07", "P08"]
    assert "stream aaaaaaaa: 2 daemons have this name; expected a device.name" in " ".join(lines)
    # one ends: the other has the name for itself
    state_of(frame(9, known(4, "P08"), stream="bbbbbbbb-2"), at_ns=9 * SECOND, state=state)
    lines = shown(state, 9 * SECOND)
    assert [line.split()[0] for line in lines if "neutral" in line] == ["P08"]
    assert "daemons" not in " ".join(lines)
    # a daemon without a journal begins a new stream: it goes on in its place
    state_of(event(10, "epoch_ended", {"exit_code": 0}, stream="bbbbbbbb-2"), state=state)
    state_of(frame(0, known(1), stream="cccccccc-3"), at_ns=9 * SECOND, state=state)
    assert len(state.devices) == 1
    late = Received(frame(0, stream="dddddddd-4", device="other"), b"", None, True)
    state.note(late, 9 * SECOND)
    state_of(frame(1, stream="dddddddd-4", device="other"), at_ns=9 * SECOND, state=state)
    assert len(state.devices) == 2


def test_frequent_events_are_no_notes():
    sent = [event(1, name) for name in FREQUENT] * 9
    closed = event(2, "eyes_closed", {"track": 4, "closed_s": 2.1, "sensor_ns": 123})
    state = state_of(event(0, "mark", {"text": "2.8 bar"}), *sent, closed)
    assert ["".join(text for text, _ in line) for line in note_lines(state, 9, 80)] == [
        '22:13:20  edge: mark "2.8 bar"',
        "22:13:20  edge: eyes_closed track 4, closed_s 2.1",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 110, 200])
def test_faces_fit_every_width(width):
    faces = [known(4, "P07", "left"), known(5, reasons=("too_dark",), classified=False)]
    state = state_of(status(0), frame(1, *faces))
    lines = shown(state, width=width)
    assert max(cell_len(line) for line in lines[-2:]) <= max(width, 42)
    assert lines[-2].endswith("ok")
    assert "not read yet: too dark"[: width - 22] in lines[-1]


def test_a_face_that_cannot_be_read_shows_since_when_and_why():
    state = state_of(frame(1, known(4, "P07")))
    dark = known(4, "P07", reasons=("too_dark", "blurred"), classified=False)
    state_of(frame(2, dark), at_ns=SECOND + SECOND // 2, state=state)
    assert shown(state, SECOND + SECOND // 2)[-1].endswith("ok"), "within a second"
    state_of(frame(3, dark), at_ns=41 * SECOND, state=state)
    line = shown(state, 41 * SECOND)[-1]
    assert "not read for 40 s: too dark, blurred" in line
    assert "neutral" not in line
    assert "+0.50" not in line, "old values are not shown as present ones"


def test_a_participant_out_of_view_is_kept_and_an_unknown_face_is_not():
    state = state_of(frame(1, known(4, "P07"), known(5), known(6, None, "right")))
    state_of(frame(2), at_ns=8 * SECOND, state=state)
    lines = shown(state, 8 * SECOND)
    assert [line[:18].split() for line in lines[-2:]] == [["P07", "4"], ["right", "6"]]
    assert all("not in view for 7 s" in line for line in lines[-2:])


def test_who_was_not_in_view_when_the_daemon_was_asked_has_a_row():
    def of(code, seat=None, since_s=None, *, in_view=False):
        since_ns = None if since_s is None else since_s * SECOND
        return {"participant": code, "seat": seat, "in_view": in_view, "since_unix_ns": since_ns}

    state = state_of(status(0), frame(1, known(4, "P07", "left"), known(5, None, "back")))
    reply = {
        "participants": [
            of("P07", "left", 50), of("P01", None, 40), of("P02", "right"), of("P03", in_view=True),
            of("P04\x1b", None, 101),
        ],
        "seats": {"left": "P07", "right": "P02", "back": None, "door": None},
    }  # fmt: skip
    state.devices["edge"].note_known(reply, 100 * SECOND)
    assert [(line[:12].rstrip(), line[19:].rstrip()) for line in shown(state)[3:]] == [
        ("P01", "not in view for 60 s"),
        ("P02 right", "not in view yet"),
        ("P04\\x1b", "not in view for 0 s"),
        ("P07 left", shown(state)[6][19:]),
        ("back", shown(state)[7][19:]),
        ("door", "nobody in view, no code"),
    ]
    assert max(map(len, shown(state, width=40)[-6:])) <= 42


def test_a_row_follows_the_participant_from_track_to_track():
    state = state_of(frame(1, known(4)), frame(2, known(4, "P07")), frame(3, known(9, "P07")))
    rows = shown(state)[2:]
    assert len(rows) == 1
    assert rows[0].startswith("P07              9")


def test_two_faces_on_one_seat_have_two_rows():
    rows = shown(state_of(frame(1, known(4, None, "left"), known(5, None, "left"))))[2:]
    assert [row.split()[:2] for row in rows] == [["left", "4"], ["left", "5"]]


def test_stalls_silence_and_the_end_show_in_place_of_values():
    state = state_of(status(0), frame(1, known(4)))
    state_of(status(1, state="stalled"), at_ns=9 * SECOND, state=state)
    lines = shown(state, 9 * SECOND)
    assert "source stalled" in lines[0]
    assert "no picture for 8 s" in lines[-1]
    assert "nothing received for 20 s" in shown(state, 29 * SECOND)[0]
    state_of(event(2, "epoch_ended", {"exit_code": 75}), at_ns=30 * SECOND, state=state)
    assert shown(state, 31 * SECOND)[0].startswith("edge  ended with exit code 75")


def test_a_new_run_forgets_tracks_and_keeps_participants():
    state = state_of(frame(1, known(4), known(5, "P07")))
    state_of(event(0, epoch=2), frame(1, epoch=2), state=state)
    assert [line.split()[0] for line in shown(state)[2:]] == ["P07"]
    state_of(event(2, "participant_released", {"participant": "P07"}, epoch=2), state=state)
    assert shown(state)[-1] == "no face in view"


def test_marks_events_and_gaps_are_notes():
    state = state_of(event(0, "mark", {"text": "2.8 bar"}))
    message = event(5, "picture_state", {"state": "dark", "reason": "for 3 s", "config": {"a": 1}})
    state.note(Received(message, b"", Gap("s", 1, 1, 4), False), SECOND)
    assert ["".join(text for text, _ in line) for line in note_lines(state, 9, 80)] == [
        '22:13:20  edge: mark "2.8 bar"',
        "edge: 4 messages missing, 1 to 4 of epoch 1",
        "22:13:20  edge: picture_state state dark, reason for 3 s",
    ]
    assert "4 messages missed here" in shown(state)[0]
    assert ["".join(text for text, _ in line) for line in note_lines(state, 2, 40)] == [
        "22:13:20  edge: picture_state state",
        "  dark, reason for 3 s",
    ]


def test_active_alarms_stand_below_their_device():
    long = " ".join(["the source is stalled"] * 5)
    alarms = [
        {"rule": "not_read", "subject": "P07", "since_s": 40.2, "text": "not read: too dark"},
        {
            "rule": "source",
            "subject": "",
            "since_s": 9.0,
            "text": long,
        },
    ]
    fields = status(0).model_dump(by_alias=True) | {"alarms": alarms}
    lines = shown(state_of(StatusMessage.model_validate(fields)))[1:]
    assert lines[1] == "  ALARM P07: not read: too dark, for 40 s"
    assert lines[2].startswith("  ALARM the source is stalled")
    assert lines[3].endswith("is stalled, for 9 s")
    assert all(len(line) <= 80 for line in lines)


def test_devices_stand_in_the_order_of_their_names():
    state = state_of(frame(1, device="b"), frame(1, device="a"))
    assert [line.split()[0] for line in shown(state) if line][::2] == ["a", "b"]


@given(st.integers(1, 130), st.integers(1, 60), st.integers(0, 40), st.integers(0, 30))
def test_a_screen_fits_terminals_of_every_size(width, height, faces, events):
    sent = [status(0), frame(1, *(known(track, f"P{track}") for track in range(1, faces + 1)))]
    marks = [event(2 + number, "mark", {"text": "word " * number}) for number in range(events)]
    screen = Screen(state_of(*sent, *marks), ["tcp://127.0.0.1:5555"])
    for key in ("page down", "down", "up", "home", "page up", "quit"):
        screen.scroll(key)
        lines = screen.lines(width, height, SECOND)
        assert 1 <= len(lines) <= height
        assert all(isinstance(text, str) for line in lines for text, _ in line)


@given(st.text())
def test_text_from_the_network_cannot_control_the_terminal(text):
    unread = known(5, None, text or None, reasons=(text,), classified=False)
    state = state_of(
        event(0, text, {text: text}, device=text),
        status(0, state=text, picture_state=text, device=text),
        frame(1, known(4, text or None), unread, device=text),
    )
    lines = [*shown(state), *("".join(t for t, _ in line) for line in note_lines(state, 9, 80))]
    assert all(line.isprintable() for line in lines)


@given(st.floats(-1, 1), st.sampled_from([5, 9, 17]))
def test_a_bar_is_as_long_as_its_value(value, width):
    drawn = bar(value, width)
    assert len(drawn) == width
    assert drawn[width // 2] == "│"
    filled = drawn.count("█") + (drawn.count("▌") + drawn.count("▐")) / 2
    assert abs(filled - abs(value) * (width // 2)) <= 0.25
    assert not filled or ("█" in drawn[width // 2 :] or "▌" in drawn) == (value > 0)


def test_spans_and_lines_that_are_full():
    assert [span(s * SECOND) for s in (0, 99, 100, 5999, 6000)] == [
        "0 s", "99 s", "1 min", "99 min", "1 h",
    ]  # fmt: skip
    pieces = [("abcd", ""), ("ef", "red"), ("ghijkl", "")]
    lines = flow(pieces, 8, "  ")
    assert ["".join(text for text, _ in line) for line in lines] == ["abcd  ef", "  ghijkl"]
