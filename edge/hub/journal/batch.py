"""What a reader of the journal gets: stored messages after a position, and what is missing."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A message of this stream; as a cursor, the last message that a reader has.

    Attributes:
        epoch: number of the daemon's start within the stream.
        seq: number of the message within the epoch; -1 before its first.
    """

    epoch: int
    seq: int


BEFORE_ALL: Final = Position(0, -1)
"""Before every message: epochs are numbered from 1."""


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Messages of one epoch that are not stored any more, or never were.

    Attributes:
        epoch: of the messages.
        first_missing: number of the first one.
        last_missing: number of the last one; None where that is not known, such as after a power
            cut.
        reason: why, one word, such as ``trimmed``.
    """

    epoch: int
    first_missing: int
    last_missing: int | None
    reason: str

    def holds(self, epoch: int, seq: int) -> bool:
        """Return whether a message lies in the range, as far as that is known."""
        is_within = self.last_missing is None or seq <= self.last_missing
        return self.epoch == epoch and self.first_missing <= seq and is_within


@dataclass(frozen=True, slots=True)
class Batch:
    """Stored messages right after a position, all of one epoch.

    Attributes:
        gap: messages between the position and the first one of the batch that are missing.
        lines: the JSON of the messages as published, without topics, joined by line feeds (which
            the JSON itself does not contain); empty if there are none.
        count: number of messages in ``lines``.
        next: position of the last message of the batch or of its gap; the position that was asked
            for if there is nothing newer.
        caught_up: whether there was nothing newer than ``next`` when the batch was read.
    """

    gap: MissingRange | None
    lines: bytes
    count: int
    next: Position
    caught_up: bool
