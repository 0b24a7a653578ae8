"""Codes, baselines, seats and sessions over restarts of the daemon."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock
from edge.config import AffectConfig, Config, DeviceConfig, JournalConfig, ZonesConfig
from edge.hub.identity import StreamIdentity
from edge.hub.kept_models import KeptPosition, KeptState
from edge.hub.kept_state import NAME, StateKeeper
from edge.protocol.detail import Detail
from edge.protocol.messages import Face
from tests.support import wire

SQUARE = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
OTHER = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
FIRST, LAST = KeptPosition(epoch=1, seq=7), KeptPosition(epoch=1, seq=9)
SECOND_NS = 1_000_000_000


def config(folder: Path | str, **seats: str | None) -> Config:
    areas = dict(zip(seats, (SQUARE, OTHER), strict=False))
    raw = {name: {"polygon": areas[name], "participant": code} for name, code in seats.items()}
    return Config(
        device=DeviceConfig(purpose="medical"),
        journal=JournalConfig(path=str(folder)),
        affect=AffectConfig(baseline_min_s=0.5),
        zones=ZonesConfig.model_validate({"seats": raw}),
    )


class Start:
    """A start of the daemon, as far as what it keeps: a context manager that ends it cleanly."""

    def __init__(self, folder: Path, **seats: str | None) -> None:
        self.identity = StreamIdentity.open(str(folder))
        self.kept = StateKeeper(config(folder, **seats), self.identity)
        self.events: list[Detail] = []
        self.kept.restore(self.events.append)

    def __enter__(self) -> "Start":
        return self

    def __exit__(self, *_: object) -> None:
        self.kept.close()
        self.identity.close()

    @property
    def names(self) -> list[str]:
        return [each.event for each in self.events]

    def show(self, track: int, at_s: float, *, seat: str | None = None) -> str | None:
        """Show a calm face; return its code."""
        raw = wire.face(track) | {"seat": seat}
        raw["affect"] = raw["affect"] | {"valence": 0.1, "arousal": -0.1}
        calm = dict.fromkeys(raw["expression"]["probabilities"], 0.0) | {"neutral": 1.0}
        raw["expression"] = raw["expression"] | {"probabilities": calm}
        face = Face.model_validate(raw)
        (shown,) = self.kept.participants.update([face], round(at_s * SECOND_NS))
        return shown.participant

    def learn(self, code: str, track: int) -> None:
        self.kept.participants.start_baseline(code)
        for index in range(4):
            self.show(track, 1 + index / 2)
        assert self.kept.participants.stop_baseline(code).reason == ""

    def listed(self) -> dict[str, str]:
        return {each["participant"]: each["baseline"] for each in self.kept.participants.as_list()}


def test_nothing_is_kept_without_a_folder(tmp_path):
    keeper = StateKeeper(config(""), StreamIdentity.open(""))
    keeper.restore(pytest.fail)
    keeper.save_changes(wait_s=1)
    keeper.close()
    assert list(tmp_path.iterdir()) == []


def test_codes_and_baselines_are_known_again_and_on_no_track(tmp_path):
    with Start(tmp_path) as before:
        assert before.names == []
        before.show(1, 0)
        before.kept.participants.assign(1, "P07")
        before.learn("P07", 1)
        before.show(2, 3)
        before.kept.participants.assign(2, "P08")
    with Start(tmp_path) as after:
        assert after.names == ["participants_restored"]
        detail = after.events[0].model_dump()["participants"]
        assert [(each["participant"], each["baseline"]) for each in detail] == [
            ("P07", "ready"),
            ("P08", "none"),
        ]
        assert detail[0]["valence"] == pytest.approx(0.1)
        assert after.listed() == {"P07": "ready", "P08": "none"}
        assert after.show(1, 0) is None  # the numbers of tracks begin anew
        after.kept.participants.assign(1, "P07")
        assert [each.event for each in after.kept.participants.take_events()] == [
            "participant_track_returned"
        ]
        assert after.show(1, 1) == "P07"
        after.kept.participants.release("P08")
    with Start(tmp_path) as again:
        assert again.listed() == {"P07": "ready"}


def test_a_baseline_that_was_being_learnt_is_invalid_after_a_restart(tmp_path):
    with Start(tmp_path) as before:
        before.show(1, 0)
        before.kept.participants.assign(1, "P07")
        before.kept.participants.start_baseline("P07")
    for events in (["participants_restored", "baseline_invalid"], ["participants_restored"]):
        with Start(tmp_path) as after:
            assert after.names == events
            assert after.listed() == {"P07": "invalid"}


@pytest.mark.parametrize("clean", [True, False])
def test_a_session_goes_on_over_restarts(tmp_path, clean):
    first = Start(tmp_path)
    first.kept.sessions.begin("0a1b2c3d4e5f", "morning", "mask 2", FIRST, 5)
    first.kept.save_changes(wait_s=30)
    for _ in range(3):
        first.kept.sessions.note_frame(["P07", None])
    if clean:
        first.kept.close()
    first.identity.close()
    with Start(tmp_path) as second:
        assert second.names == ["session_resumed"]
        assert second.events[0].model_dump() == {
            "session": "0a1b2c3d4e5f", "name": "morning", "restarts": 1,
        }  # fmt: skip
        running = second.kept.sessions.require_running()
        assert running.frames == (3 if clean else 0)
        assert running.participants == (["P07"] if clean else [])
        second.kept.sessions.end(LAST, 6)
    with Start(tmp_path) as third:
        assert third.names == []
        (ended,) = third.kept.sessions.as_list()
        assert (ended["name"], ended["restarts"], ended["ended_unix_ns"]) == ("morning", 1, 6)


def test_sessions_of_another_stream_are_forgotten_but_a_running_one(tmp_path):
    with Start(tmp_path) as before:
        before.kept.sessions.begin("0a1b2c3d4e5f", "morning", "", FIRST, 5)
        before.kept.sessions.end(LAST, 6)
        before.kept.sessions.begin("ffffffffffff", "evening", "", FIRST, 7)
    (tmp_path / "identity.json").unlink()
    with Start(tmp_path) as after:
        assert [each["name"] for each in after.kept.sessions.as_list()] == ["evening"]
        assert after.kept.sessions.require_running().first == KeptPosition(epoch=1, seq=0)


def test_codes_of_seats_last_until_the_session_ends(tmp_path):
    with Start(tmp_path, left="P01", right=None) as first:
        assert [each.model_dump() for each in first.events] == [
            {"seat": "left", "participant": "P01"}
        ]
        assert first.show(1, 0, seat="left") == "P01"
        first.kept.participants.assign_seat("right", "P02")
        assert first.show(2, 1, seat="right") == "P02"
    with Start(tmp_path, left="P01", right=None) as second:
        assert second.names == ["participants_restored", "seat_assigned", "seat_assigned"]
        assert second.show(1, 0, seat="right") == "P02"
        (back,) = second.kept.participants.take_events()
        assert back.model_dump(exclude={"away_s"}) == {
            "track": 1, "participant": "P02", "seat": "right",
        }  # fmt: skip
        assert 0 <= back.away_s < 60
        assert second.kept.participants.end_session() == {"right": "P02"}
        assert second.show(1, 1, seat="right") is None
        assert second.show(2, 2, seat="left") == "P01"
    with Start(tmp_path, left="P01") as third:  # a seat is gone from the configuration
        assert third.kept.participants.seats.codes() == {"left": "P01"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"version": 2, "stream": "s"}',
        b'{"version": 1}',
        b'{"version": 1, "stream": "s", "participants": [{"participant": "7"}]}',
        b'{"version": 1, "stream": "s", "more": 1}',
        b"[" * 100_000,
        bytes(9 << 20),
    ],
    ids=range(11),
)
def test_a_damaged_file_is_set_aside_and_reported(tmp_path, content, caplog):
    with Start(tmp_path):
        pass
    (tmp_path / NAME).write_bytes(content)
    with Start(tmp_path) as start:
        assert start.names == ["participants_lost"]
        detail = start.events[0].model_dump()
        assert detail["set_aside"] == f"{NAME}.damaged-1"
        assert detail["reason"]
        assert detail["reason"].isprintable()
        assert (tmp_path / f"{NAME}.damaged-1").read_bytes() == content
    assert "codes, baselines and sessions are lost" in caplog.text
    with Start(tmp_path) as start:
        assert start.names == []


@given(st.data())
def test_any_damage_of_one_byte_is_noticed_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    with Start(folder, left="P01") as start:
        start.kept.participants.assign_seat("left", "P02")
        start.kept.sessions.begin("0a1b2c3d4e5f", "morning", "", FIRST, 5)
    content = bytearray((folder / NAME).read_bytes())
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] = data.draw(st.integers(0, 255))
    (folder / NAME).write_bytes(content)
    with Start(folder, left="P01") as start:
        assert set(start.names) <= {
            "participants_lost", "participants_restored", "session_resumed", "seat_assigned",
            "baseline_invalid",
        }  # fmt: skip
    assert isinstance(json.loads((folder / NAME).read_bytes()), dict)


def test_the_file_holds_no_more_than_means(tmp_path: Path):
    with Start(tmp_path) as start:
        start.show(1, 0)
        start.kept.participants.assign(1, "P07")
        start.learn("P07", 1)
    kept: dict[str, Any] = json.loads((tmp_path / NAME).read_bytes())
    assert KeptState.model_validate_json(json.dumps(kept)).participants[0].baseline is not None
    assert set(kept["participants"][0]) == {
        "participant", "last_unix_ns", "is_learning", "baseline",
    }  # fmt: skip
    assert set(kept["participants"][0]["baseline"]) == {
        "read_s", "readings", "valence", "arousal", "reason",
    }  # fmt: skip


def test_a_face_that_comes_and_goes_is_not_written_each_time(tmp_path, monkeypatch):
    now_ns = 10**12
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns)
    with Start(tmp_path, left="P01") as start:
        saved: list[bytes] = []
        monkeypatch.setattr(start.kept._file, "save", lambda content, **_: saved.append(content))
        for _ in range(200):  # 40 s, in which the face is lost again and again
            now_ns += SECOND_NS // 5
            start.kept.participants.end_tracks()
            start.show(1, now_ns / SECOND_NS, seat="left")
            start.kept.save_changes()
        assert len(saved) <= 5
        start.kept.participants.assign_seat("left", "P02")
        start.kept.save_changes(wait_s=0.25)
        assert b"P02" in saved[-1]
