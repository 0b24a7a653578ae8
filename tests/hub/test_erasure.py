"""Erasing a session from the journal: what goes, what stays, and what a failure leaves."""

import itertools
import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import RequestRefused
from edge.hub import erasure
from edge.hub.erasure import SessionEraser
from edge.hub.journal import (
    BEFORE_ALL,
    MEMORY_ONLY_BYTES,
    Batch,
    Journal,
    MissingRange,
    Position,
    writer,
)
from edge.hub.journal.erase import find_samples
from edge.hub.kept_models import KeptAlarm, KeptPosition
from edge.hub.kept_state import StateKeeper
from edge.protocol.detail import Detail
from tests.hub.test_kept_state import config
from tests.support.waiting import HANG_S


class Daemon:
    """A journal, what the daemon keeps, and the eraser; a session from message 10 to 19."""

    def __init__(self, folder: Path | str, **seats: str | None) -> None:
        settings = config(folder, **seats)
        self.journal = Journal(settings.journal)
        self.kept = StateKeeper(settings, self.journal.identity)
        self.events: list[Detail] = []
        self.eraser = SessionEraser(self.journal, self.kept, self.events.append)

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.kept.close()
        self.journal.close()

    def append(self, kind: str, **fields: object) -> None:
        seq = self.journal.identity.next_seq()
        message = {"kind": kind, "epoch": self.journal.epoch, "seq": seq, **fields}
        self.journal.append(seq, json.dumps(message, separators=(",", ":")).encode(), 0)

    def append_event(self, event: str, **detail: object) -> None:
        self.append("event", event=event, detail=detail)

    def run_session(self, *codes: str, name: str = "morning") -> None:
        """Append 30 messages; those from 10 to 19 are the session of ``codes``.

        Frames 5 and 25 have the codes, too. Each frame has a happy face without a code.
        """
        session = self.kept.sessions.require_new(name)
        seats = {"left": {"participant": "P-configured"}}
        self.append_event("epoch_started", configuration={"zones": {"seats": seats}})
        for seq in range(1, 30):
            if seq in (10, 19):
                event = "session_began" if seq == 10 else "session_ended"
                self.append_event(event, session=session, name=name, note="mask-two")
                continue
            present = codes if seq in (5, *range(11, 19), 25) else ()
            faces = [{"participant": code, "label": "neutral"} for code in present]
            self.append("frame", faces=[*faces, {"participant": None, "label": "happy"}])
        first = KeptPosition(epoch=self.journal.epoch, seq=10)
        self.kept.sessions.begin(session, name, "mask-two", first, 1)
        self.kept.sessions.note_frame(codes)
        self.kept.sessions.end(first.model_copy(update={"seq": 19}), 2)

    def erase(self, word: str = "morning") -> dict[str, object]:
        deadline = time.monotonic() + HANG_S
        while (reply := self.eraser.request(word))["state"] == "erasing":
            assert time.monotonic() < deadline
            self.eraser.go_on()
        return reply

    def batches(self) -> list[Batch]:
        batches, after = [], BEFORE_ALL
        while not batches or not batches[-1].caught_up:
            batches.append(self.journal.read(after, max_messages=500, max_bytes=1 << 20))
            after = batches[-1].next
        return batches

    def stored(self) -> list[int]:
        lines = [line for batch in self.batches() for line in batch.lines.splitlines()]
        return [json.loads(line)["seq"] for line in lines]

    def gaps(self) -> list[MissingRange]:
        return [batch.gap for batch in self.batches() if batch.gap is not None]


def test_the_session_goes_with_its_codes_and_all_else_stays(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        reply = daemon.erase()
        assert (reply["messages"], reply["outside"], reply["hits"]) == (12, 2, 0)
        assert reply["participants"] == ["P07"]
        assert daemon.stored() == [0, *range(1, 5), *range(6, 10), *range(20, 25), *range(26, 30)]
        (erased,) = daemon.events
        assert erased.model_dump() == {"session": reply["session"], "messages": 12}
        assert daemon.kept.sessions.as_list() == []
        with pytest.raises(RequestRefused, match="no session morning"):
            daemon.eraser.request("morning")


def test_codes_of_the_configuration_and_of_other_sessions_stay(tmp_path):
    with Daemon(tmp_path, left="P01") as daemon:
        daemon.run_session("P01", "P02", "P-configured")
        here = KeptPosition(epoch=1, seq=29)
        daemon.kept.sessions.begin("ffffffffffff", "evening", "", here, 3)
        daemon.kept.sessions.note_frame(["P02"])
        reply = daemon.erase()
        # P-configured is in the first message of the epoch: another configuration had it
        assert (reply["messages"], reply["outside"], reply["hits"]) == (10, 0, 0)
        assert reply["looked_for"] == 2
        assert daemon.stored() == [*range(10), *range(20, 30)]


def test_alarms_of_the_sessions_participants_go_too(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        alarm = {"rule": "participant_gone", "subject": "P07", "text": "gone", "since_unix_ns": 5}
        kept = [KeptAlarm(participant="P07", **alarm), KeptAlarm(**alarm | {"subject": "seat x"})]
        daemon.kept.alarms.restore(kept)
        daemon.append_event("alarm_raised", participant="P07", **alarm)
        daemon.kept.save_changes(wait_s=5.0)
        assert "P07" in (tmp_path / "participants.json").read_text()
        reply = daemon.erase()
        assert (reply["messages"], reply["outside"], reply["hits"]) == (13, 3, 0)
        daemon.kept.save_changes(wait_s=5.0)
        assert "P07" not in (tmp_path / "participants.json").read_text()
        assert [each.subject for each in daemon.kept.alarms.keep()] == ["seat x"]
        assert daemon.kept.alarms.take_events() == []


def test_words_that_other_messages_have_for_other_reasons_erase_nothing_else(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.run_session("happy", name="frame")
        daemon.append_event("mark", text="happy")
        daemon.append_event("mark", text="happy again")
        daemon.append_event("seat_assigned", seat="happy", participant="P09")
        reply = daemon.erase("frame")
        assert (reply["messages"], reply["outside"], reply["hits"]) == (13, 3, 0)
        erased = {5, 25, 30, *range(10, 20)}
        assert daemon.stored() == [seq for seq in range(33) if seq not in erased]


def test_messages_in_memory_can_be_erased_too():
    with Daemon("") as daemon:
        daemon.run_session("P07")
        assert daemon.erase()["messages"] == 12
        assert 12 not in daemon.stored()
        assert [gap.reason for gap in daemon.gaps()] == ["erased"] * 3
        body = b"x" * (MEMORY_ONLY_BYTES // 2)
        for _ in range(2):  # the oldest messages make room
            daemon.journal.append(daemon.journal.identity.next_seq(), body, 0)
        assert [gap.reason for gap in daemon.gaps()] == ["trimmed"]


def test_remains_are_found_and_the_session_is_kept(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        (tmp_path / "journal.sqlite.damaged-1").write_bytes(b'x"participant":"P07"x')
        assert daemon.erase()["hits"] == 1
        (tmp_path / "journal.sqlite.damaged-1").unlink()
        assert daemon.erase()["hits"] == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("disk I/O error"), "disk I/O error"),
        (KeyError("rows"), "KeyError: 'rows'"),
        (MemoryError(), "MemoryError:"),
    ],
)
@pytest.mark.parametrize("place", ["journal.erase", "journal.read", "thread of the journal"])
def test_a_failure_keeps_the_session_and_the_next_request_tries_again(
    tmp_path, monkeypatch, caplog, *, error, text, place
):
    def fail(*_: object, **__: object) -> None:
        raise error

    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        with monkeypatch.context() as broken:
            if place == "thread of the journal":
                broken.setattr(writer, "erase", fail)
            else:
                broken.setattr(daemon.journal, place.removeprefix("journal."), fail)
            with pytest.raises(RequestRefused, match=f"not be erased: .*{text}; try again"):
                daemon.erase()
        assert daemon.events == []
        (line,) = [each for each in caplog.messages if "could not be erased" in each]
        assert text in line
        assert daemon.erase()["hits"] == 0, "and the journal's thread runs"


def test_a_thread_that_cannot_start_is_a_refusal(tmp_path, monkeypatch):
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        with monkeypatch.context() as broken:
            broken.setattr(threading.Thread, "start", fail)
            with pytest.raises(RequestRefused, match="start new thread; try again"):
                daemon.eraser.request("morning")
        assert daemon.erase()["hits"] == 0


def test_one_session_is_erased_at_a_time(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.run_session("P07")
        session = daemon.kept.sessions.find("morning").session
        assert daemon.eraser.request(session) == {"state": "erasing"}
        with pytest.raises(RequestRefused, match="another session is being erased"):
            daemon.eraser.request("evening")
        assert daemon.erase()["state"] == "erased"


@given(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 9))))
def test_ranges_hold_exactly_the_positions(pairs):
    positions = sorted(Position(*pair) for pair in pairs)
    ranges = erasure._ranges(positions)
    held = [Position(a.epoch, seq) for a, b in ranges for seq in range(a.seq, b.seq + 1)]
    assert held == positions
    assert all(one[1].seq + 1 < other[0].seq or one[1].epoch < other[0].epoch
               for one, other in itertools.pairwise(ranges))  # fmt: skip


@pytest.mark.parametrize("before", [0, (1 << 20) - 99, (1 << 20) - 30, 1 << 20, (2 << 20) - 1])
def test_a_long_text_is_found_wherever_it_lies_in_a_file(tmp_path: Path, before: int) -> None:
    """A file is searched in pieces of 1 MiB; a note may have 300 characters."""
    note, file = b"0123456789" * 10, tmp_path / "file"
    file.write_bytes(bytes(before) + note + bytes(50))
    assert find_samples([b"other", note], [file]) == [file]
    assert find_samples([note + b"x"], [file]) == []
    assert find_samples([], [file]) == []


def test_the_configuration_of_a_start_within_the_session_stays(tmp_path):
    """The daemon was restarted while the session ran."""
    session = "0a1b2c3d4e5f"
    with Daemon(tmp_path) as daemon:
        daemon.append_event("epoch_started", configuration={})
        daemon.append_event("session_began", session=session, name="morning", note="")
        first = KeptPosition(epoch=daemon.journal.epoch, seq=1)
    with Daemon(tmp_path) as daemon:
        daemon.append_event("epoch_started", configuration={})
        daemon.append("frame", faces=[{"participant": "P07"}])
        daemon.append_event("session_ended", session=session, name="morning")
        daemon.append("frame", faces=[])
        daemon.kept.sessions.begin(session, "morning", "", first, 1)
        daemon.kept.sessions.note_frame(["P07"])
        daemon.kept.sessions.end(KeptPosition(epoch=daemon.journal.epoch, seq=2), 2)
        reply = daemon.erase()
        assert daemon.stored() == [0, 0, 3]
        assert (reply["messages"], reply["outside"], reply["hits"]) == (3, 0, 0)
        gaps = [
            (gap.epoch - first.epoch, gap.first_missing, gap.last_missing) for gap in daemon.gaps()
        ]
        assert gaps == [(0, 1, 1), (1, 1, 2)]
