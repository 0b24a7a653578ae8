"""The newest events of all daemons, as the page lists them and marks them in its charts."""

import json
from collections import deque
from typing import Any, Final

from edge.protocol.events import DETAILS, FREQUENT
from edge.protocol.messages import EventMessage

EVENTS_MAX: Final = 600

_DETAIL_MAX: Final = 2000  # characters of an event's detail; epoch_started has the configuration
_KEPT: Final = frozenset(
    each
    for each in DETAILS
    if each in ("mark", "epoch_started") or each.startswith(("session_", "baseline_", "alarm_"))
)
"""Events that stay longest: a face that comes and goes all day must not push off what charts show,
nor alarms."""


class EventList:
    """The newest events, without those that come many times a minute. Not thread-safe.

    At most ``EVENTS_MAX``: the oldest goes first, but marks, sessions, baselines, alarms and starts
    go only where there are no others.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[int, dict[str, Any]]] = deque()
        self._ids: set[str] = set()

    def add(self, version: int, chamber: str, message: EventMessage, *, past: bool) -> None:
        """Add an event, once.

        Args:
            version: of the state, for ``newer_than``.
            chamber: by which the page knows the daemon.
            message: of the daemon.
            past: whether the journal had it.

        Raises:
            ValueError: its detail has values that JSON cannot hold.
        """
        identity = f"{message.stream}.{message.epoch}.{message.seq}"
        if identity in self._ids or message.event in FREQUENT:
            return
        detail = message.detail
        size = len(json.dumps(detail, allow_nan=False))
        if message.event == "epoch_started" or size > _DETAIL_MAX:
            wanted = ("version", "purpose", "source", "reason", "text")
            detail = {each: detail[each] for each in wanted if each in detail}
        event = {
            "id": identity,
            "chamber": chamber,
            "t_ms": message.time.unix_ns // 1_000_000,
            "event": message.event,
            "detail": detail,
            "past": past,
        }
        self._ids.add(identity)
        self._events.append((version, event))
        while len(self._events) > EVENTS_MAX:
            others = (n for n, (_, each) in enumerate(self._events) if each["event"] not in _KEPT)
            oldest = next(others, 0)
            self._ids.discard(self._events[oldest][1]["id"])
            del self._events[oldest]

    def newer_than(self, version: int) -> list[dict[str, Any]]:
        """Return the events that were added after a version of the state."""
        return [event for added, event in self._events if added > version]
