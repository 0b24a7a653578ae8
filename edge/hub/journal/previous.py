"""What the start before left: how its epoch ended, and which of its messages are or may be lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge.hub.identity import PreviousStart
from edge.hub.journal.batch import MissingRange
from edge.hub.journal.entries import Entry
from edge.hub.journal.store import EpochRow
from edge.hub.journal.tail import Tail


@dataclass(slots=True)
class Found:
    """What the start found in storage.

    Attributes:
        damage: why the file was set aside; empty if it was good or new.
        previous: the epoch before this one, messages in the tail included; None if unknown.
    """

    damage: str = ""
    previous: EpochRow | None = None


@dataclass(frozen=True, slots=True)
class PreviousState:
    """The epoch before this one.

    Attributes:
        row: what is known of it, with the messages in the tail.
        gaps: its messages that are lost, or may be.
        is_empty: it ended before its first message.
    """

    row: EpochRow
    gaps: Sequence[MissingRange]
    is_empty: bool


def previous_state(
    start: PreviousStart,
    row: EpochRow | None,
    entries: Sequence[Entry],
    *,
    boot: str,
    tail: Tail | None,
    is_new: bool,
) -> PreviousState:
    """Return how the epoch of ``start`` ended.

    Args:
        start: the start before this one.
        row: what the file holds of its epoch; None: nothing.
        entries: the messages that were in the tail, of all epochs.
        boot: id of the machine's present boot.
        tail: None: there is none.
        is_new: there was no file, although it had been started before: somebody deleted it.
    """
    of_epoch = [each for each in entries if each.epoch == start.epoch]
    last_seq = max([row.last_seq if row else -1, *(each.seq for each in of_epoch[-1:])])
    ended = bool(row and row.ended) or any(each.is_last for each in of_epoch[-1:])
    gaps = []
    if of_epoch and (row is not None or is_new):
        first = row.last_seq + 1 if row is not None else 0
        if of_epoch[0].seq > first:
            reason = "unknown" if row is None else "overflow"
            gaps.append(MissingRange(start.epoch, first, of_epoch[0].seq - 1, reason))
    gaps += [
        MissingRange(start.epoch, before.seq + 1, after.seq - 1, "tail_lost")
        for before, after in pairwise(of_epoch)
        if after.seq > before.seq + 1
    ]
    is_empty, reason = False, ""
    if not ended:
        if start.boot_id != boot:
            reason = "power_cut"
        elif of_epoch and not (tail is not None and tail.was_incomplete):
            pass  # all that it published is in the tail
        elif is_new or (row is None and tail is not None and not tail.was_left):
            reason = "unknown"  # it ended cleanly, and the file is another one
        elif last_seq >= 0 or tail is None or tail.was_incomplete:
            reason = "tail_lost"
        else:
            is_empty = True
    if reason:
        gaps.append(MissingRange(start.epoch, last_seq + 1, None, reason))
    known = EpochRow(start.epoch, None, 0, start.boot_id, last_seq, ended)
    return PreviousState(known, gaps, is_empty)
