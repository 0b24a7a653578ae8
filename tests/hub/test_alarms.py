"""Alarms: raised after a while, cleared after a while, and not twice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge import clock
from edge.config import AffectConfig, AlarmsConfig, ZonesConfig
from edge.hub.alarm_causes import Facts
from edge.hub.alarms import ALARMS_MAX, SUBJECTS_MAX, Alarms
from edge.hub.board_watch import BoardState
from edge.participants.participants import Participants
from edge.protocol.alarm_events import AlarmCleared, AlarmRaised
from edge.protocol.detail import Detail
from edge.protocol.messages import Face, JournalConsumer, JournalPosition, JournalStatus
from edge.vocabulary import ALARM_RULES
from tests.support import wire

SECOND_NS = 1_000_000_000
WHOLE = {"left": {"polygon": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]}}
SEAT = ZonesConfig.model_validate({"seats": {"left": WHOLE["left"] | {"participant": "P07"}}})


def board(celsius: float | None = 50.0, *flags: str, divisor: int = 1) -> BoardState:
    return BoardState(celsius, dict.fromkeys(flags, True), True, "off", divisor, None)


def journal(share: float = 0.1, state: Any = "ok", **ages: tuple[int, int]) -> JournalStatus:
    """Return a journal whose consumers have this lag and this age."""
    return JournalStatus(
        state=state,
        reason="",
        oldest=JournalPosition(epoch=1, seq=0, unix_ns=0),
        bytes=round(share * 1000),
        max_bytes=1000,
        pending=0,
        consumers={name: JournalConsumer(lag=lag, age_s=age) for name, (lag, age) in ages.items()},
    )


class Hub:
    """Evaluates the alarms once a second, as the daemon does, on an invented clock."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, zones: ZonesConfig | None = None, **config: Any
    ) -> None:
        self.now_ns = 10_000 * SECOND_NS
        monkeypatch.setattr(clock, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(clock, "wall_ns", lambda: self.now_ns + 10**18)
        self.config = AlarmsConfig(**({"clear_s": 5.0} | config))
        self.zones = zones
        self.facts = Facts(
            now_ns=0,
            source_state="running",
            picture_state="normal",
            has_no_frames=False,
            board=board(),
            hot_celsius=78.0,
            journal=journal(),
            newest_epoch=1,
            newest_seq=1000,
            synchronized=True,
            session=None,
        )
        self.start()

    def start(self) -> None:
        """Start, or start again without what was kept."""
        self.participants = Participants(AffectConfig(), vanish_s=1.0, zones=self.zones)
        self.alarms = Alarms(self.config, self.participants)

    def run(self, seconds: int, faces: Sequence[dict[str, Any]] = (), **facts: Any) -> list[Detail]:
        """Let seconds pass, with two frames each while the source runs; return the events."""
        self.facts = replace(self.facts, **facts)
        events: list[Detail] = []
        for _ in range(seconds):
            for _ in range(2):
                self.now_ns += SECOND_NS // 2
                if self.facts.source_state == "running":
                    shown = [Face.model_validate(each) for each in faces]
                    coded = self.participants.update(shown, self.now_ns)
                    self.participants.take_events()
                    self.alarms.note_faces(coded, self.now_ns)
            self.alarms.update(replace(self.facts, now_ns=self.now_ns))
            events += self.alarms.take_events()
        return events

    @property
    def active(self) -> list[tuple[str, str]]:
        return [(each.rule, each.subject) for each in self.alarms.active(self.now_ns)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(monkeypatch)


DARK = wire.face(4, reasons=("too_dark",), classified=False)
READ = wire.face(4)


def eyes(closed_s: float | None) -> dict[str, Any]:
    """Return a face whose eyes have been closed for so long; None: they are open."""
    lids = {**wire.MESH["lids"], "closed_s": closed_s}
    return READ | {"mesh": {**wire.MESH, "lids": lids}}


def names(events: Sequence[Detail]) -> list[str]:
    return [each.event for each in events]


@pytest.mark.parametrize(
    ("rule", "wrong", "words"),
    [
        ("source", {"source_state": "stalled"}, "no new picture"),
        ("source", {"source_state": "absent"}, "cannot be opened"),
        ("source", {"source_state": "restarting"}, "worker"),
        ("source", {"has_no_frames": True}, "no result"),
        ("picture", {"picture_state": "dark"}, "lamp"),
        ("picture", {"picture_state": "flat"}, "no detail"),
        ("picture", {"picture_state": "frozen"}, "frozen"),
        ("storage", {"journal": journal(state="memory")}, "memory"),
        ("storage", {"journal": journal(0.9, logger=(700, 1))}, "90 % full"),
        ("clock", {"synchronized": False}, "synchronized"),
        ("board", {"board": board(78.0)}, "78 degrees"),
        ("board", {"board": board(50.0, "under_voltage")}, "power supply"),
        ("board", {"board": board(None, divisor=2)}, "one frame of 2"),
        ("no_logger", {"journal": journal(logger=(9, 61))}, "no logger"),
        ("no_logger", {"session": "0123456789ab"}, "session"),
    ],
)
def test_each_rule_raises_after_its_time_and_clears_after_its_own(
    hub: Hub, rule: str, wrong: dict[str, Any], words: str
) -> None:
    fine = {key: getattr(hub.facts, key) for key in wrong}
    after_s = int(getattr(hub.config, f"{rule}_s"))
    assert hub.run(60) == []
    assert hub.run(after_s, **wrong) == []
    assert hub.alarms.counts() == dict.fromkeys(ALARM_RULES, 0)
    (raised,) = hub.run(1)
    assert isinstance(raised, AlarmRaised)
    assert (raised.rule, raised.subject, raised.participant) == (rule, "", None)
    assert words in raised.text
    assert hub.alarms.counts()[rule] == 1
    (active,) = hub.alarms.active(hub.now_ns)
    assert (active.rule, active.text) == (rule, raised.text)
    assert active.since_s >= after_s
    assert hub.run(3600) == []  # raised once, however long it lasts
    assert hub.run(5, **fine) == []
    (cleared,) = hub.run(1)
    assert isinstance(cleared, AlarmCleared)
    assert (cleared.rule, cleared.since_unix_ns) == (rule, raised.since_unix_ns)
    assert cleared.lasted_s >= 3600
    assert hub.active == []


@pytest.mark.parametrize("rule", ALARM_RULES)
def test_each_rule_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    hub = Hub(monkeypatch, SEAT, **{f"{rule}_s": 0.0})
    everything = {
        "board": board(90.0),
        "journal": journal(state="memory", logger=(9, 100)),
        "synchronized": False,
    }
    seen = {each.rule for each in hub.run(1300, [DARK], **everything) if hasattr(each, "rule")}
    seen |= {each.rule for each in hub.run(100, session="a") if hasattr(each, "rule")}
    seen |= {each.rule for each in hub.run(100, [eyes(2.0)]) if hasattr(each, "rule")}
    for state in ({"picture_state": "dark"}, {"source_state": "stalled"}):
        seen |= {each.rule for each in hub.run(700, **state) if hasattr(each, "rule")}
    assert seen == set(ALARM_RULES) - {rule}
    assert set(hub.alarms.counts()) == set(ALARM_RULES) - {rule}


def test_what_comes_and_goes_neither_raises_nor_clears(hub: Hub) -> None:
    for _ in range(100):  # 9 s of 10 dark
        assert hub.run(9, picture_state="dark") == []
        assert hub.run(1, picture_state="normal") == []
    assert names(hub.run(11, picture_state="dark")) == ["alarm_raised"]
    for _ in range(100):
        assert hub.run(4, picture_state="normal") == []
        assert hub.run(1, picture_state="dark") == []
    assert names(hub.run(6, picture_state="normal")) == ["alarm_cleared"]


def test_a_board_has_cooled_down_only_well_below_the_limit(hub: Hub) -> None:
    assert names(hub.run(61, board=board(79.0))) == ["alarm_raised"]
    assert hub.run(100, board=board(75.0)) == []
    assert names(hub.run(6, board=board(72.9))) == ["alarm_cleared"]


def test_a_full_journal_alone_is_no_alarm(hub: Hub) -> None:
    assert hub.run(100, journal=journal(1.0, logger=(10, 1))) == []
    assert hub.run(100, journal=journal(1.0)) == []
    # the oldest messages are of an earlier epoch; this logger has them all
    assert hub.run(100, newest_epoch=2, journal=journal(1.0, logger=(900, 1))) == []
    events = hub.run(40, journal=journal(1.0, logger=(1001, 1)))
    assert names(events) == ["alarm_raised"]


def test_a_face_that_cannot_be_read_raises_with_the_reason(hub: Hub) -> None:
    assert hub.run(60, [READ]) == []
    assert hub.run(30, [DARK]) == []
    (raised,) = hub.run(2, [DARK])
    assert isinstance(raised, AlarmRaised)
    assert (raised.rule, raised.subject) == ("not_read", "track 4")
    assert raised.text == "the face cannot be read: too dark"
    assert names(hub.run(7, [READ])) == ["alarm_cleared"]


def test_detection_that_comes_and_goes_does_not_hide_an_unreadable_face(hub: Hub) -> None:
    events = []
    for _ in range(10):
        events += hub.run(2, [DARK]) + hub.run(2)
    assert names(events) == ["alarm_raised"]
    assert names(hub.run(12)) == ["alarm_cleared"]  # whoever left is not unreadable


def test_eyes_that_stay_closed_raise_until_they_open(hub: Hub) -> None:
    assert hub.run(100, [eyes(None)]) == []
    assert hub.run(100, [eyes(0.5)]) == []  # blinks
    assert hub.run(60, [eyes(2.0)]) == []
    (raised,) = hub.run(1, [eyes(62.0)])
    assert isinstance(raised, AlarmRaised)
    assert (raised.rule, raised.subject) == ("eyes_closed", "track 4")
    assert "eyes are closed" in raised.text
    assert hub.run(100, [eyes(100.0)]) == []
    assert names(hub.run(7, [eyes(None)])) == ["alarm_cleared"]
    for _ in range(10):  # opened in between
        assert hub.run(50, [eyes(50.0)]) + hub.run(1, [eyes(None)]) == []


def test_closed_eyes_that_are_not_measured_any_more_are_not_reported_as_open(hub: Hub) -> None:
    hub.run(2, [eyes(None)])
    hub.participants.assign(4, "P07")
    assert names(hub.run(61, [eyes(61.0)])) == ["alarm_raised"]
    assert hub.run(100, [READ]) == []  # there is no time for the mesh
    assert names(hub.run(63)) == ["alarm_raised"]  # and the face is gone, too
    assert hub.active == [("eyes_closed", "P07"), ("participant_gone", "P07")]
    hub.participants.release("P07")
    assert names(hub.run(7)) == ["alarm_cleared"] * 2


def test_closed_eyes_of_a_track_that_is_gone_are_nobodys(hub: Hub) -> None:
    hub.run(61, [eyes(61.0)])
    assert hub.active == [("eyes_closed", "track 4")]
    assert hub.run(30, [READ]) == []  # it is there, and its eyes are not measured
    assert names(hub.run(12)) == ["alarm_cleared"]


def test_closed_eyes_end_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, SEAT, no_logger_s=0.0)
    hub.run(70, [eyes(70.0) | {"seat": "left"}], session="a")
    assert hub.active == [("eyes_closed", "P07")]
    hub.run(7)
    assert hub.active == [("eyes_closed", "P07")]
    assert names(hub.run(12, session=None)) == ["alarm_cleared"]


def test_each_face_has_an_alarm_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, SEAT)
    on_seat, elsewhere = DARK | {"seat": "left"}, DARK | {"track": 5, "seat": "right"}
    events = hub.run(32, [on_seat, elsewhere, DARK | {"track": 6}])
    subjects = [
        (each.subject, each.participant) for each in events if isinstance(each, AlarmRaised)
    ]
    assert subjects == [("P07", "P07"), ("seat right", None), ("track 6", None)]


def test_a_participant_who_has_gone_raises_until_the_face_is_back(hub: Hub) -> None:
    hub.run(2, [READ])
    hub.participants.assign(4, "P07")
    assert hub.run(60, [READ]) == []
    (raised,) = hub.run(62)
    assert isinstance(raised, AlarmRaised)
    assert (raised.rule, raised.subject, raised.participant) == ("participant_gone", "P07", "P07")
    hub.run(2, [wire.face(9)])
    hub.participants.assign(9, "P07")
    assert names(hub.run(7, [wire.face(9)])) == ["alarm_cleared"]


def test_a_released_participant_is_not_missed(hub: Hub) -> None:
    hub.run(2, [READ])
    hub.participants.assign(4, "P07")
    hub.run(63)
    hub.participants.release("P07")
    assert names(hub.run(7)) == ["alarm_cleared"]
    assert hub.run(200) == []


def test_participants_are_missed_within_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, SEAT, no_logger_s=0.0)
    assert hub.run(200) == []  # the seat was empty all the time, and nobody is expected
    assert names(hub.run(62, session="a")) == ["alarm_raised"]
    assert names(hub.run(7, session=None)) == ["alarm_cleared"]
    hub.run(20, [READ | {"seat": "left"}])
    assert hub.run(200) == []  # after the session they may go


@pytest.mark.parametrize(
    "away",
    [{"source_state": "stalled"}, {"source_state": "restarting"}, {"picture_state": "dark"}],
)
def test_people_are_not_judged_while_nobody_could_be_seen(hub: Hub, away: dict[str, Any]) -> None:
    hub.run(2, [READ])
    hub.participants.assign(4, "P07")
    hub.run(2, [READ])
    fine = {key: getattr(hub.facts, key) for key in away}
    rules = [each.rule for each in hub.run(200, **away) if isinstance(each, AlarmRaised)]
    assert rules in (["source"], ["picture"])
    assert names(hub.run(7, [READ], **fine)) == ["alarm_cleared"]
    # an alarm that is raised stays while it cannot be judged
    assert [each.rule for each in hub.run(63) if isinstance(each, AlarmRaised)] == [
        "participant_gone"
    ]
    hub.run(200, **away)
    assert ("participant_gone", "P07") in hub.active


def test_slow_sources_are_judged_by_their_newest_frame(hub: Hub) -> None:
    for _ in range(10):  # a picture each 20 s
        assert hub.run(1, [READ]) == []
        for _ in range(19):
            hub.now_ns += SECOND_NS
            hub.alarms.update(replace(hub.facts, now_ns=hub.now_ns))
            assert hub.alarms.take_events() == []


def test_a_restart_neither_raises_again_nor_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, SEAT)
    dark = DARK | {"seat": "left"}
    hub.run(32, [dark, DARK | {"track": 9}], board=board(90.0))
    hub.run(40, [dark, DARK | {"track": 9}])
    kept, before = hub.alarms.keep(), hub.active
    assert set(before) == {("not_read", "P07"), ("not_read", "track 9"), ("board", "")}
    hub.start()
    hub.now_ns += 3 * SECOND_NS
    hub.alarms.restore(kept)
    (cleared,) = hub.alarms.take_events()  # its number is another face's from now on
    assert isinstance(cleared, AlarmCleared)
    assert cleared.subject == "track 9"
    assert hub.run(3, source_state="starting", picture_state="normal") == []
    assert hub.run(100, [dark], source_state="running") == []
    assert set(hub.active) == {("not_read", "P07"), ("board", "")}
    assert [each.since_s > 130 for each in hub.alarms.active(hub.now_ns)] == [True, True]
    events = hub.run(7, [READ | {"seat": "left"}], board=board())
    assert names(events) == ["alarm_cleared"] * 2


def test_a_participant_who_is_away_over_a_restart_stays_missed(hub: Hub) -> None:
    hub.run(2, [READ])
    hub.participants.assign(4, "P07")
    hub.run(5000)
    kept, participants = hub.alarms.keep(), hub.participants.keep()
    hub.start()
    hub.participants.restore(participants)
    hub.alarms.restore(kept)
    assert hub.run(100) == []
    assert hub.active == [("participant_gone", "P07")]


def test_an_alarm_of_a_rule_that_is_now_off_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch)
    hub.run(62, board=board(90.0))
    kept = hub.alarms.keep()
    other = Hub(monkeypatch, board_s=0.0)
    other.alarms.restore(kept)
    assert names(other.alarms.take_events()) == ["alarm_cleared"]
    assert other.active == []


def test_a_forgotten_participant_is_in_no_later_event(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, SEAT)
    hub.run(32, [DARK | {"seat": "left"}])
    changes = hub.alarms.changes
    hub.participants.forget("P07")
    hub.alarms.forget("P07")
    assert hub.alarms.changes > changes
    assert hub.active == []
    assert hub.alarms.keep() == []
    assert "P07" not in repr(hub.run(100, [DARK | {"seat": "left"}]))


def test_memory_is_bounded(hub: Hub) -> None:
    for first in range(0, 5000, 50):
        hub.run(1, [DARK | {"track": track} for track in range(first, first + 50)])
        assert len(hub.alarms._seen) <= SUBJECTS_MAX
    hub.run(60, [DARK | {"track": track} for track in range(6000, 6000 + 2 * ALARMS_MAX)])
    assert len(hub.active) == ALARMS_MAX
    hub.run(20)
    assert len(hub.alarms._seen) == 0
    assert hub.active == []
