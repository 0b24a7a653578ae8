"""A journal with many messages, made within minutes instead of a day."""

import re
from collections.abc import Iterator
from pathlib import Path

from edge.config import JournalConfig
from edge.hub.journal import Journal
from edge.hub.journal.entries import Entry
from edge.hub.journal.store import NAME, Store
from edge.protocol import messages
from tests.support.synthetic_worker import synthetic_face
from tests.support.wire import frame

DEVICE = "chamber-0"
_KINDS = 997  # different frames; then they repeat with other numbers
_BATCH = 20_000
_SEQ = re.compile(rb'"seq":0,"frame":\{"index":\d+,')


def make_journal(folder: Path, count: int) -> str:
    """Store ``count`` frames with a face each, as the first epoch of a journal; return its stream.

    The messages are valid ones of about 1.2 kB, stored in the groups of the journal's own code.

    Args:
        folder: ``journal.path``.
        count: at least 1.
    """
    journal = Journal(JournalConfig(path=str(folder), tail=str(folder / "unused-tail")))
    stream = journal.stream
    journal.close()
    store = Store(folder / NAME, stream, check_s=1.0)
    ends = _frames(stream)
    for first in range(0, count, _BATCH):
        entries = list(_entries(ends, first, min(count, first + _BATCH)))
        store.commit(entries, run_s=0, complete=[1] if first + _BATCH >= count else [])
    store.close()
    return stream


def _frames(stream: str) -> list[tuple[bytes, bytes]]:
    """Return the texts of frames, before and after their number."""
    found = []
    for index in range(_KINDS):
        face = synthetic_face(index, 1).model_dump(mode="json")
        message = frame(0, face, device=DEVICE, stream=stream)
        body = messages.encode(message).partition(b" ")[2]
        parts = _SEQ.split(body)
        assert len(parts) == 2, body
        found.append((parts[0], parts[1]))
    return found


def _entries(texts: list[tuple[bytes, bytes]], first: int, end: int) -> Iterator[Entry]:
    for seq in range(first, end):
        before, after = texts[seq % _KINDS]
        body = b'%b"seq":%d,"frame":{"index":%d,%b' % (before, seq, seq, after)
        yield Entry(1, seq, 1_700_000_000_000_000_000 + seq * 33_333_333, body)
