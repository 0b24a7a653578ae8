"""Journals in tests: a process that appends until it is killed, and a reader of everything."""

import json
import os
import random
import time
from pathlib import Path

from edge.config import JournalConfig
from edge.hub.journal import BEFORE_ALL, Journal, MissingRange, Position
from tests.support.waiting import HANG_S


def body(epoch: int, seq: int) -> bytes:
    """Return a message that can be recognised; of random length, so that pages fill unevenly."""
    filler = random.Random(epoch << 20 | seq).randbytes(150).hex()
    return json.dumps({"epoch": epoch, "seq": seq, "filler": filler[: seq % 300]}).encode()


def append(journal: Journal) -> Position:
    """Append the next message; return its position."""
    seq = journal.identity.next_seq()
    journal.append(seq, body(journal.epoch, seq), time.time_ns())
    return Position(journal.epoch, seq)


def settle(journal: Journal, timeout_s: float = HANG_S) -> None:
    """Wait until everything is stored; fail if that takes longer."""
    deadline = time.monotonic() + timeout_s
    while journal.status().pending:
        assert time.monotonic() < deadline, journal.status()
        time.sleep(0.01)


def read_all(
    journal: Journal, after: Position = BEFORE_ALL, **limits: int
) -> tuple[list[Position], list[MissingRange]]:
    """Return the positions of all messages after one, whose text is checked, and the gaps."""
    found: list[Position] = []
    gaps: list[MissingRange] = []
    limits = {"max_messages": 500, "max_bytes": 1 << 19, **limits}
    deadline = time.monotonic() + 60
    while True:
        batch = journal.read(after, **limits)
        assert time.monotonic() < deadline, (after, batch)
        if batch.gap is not None:
            gaps.append(batch.gap)
        lines = batch.lines.split(b"\n") if batch.lines else []
        assert len(lines) == batch.count <= limits["max_messages"]
        for line in lines:
            message = json.loads(line)
            position = Position(message["epoch"], message["seq"])
            assert line == body(position.epoch, position.seq)
            assert not found or position > found[-1], "twice, or out of order"
            found.append(position)
        assert not lines or batch.next == found[-1]
        assert batch.next > after or batch.caught_up or not lines
        after = batch.next
        if batch.caught_up:
            return found, gaps


def append_until_killed(folder: str, tail: str, published: int, rate_hz: float) -> None:
    """Append without end; write each position to the file ``published`` after it was appended.

    The main function of a child process: what it has written there counts as sent.
    """
    journal = Journal(JournalConfig(path=folder, tail=tail))
    interval_s = 1 / rate_hz
    due = time.monotonic()
    while True:
        position = append(journal)
        os.write(published, f"{position.epoch} {position.seq}\n".encode())
        due += interval_s
        time.sleep(max(0.0, due - time.monotonic()))


def positions_in(text: bytes) -> list[Position]:
    """Return the positions that a child process has written; its last line may be incomplete."""
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    return [Position(*map(int, line.split())) for line in lines]


def memory_folder(tmp_path: Path) -> str:
    """Return a folder for the tail that belongs to one test."""
    folder = Path("/dev/shm") / f"test-{os.getpid()}-{tmp_path.name}"
    return str(folder)
