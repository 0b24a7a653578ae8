"""The rows of the tidy tables from a SQLite log."""

from collections.abc import Iterator
from typing import NamedTuple

from edge.client.logs.participant_edits import ParticipantEdits
from edge.client.logs.sessions import Span
from edge.client.logs.sqlite_reader import LoggedMessage, SqliteReader
from edge.client.tidy import COLUMNS, NONE, Cell, PlacedGap, event_row, frame_rows
from edge.protocol.messages import FrameMessage

_TRACK = COLUMNS.index("track")
_PARTICIPANT = COLUMNS.index("participant")


class MessageRows(NamedTuple):
    """The rows of one message, or of a gap whose message is not in the log.

    Attributes:
        device: of the message.
        unix_ns: wall time of the message.
        identity: ``STREAM-EPOCH-SEQ``, usable as a file name.
        frames: cells in the order of ``tidy.COLUMNS``.
        events: cells in the order of ``tidy.EVENT_COLUMNS``; a gap is before its message.
        is_message: false for a gap without its message.
    """

    device: str
    unix_ns: int
    identity: str
    frames: list[list[Cell]]
    events: list[list[Cell]]
    is_message: bool = True


class StoredRows:
    """Iterates over the rows of a log in the order of reception; decodes each message.

    Faces have the participants that were assigned in the log afterwards.

    Args:
        reader: the log.
        spans: only these messages; None: all.
    """

    def __init__(self, reader: SqliteReader, spans: list[Span] | None = None) -> None:
        self._reader = reader
        self._spans = spans

    def __iter__(self) -> Iterator[MessageRows]:
        gaps: dict[tuple[str, int], list[PlacedGap]] = {}
        for found in reversed(self._reader.gaps(self._spans)):
            gaps.setdefault((found.gap.stream, found.gap.epoch), []).append(found)
        edits = self._reader.edits()
        for stored in self._reader.messages(self._spans):
            events: list[list[Cell]] = []
            waiting = gaps.get((stored.stream, stored.epoch), [])
            while waiting and waiting[-1].gap.first_missing < stored.seq:
                events.append(waiting.pop().row())
            message = stored.decoded()
            frames: list[list[Cell]] = []
            if isinstance(message, FrameMessage):
                frames = frame_rows(message, stored.time_s)
                for row in frames:
                    _edit(row, edits, stored)
            else:
                events.append(event_row(message, stored.time_s))
            identity = f"{stored.stream}-{stored.epoch}-{stored.seq}"
            yield MessageRows(stored.device, stored.unix_ns, identity, frames, events)
        for waiting in gaps.values():  # at the end of an epoch
            for found in reversed(waiting):
                gap = found.gap
                identity = f"{gap.stream}-{gap.epoch}-{gap.first_missing}"
                yield MessageRows(
                    found.device, found.unix_ns, identity, [], [found.row()], is_message=False
                )


def _edit(row: list[Cell], edits: ParticipantEdits, stored: LoggedMessage) -> None:
    """Give the face of a row the participant that was assigned afterwards."""
    track, code = row[_TRACK], row[_PARTICIPANT]
    if isinstance(track, int) and track != NONE:
        received = code if isinstance(code, str) else None
        row[_PARTICIPANT] = edits.participant(stored.stream, stored.epoch, track, received)
