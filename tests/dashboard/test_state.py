"""The state of the page: updates, cards and their keys, bounds."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from edge.client.view import View
from edge.dashboard import state as state_module
from edge.dashboard.chambers import CARDS_MAX
from edge.dashboard.event_list import EVENTS_MAX
from edge.dashboard.state import State
from edge.protocol.events import FREQUENT, ModelReference
from edge.protocol.face_mesh import FaceMesh
from edge.protocol.messages import ActiveAlarm, FrameMessage, Rates, ScheduleStatus
from edge.vocabulary import EXPRESSIONS
from tests.support.page_messages import STREAM, event, frame, status
from tests.support.wire import MESH


def update(state: State, since: int = 0) -> tuple[int, dict[str, Any]]:
    version, body = state.update(since)
    return version, json.loads(body)


def shown(*messages: Any) -> State:
    state = State()
    for message in messages:
        state.apply(message, backfilled=False)
    return state


def reply(stream: str = STREAM, seats: Any = None, participants: Any = ()) -> dict[str, Any]:
    return {"status": {"stream": stream}, "seats": seats or {}, "participants": list(participants)}


def test_a_card_shows_what_the_message_says() -> None:
    message = frame(8, 4)
    face = message.faces[0]
    _, body = update(shown(message, status()))
    card = body["cards"]["c1"]["t:1.4"]
    assert face.expression is not None
    assert face.affect is not None
    assert card["label"] == face.expression.stable_label
    shares = face.expression.probabilities.model_dump()
    assert dict(zip(EXPRESSIONS, card["shares"], strict=True)) == shares
    assert card["raw"] == [face.affect.valence, face.affect.arousal]
    assert card["smoothed"] == [face.affect.smoothed.valence, face.affect.smoothed.arousal]
    assert card["in_view"] is True
    chamber = body["chambers"]["c1"]
    assert chamber["latency_ms"] == [16.0, 16.0]
    assert chamber["status"]["health"] == {"grade": "excellent", "reasons": []}


def test_an_update_holds_only_what_is_newer() -> None:
    state = shown(frame(0, 1, 2), status())
    version, _ = update(state)
    state.apply(frame(1, 1), backfilled=False)
    newer, body = update(state, version)
    assert newer > version
    assert "chambers" not in body
    assert body["cards"]["c1"].keys() == {"t:1.1", "t:1.2"}  # the second left
    assert body["cards"]["c1"]["t:1.2"]["in_view"] is False
    state.apply(frame(2, 1), backfilled=False)
    assert update(state, newer)[1]["cards"]["c1"].keys() == {"t:1.1"}
    assert update(state)[1]["whole"] is True


def test_viewers_in_step_share_one_encoding() -> None:
    state = shown(frame(0, 1))
    assert state.update(0)[1] is state.update(0)[1]


def test_a_card_keeps_the_newest_measurement_of_the_eyes_between_two_turns() -> None:
    mesh = FaceMesh.model_validate(MESH)
    state = shown(status(), frame(0, 1))
    _, body = update(state)
    assert body["chambers"]["c1"]["has_mesh"] is False
    assert not body["cards"]["c1"]["t:1.1"].keys() & {"lids", "measured_ms"}
    running = {"mesh": ModelReference(name="face-mesh", sha256="0")}
    for message in (status(models=running), frame(1, 1, mesh=mesh), frame(2, 1)):
        state.apply(message, backfilled=False)
    _, body = update(state)
    card = body["cards"]["c1"]["t:1.1"]
    assert body["chambers"]["c1"]["has_mesh"] is True
    assert card["lids"] == MESH["lids"]
    assert card["measured_ms"] == pytest.approx(card["seen_ms"], abs=10_000)


@pytest.mark.parametrize("name", sorted(FREQUENT))
def test_frequent_events_do_not_push_marks_off_the_list(name: str) -> None:
    frequent = [event(seq, name) for seq in range(1400)]
    state = shown(event(2000, "mark", text="2.8 bar"), *frequent[:700])
    state.apply_past(STREAM, [each.model_dump(by_alias=True) for each in frequent[700:]], 1.0)
    assert [each["event"] for each in update(state)[1]["events"]] == ["mark"]


def test_faces_that_come_and_go_do_not_push_off_marks_and_alarms() -> None:
    kept = ["mark", "session_began", "baseline_ready", "alarm_raised", "epoch_started"]
    state = shown(*(event(seq, name) for seq, name in enumerate(kept, 5000)))
    for seq in range(EVENTS_MAX * 2):
        state.apply(event(seq, "participant_track_ended", participant="P07"), backfilled=False)
    found = update(state)[1]["events"]
    assert len(found) == EVENTS_MAX
    assert [each["event"] for each in found][: len(kept)] == kept
    assert found[-1]["id"].endswith(f".{EVENTS_MAX * 2 - 1}")


def test_a_face_that_is_not_classified_is_not_neutral() -> None:
    face = frame(0, 1).faces[0]
    quality = face.quality.model_copy(update={"usable": False, "reasons": ["too_dark"]})
    state = shown(frame(0, 1), frame(1, 1, expression=None, affect=None, quality=quality))
    card = update(state)[1]["cards"]["c1"]["t:1.1"]
    assert card["reasons"] == ["too_dark"]
    assert not card.keys() & {"label", "shares", "raw", "smoothed"}
    assert card["read_ms"] is not None


def test_a_code_takes_over_the_history_of_its_track() -> None:
    state = shown(*(frame(seq, 4) for seq in range(90)))
    version, _ = update(state)
    state.answered("tcp://one:1", "edge", reply(participants=[{"participant": "P07"}]))
    state.apply(frame(90, 4, participant="P07"), backfilled=False)
    _, body = update(state, version)
    assert ["c1", "t:1.4"] in body["removed"]
    assert body["cards"]["c1"].keys() == {"p:P07"}
    points = state.history("c1", "p:P07")
    assert points is not None
    assert len(points) == 4
    assert state.history("c1", "t:1.4") is None


def test_seats_and_participants_have_cards_before_anybody_is_seen() -> None:
    state = shown(status())
    people = [
        {"participant": "P07", "seat": "left", "baseline": "ready", "since_unix_ns": 5_000_000}
    ]
    state.answered(
        "tcp://one:1", "edge", reply(seats={"left": "P07", "right": None}, participants=people)
    )
    cards = update(state)[1]["cards"]["c1"]
    assert cards.keys() == {"p:P07", "s:right"}
    assert cards["p:P07"]["seat"] == "left"
    assert cards["p:P07"]["baseline"] == "ready"
    assert cards["p:P07"]["in_view"] is False
    version = state.version
    state.answered("tcp://one:1", "edge", reply(seats={"left": None, "right": None}))
    body = update(state, version)[1]
    assert body["removed"] == [["c1", "p:P07"]]
    assert body["cards"]["c1"].keys() == {"s:left"}


def test_points_follow_by_the_second() -> None:
    state = shown(*(frame(seq, 1) for seq in range(31)))
    version, _ = update(state)
    for seq in range(31, 91):
        state.apply(frame(seq, 1), backfilled=False)
    points = update(state, version)[1]["points"]
    assert [point[:2] for point in points] == [["c1", "t:1.1"]] * 2
    expected = [
        face.affect.smoothed.valence
        for seq in range(30, 60)
        if (face := frame(seq, 1).faces[0]).affect is not None
    ]
    assert points[0][3] == pytest.approx(sum(expected) / 30, abs=2e-3)


def test_events_come_once_also_from_the_journal() -> None:
    mark = event(7, "mark", text="pressure 2.8 bar")
    state = shown(mark)
    state.apply_past(
        STREAM, [mark.model_dump(mode="json"), event(3, "mark", text="x").model_dump()], 1
    )
    events = update(state)[1]["events"]
    assert [(each["detail"]["text"], each["past"]) for each in events] == [
        ("pressure 2.8 bar", False),
        ("x", True),
    ]


def test_the_past_fills_histories_without_moving_the_present() -> None:
    state = shown(frame(9000, 1))
    before = update(state)[1]["cards"]["c1"]["t:1.1"]
    past = [frame(seq, 1).model_dump(mode="json", by_alias=True) for seq in range(0, 9000, 30)]
    state.apply_past(STREAM, past[:150], 0.5)
    assert update(state)[1]["chambers"]["c1"]["past"] == 0.5
    state.apply_past(STREAM, [*past[150:], {"kind": "frame"}, {}], 1.0)
    body = update(state)[1]
    assert body["chambers"]["c1"]["past"] is None
    after = body["cards"]["c1"]["t:1.1"]
    assert after.pop("history") > before.pop("history")
    assert after == before
    points = state.history("c1", "t:1.1")
    assert points is not None
    assert len(points) == 301


def test_the_past_of_a_track_that_is_seen_only_later_is_kept() -> None:
    state = shown(status())
    past = [frame(seq, 1, 2).model_dump(mode="json", by_alias=True) for seq in range(0, 300, 30)]
    state.apply_past(STREAM, past, 0.5)
    assert "cards" not in update(state)[1]
    state.apply(frame(300, 1), backfilled=False)
    state.apply_past(STREAM, [], 1.0)
    points = state.history("c1", "t:1.1")
    assert points is not None
    assert len(points) == 11
    state.apply(frame(301, 1), backfilled=False)
    state.apply(frame(302, 2), backfilled=False)  # a track that had gone begins anew
    points = state.history("c1", "t:1.2")
    assert points is not None
    assert len(points) == 1


def test_silence_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    state = shown(frame(0, 1), status())
    state.check_connections()
    assert update(state)[1]["chambers"]["c1"]["connected"] is True
    monkeypatch.setattr(state_module, "SILENT_MS", -1.0)
    state.check_connections()
    body = update(state)[1]
    assert body["chambers"]["c1"]["connected"] is False
    assert body["cards"]["c1"]["t:1.1"]["in_view"] is False
    state.apply(status(), backfilled=False)
    assert update(state)[1]["chambers"]["c1"]["connected"] is True


def test_a_daemon_that_begins_a_new_stream_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    state = shown(frame(0, 1))
    state.answered("tcp://one:1", "edge", reply())
    state.apply(frame(0, 1, stream="new"), backfilled=False)
    assert update(state)[1]["chambers"].keys() == {"c1", "c2"}  # not yet known to be the same
    state.answered("tcp://one:1", "edge", reply("new"))
    body = update(state)[1]
    assert body["chambers"].keys() == {"c1"}
    assert body["chambers"]["c1"]["stream"] == "new"
    assert state.service_of("c1") == "tcp://one:1"


def test_daemons_with_one_name_are_told_apart() -> None:
    state = State(["tcp://one:1", "tcp://two:1"])
    assert update(state)[1]["unknown"] == {"tcp://one:1": "", "tcp://two:1": ""}
    state.answered("tcp://one:1", "edge", reply("a"))
    state.answered("tcp://two:1", "edge", reply("b"))
    state.apply(status("b"), backfilled=False)
    state.apply(status("a"), backfilled=False)
    body = update(state)[1]
    assert body["unknown"] == {}
    assert {each["stream"] for each in body["chambers"].values()} == {"a", "b"}


def test_everything_is_bounded() -> None:
    state = shown()
    for seq in range(EVENTS_MAX + 50):
        state.apply(event(seq, "mark", text="x" * 100), backfilled=False)
    for seq in range(0, 600, 3):
        state.apply(frame(seq, *range(seq, seq + 40)), backfilled=False)
    body = update(state)[1]
    assert len(body["events"]) == EVENTS_MAX
    assert len(body["cards"]["c1"]) <= CARDS_MAX
    for seq in range(1000, 50_000, 30):
        state.apply(frame(seq, 1, 2, 3, 4), backfilled=False)
    # a viewer that is far behind gets everything anew
    assert update(state, 3)[1]["whole"] is True


def test_a_daemon_that_was_renamed_has_its_new_name() -> None:
    state = shown(frame(0, 1, device="old"))
    version, _ = update(state)
    state.apply(frame(1, 1, device="new"), backfilled=False)
    state.apply(frame(2, 1, device="old"), backfilled=True)  # of before, fetched
    assert update(state, version)[1]["chambers"]["c1"]["device"] == "new"


def test_alarms_are_shown_until_they_are_cleared() -> None:
    alarm = ActiveAlarm(rule="not_read", subject="P07", since_s=40.0, text="too dark")
    state = shown(status(alarms=[alarm]))
    chamber = update(state)[1]["chambers"]["c1"]
    assert chamber["alarms"] == [
        {"rule": "not_read", "subject": "P07", "since_s": 40.0, "text": "too dark"}
    ]
    assert "alarms" not in chamber["status"]
    state.apply(status(), backfilled=False)
    assert update(state)[1]["chambers"]["c1"]["alarms"] == []


def test_advice_for_the_camera_is_that_of_the_aim_command() -> None:
    messages = [status(), *(frame(seq, 4) for seq in range(60))]
    state, view = shown(*messages), View()
    for message in messages:
        view.note(message)
    advice = state.advice("c1")
    assert advice == [asdict(each) for each in view.advice()]
    assert advice is not None
    assert {each["subject"] for each in advice} == {"", "face 4"}
    assert state.advice("c9") is None


def test_after_the_clock_was_set_back_the_history_begins_anew() -> None:
    state = shown(frame(0, 1, at_s=7200), frame(1, 1, at_s=7201))
    before = update(state)[1]["cards"]["c1"]["t:1.1"]["history"]
    state.apply(frame(2, 1, at_s=7170), backfilled=False)  # no step: a straggler
    state.apply(frame(3, 1, at_s=10), backfilled=True)  # nor is a message of the past
    points = state.history("c1", "t:1.1")
    assert points is not None
    assert len(points) == 4
    for second in range(20):
        state.apply(frame(4 + second, 1, at_s=3600 + second), backfilled=False)
    points = state.history("c1", "t:1.1")
    assert points is not None
    assert len(points) == 20
    assert points[-1].t_s - points[0].t_s == 19
    assert update(state)[1]["cards"]["c1"]["t:1.1"]["history"] > before


def test_what_limits_the_rate() -> None:
    def limit(**rates: float) -> str:
        frames: list[FrameMessage] = [frame(seq, 1) for seq in range(3)]
        state = shown(*frames, status(rates=Rates(**rates)))
        return str(update(state)[1]["chambers"]["c1"]["limit"])

    assert limit(expected_hz=30, captured_hz=30, published_hz=30) == "source"
    fields = {"faces_per_frame": 4, "full_every_s": 0.5, "bound_by": ["classifier"]}
    turns = status(
        rates=Rates(expected_hz=30, captured_hz=30, published_hz=30),
        schedule=ScheduleStatus.model_validate(fields),
    )
    assert update(shown(frame(0, 1), turns))[1]["chambers"]["c1"]["limit"] == "classifier"
    assert limit(expected_hz=30, captured_hz=20, published_hz=20) == "camera"
    assert limit(expected_hz=1000, captured_hz=500, published_hz=90) == "capture"  # 1 ms each
    assert limit(expected_hz=120, captured_hz=120, published_hz=95) == "detector"  # 9 ms each
