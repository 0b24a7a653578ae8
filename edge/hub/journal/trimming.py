"""Deletes the oldest messages: those that are too old and were acknowledged, or are too many."""

from dataclasses import dataclass
from typing import Final

from edge.hub.journal.batch import MissingRange, Position
from edge.hub.journal.store import Store

_GROUPS: Final = 500  # at once, so that commits stay on time


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much the journal keeps."""

    keep_s: float
    max_bytes: int


def trim(
    store: Store, limits: Limits, *, used_bytes: int, run_s: int, acknowledged: Position | None
) -> tuple[bool, list[MissingRange]]:
    """Delete a limited number of the oldest messages.

    Args:
        store: of the messages; only for the thread that writes.
        limits: what is kept.
        used_bytes: size of the pages in use.
        run_s: the journal's clock.
        acknowledged: position up to which every known consumer has the messages; None: none known.

    Returns:
        Whether anything was deleted, so that there may be more; and of that, what a known consumer
        lacks.
    """
    if used_bytes > limits.max_bytes:
        groups = store.trim(count=_GROUPS, max_bytes=used_bytes - limits.max_bytes)
    else:
        before = int(run_s - limits.keep_s)
        groups = store.trim(count=_GROUPS, older_than_run_s=before, upto=acknowledged)
    missing = []
    for group in groups if acknowledged is not None else ():
        assert acknowledged is not None
        first = group.first_seq
        if group.epoch == acknowledged.epoch:
            first = max(first, acknowledged.seq + 1)
        if group.last_position > acknowledged:
            missing.append(MissingRange(group.epoch, first, group.last_seq, "trimmed"))
    return bool(groups), missing
