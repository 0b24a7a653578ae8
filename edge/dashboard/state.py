"""The state that the page shows, and what has changed of it since a viewer's last update.

Everything has a version: that of the state when it last changed. An update holds what is newer than
the viewer's version, so a slow viewer skips what was replaced meanwhile, and nothing is queued for
it. Memory is bounded: each list has a maximum length, and a viewer that is behind it gets
everything anew.
"""

import contextlib
import json
import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

from edge.clock import elapsed_ms, monotonic_ns, wall_ns
from edge.dashboard.cards import Card, key_of
from edge.dashboard.chambers import Chamber
from edge.dashboard.event_list import EventList
from edge.dashboard.history import HistoryPoint
from edge.errors import AffectEdgeError
from edge.protocol.messages import ANY, EventMessage, FrameMessage, Message, StatusMessage

SILENT_MS: Final = 3500.0
"""A daemon sends a status each second; without a message for so long it is not connected."""

CHAMBERS_MAX: Final = 64
_POINTS_MAX: Final = 6000
_REMOVED_MAX: Final = 1000
_PEOPLE: Final = ("participant", "seat", "baseline", "session", "epoch")  # beginnings of names

log = logging.getLogger("affect_edge")

_UNSHOWN: Final = (ValueError, TypeError, ArithmeticError)  # of values that JSON cannot hold
_CANNOT: Final = "sends values that cannot be shown"
_TIMES: Final = range(-(2**63), 2**63)  # nanoseconds


def require_times(message: Message) -> None:
    """Check the times of a message.

    Raises:
        ValueError: one is beyond 64 bits, so it is no time.
    """
    for name, value in message.time:
        if name.endswith("_ns") and value is not None and value not in _TIMES:
            raise ValueError(f"time.{name}: expected nanoseconds within 64 bits")


class StreamConflictError(AffectEdgeError):
    """A service names the stream of another one, which answers, too."""


class State:
    """What daemons have published, as the page shows it. Thread-safe.

    Args:
        services: addresses that the page asks, shown until their daemon is known.

    Attributes:
        run: changes with each process, so that a page notices a new one.
        streams: grows with each stream that begins.
    """

    def __init__(self, services: Sequence[str] = ()) -> None:
        self.run = secrets.token_hex(4)
        self.streams = 0
        self._lock = threading.Lock()
        self._version = 1
        self._complete_from = 0  # a viewer with an older version gets everything
        self._chambers: dict[str, Chamber] = {}  # by stream
        self._names = 0
        self._unknown: dict[str, str] = dict.fromkeys(services, "")
        self._unknown_version = 1
        self._answering: set[str] = set()  # services whose last request was answered
        self._unshown: dict[str, Chamber] = {}  # that have values which JSON cannot hold
        self._events = EventList()
        self._points: deque[tuple[int, str, str, HistoryPoint]] = deque()
        self._removed: deque[tuple[int, str, str]] = deque()
        self._cached: tuple[int, int, bytes] = (0, 0, b"")
        self._dirty: set[str] = set()  # streams whose participants are to be asked for

    # -- from the receiver -------------------------------------------------------------------------

    def apply(self, message: Message, *, backfilled: bool, endpoint: str = "") -> None:
        """Show a message, in the order in which messages are received.

        Args:
            message: of a daemon.
            backfilled: it was fetched.
            endpoint: that publishes its stream; empty: not known.
        """
        with self._lock:
            self._version += 1
            now_ms = wall_ns() // 1_000_000
            chamber = self._chamber_of(message.stream, message.device, endpoint)
            chamber.heard_ns, chamber.heard_ms = monotonic_ns(), now_ms
            if not backfilled and chamber.device != message.device:  # its configuration was changed
                chamber.device, chamber.version = message.device, self._version
            if not chamber.connected:
                chamber.connected, chamber.version = True, self._version
                self._dirty.add(message.stream)
            chamber.view.note(message)
            if isinstance(message, FrameMessage):
                shown_ms = message.time.unix_ns // 1_000_000 if backfilled else now_ms
                self._frame(chamber, message, min(shown_ms, now_ms), is_live=not backfilled)
            elif isinstance(message, EventMessage):
                self._events.add(self._version, chamber.name, message, past=False)
                if message.event.startswith(_PEOPLE):
                    self._dirty.add(message.stream)
            else:
                chamber.version = self._version

    def check_connections(self, claims: Mapping[str, str] = MappingProxyType({})) -> None:
        """Mark the daemons that have fallen silent, and those that are mistaken for each other.

        Call it about once a second.

        Args:
            claims: what is wrong with streams that two endpoints publish, by stream.
        """
        with self._lock:
            named = Counter(each.device for each in self._chambers.values() if each.connected)
            for chamber in self._chambers.values():
                conflict = claims.get(chamber.stream, "")
                if not conflict and chamber.connected and named[chamber.device] > 1:
                    where = chamber.endpoint or "an address that is not known"
                    conflict = (
                        f"{named[chamber.device]} daemons have this name; this one publishes at"
                        f" {where}; expected a device.name of its own for each"
                    )
                if conflict != chamber.conflict:
                    self._version += 1
                    chamber.conflict, chamber.version = conflict, self._version
            for chamber in self._chambers.values():
                if chamber.connected and elapsed_ms(chamber.heard_ns) > SILENT_MS:
                    self._version += 1
                    chamber.connected, chamber.version = False, self._version
                    for card in chamber.cards.values():
                        card.in_view, card.version = False, self._version

    def _chamber_of(self, stream: str, device: str, endpoint: str = "") -> Chamber:
        chamber = self._chambers.get(stream)
        if chamber is not None:
            chamber.endpoint = endpoint or chamber.endpoint
            return chamber
        # a daemon without a journal begins a new stream at each start: it goes on in its place
        earlier = [
            each for each in self._chambers.values()
            if each.device == device and each.heard_ns and elapsed_ms(each.heard_ns) > SILENT_MS / 2
            and (each.endpoint == endpoint or not (each.endpoint and endpoint))
        ]  # fmt: skip
        if earlier:
            chamber = earlier[0]
            del self._chambers[chamber.stream]
            chamber.stream, chamber.service = stream, None
        else:
            if len(self._chambers) >= CHAMBERS_MAX:
                # of the address that has most: one daemon that invents streams hides no other
                count = Counter(each.endpoint for each in self._chambers.values())
                oldest = min(
                    self._chambers.values(), key=lambda each: (-count[each.endpoint], each.heard_ns)
                )
                del self._chambers[oldest.stream]
                self._note_removed(oldest.name, "")
            self._names += 1
            chamber = Chamber(f"c{self._names}", device, stream)
        chamber.version, chamber.endpoint = self._version, endpoint
        self._chambers[stream] = chamber
        self._dirty.add(stream)
        self.streams += 1
        return chamber

    def _move(self, chamber: Chamber, stream: str) -> None:
        """Let a chamber go on with another stream; one that was made for that stream goes."""
        del self._chambers[chamber.stream]
        newer = self._chambers.pop(stream, None)
        if newer is not None:
            chamber.heard_ns, chamber.connected = newer.heard_ns, newer.connected
            self._note_removed(newer.name, "")
        chamber.stream = stream
        self._chambers[stream] = chamber

    def _frame(
        self, chamber: Chamber, message: FrameMessage, now_ms: int, *, is_live: bool
    ) -> None:
        changed, removed = chamber.show_frame(message, now_ms)
        t_s = message.time.unix_ns / 1e9
        for card in changed:
            card.version = self._version
        for face in message.faces:
            if face.affect is None:
                continue
            card = chamber.cards[key_of(face, message.epoch)]
            if is_live and card.history.begin_anew_after_step(t_s):
                card.history_version += 1
                card.second = -1
            if (second := int(t_s)) != card.second:
                if card.second >= 0 and (point := card.history.second(card.second)) is not None:
                    self._points.append((self._version, chamber.name, card.key, point))
                card.second = second
            smoothed = face.affect.smoothed
            card.history.add(t_s, smoothed.valence, smoothed.arousal)
        for key in removed:
            self._note_removed(chamber.name, key)
        while len(self._points) > _POINTS_MAX:
            self._complete_from = max(self._complete_from, self._points.popleft()[0])

    def _note_removed(self, chamber: str, key: str) -> None:
        self._removed.append((self._version, chamber, key))
        while len(self._removed) > _REMOVED_MAX:
            self._complete_from = max(self._complete_from, self._removed.popleft()[0])

    # -- from the directory ------------------------------------------------------------------------

    def take_dirty(self, stream: str | None) -> bool:
        """Return whether the participants, seats or sessions of a stream may have changed."""
        with self._lock:
            is_dirty = stream in self._dirty
            self._dirty.discard(stream or "")
            return is_dirty

    def answered(self, service: str, device: str, reply: Mapping[str, Any]) -> None:
        """Show what a service replied to a request for its status.

        Raises:
            StreamConflictError: the stream is that of another service, which answers, too: its
                buttons stay with that.
        """
        with self._lock:
            self._version += 1
            stream = str(reply["status"]["stream"])
            holder = self._chambers[stream].service if stream in self._chambers else None
            if holder not in (None, service) and holder in self._answering:
                text = (
                    f"names the stream of {holder}, which answers, too: its replies are not used;"
                    " expected each daemon once in --service"
                )
                self._unknown[service], self._unknown_version = text, self._version
                raise StreamConflictError(text)
            self._answering.add(service)
            if self._unknown.pop(service, None) is not None:
                self._unknown_version = self._version
            for other in [*self._chambers.values()]:
                if other.service == service and other.stream != stream:
                    self._move(other, stream)  # the daemon has begun a new stream
            chamber = self._chamber_of(stream, device)
            self._dirty.discard(stream)
            chamber.service, chamber.version = service, self._version
            changed, removed = chamber.show_people(reply["seats"], reply["participants"])
            for card in changed:
                card.version = self._version
            for key in removed:
                self._note_removed(chamber.name, key)

    def no_answer(self, service: str, reason: str) -> None:
        """Note that a service does not answer; one that is not known yet is shown with that."""
        with self._lock:
            self._answering.discard(service)
            if self._unknown.get(service, reason) != reason:
                self._version += 1
                self._unknown[service], self._unknown_version = reason, self._version

    def service_of(self, chamber: str) -> str | None:
        """Return the address that answers requests for a chamber; None if there is none."""
        with self._lock:
            found = self._named(chamber)
            return None if found is None else found.service

    def apply_past(self, stream: str, messages: Sequence[Mapping[str, Any]], share: float) -> None:
        """Add messages of the journal to histories and events, in any order.

        Args:
            stream: whose they are.
            messages: of a reply; one that is no frame or event of the stream is skipped.
            share: how much of the past that is wanted has been read, 0..1; 1: all.
        """
        found = [message for each in messages if (message := _past_message(each, stream))]
        with self._lock:
            chamber = self._chambers.get(stream)
            if chamber is None:
                return
            self._version += 1
            touched: set[Card] = set()
            for message in found:
                if isinstance(message, FrameMessage):
                    touched |= chamber.add_past(message)
                else:
                    with contextlib.suppress(ValueError):  # a detail that JSON cannot hold
                        self._events.add(self._version, chamber.name, message, past=True)
            for card in touched:
                card.history_version += 1
                card.version = self._version
            chamber.past = None if share >= 1 else round(share, 3)
            chamber.version = self._version

    # -- for the viewers ---------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._version

    def update(self, since: int) -> tuple[int, bytes]:
        """Return the version of the state, and what is newer than ``since``, as JSON.

        Args:
            since: version that the viewer has; 0: none, it gets everything.
        """
        with self._lock:
            if self._cached[:2] == (since, self._version):
                return self._version, self._cached[2]
            try:
                if self._unshown:
                    self._find_unshown()
                encoded = self._encoded(since)
            except _UNSHOWN:
                self._find_unshown()
                encoded = self._encoded(since)
            self._cached = (since, self._version, encoded)
            return self._version, encoded

    def _encoded(self, since: int) -> bytes:
        whole = since < max(1, self._complete_from) or since > self._version
        return _json(self._changes(0 if whole else since, whole=whole))

    def _find_unshown(self) -> None:
        """Find the chambers that have values which JSON cannot hold: the others are shown."""
        before, self._unshown = self._unshown, {}
        for each in self._chambers.values():
            try:
                _json([each.as_json(), [card.as_json() for card in each.cards.values()]])
            except _UNSHOWN as error:
                self._unshown[each.name] = each
                if each.name not in before:
                    log.warning("%s cannot be shown: %s", ascii(each.device), error)
        if self._unshown.keys() == before.keys():
            return
        self._version += 1
        self._unknown_version = self._version
        for name in before.keys() - self._unshown.keys():
            chamber = before[name]
            chamber.version = self._version
            for card in chamber.cards.values():
                card.version = self._version

    def _changes(self, since: int, *, whole: bool) -> dict[str, Any]:
        chambers = [each for each in self._chambers.values() if each.name not in self._unshown]
        body: dict[str, Any] = {"now_ms": wall_ns() // 1_000_000, "whole": whole}
        changed = {each.name: each.as_json() for each in chambers if each.version > since}
        cards = {
            each.name: shown
            for each in chambers
            if (shown := {c.key: c.as_json() for c in each.cards.values() if c.version > since})
        }
        events = self._events.newer_than(since)
        body |= {"chambers": changed} if changed else {}
        body |= {"cards": cards} if cards else {}
        body |= {"events": events} if events else {}
        if self._unknown_version > since:
            wrong = {f"{c.device} ({c.stream})": _CANNOT for c in self._unshown.values()}
            body["unknown"] = self._unknown | wrong
        if not whole:
            points = [(n, key, *point) for v, n, key, point in self._points if v > since]
            removed = [(n, key) for version, n, key in self._removed if version > since]
            body |= {"points": points} if points else {}
            body |= {"removed": removed} if removed else {}
        return body

    def advice(self, chamber: str) -> list[dict[str, Any]] | None:
        """Return what to change at a chamber's camera and lamp; None if there is none."""
        with self._lock:
            found = self._named(chamber)
            return None if found is None else [asdict(advice) for advice in found.view.advice()]

    def history(self, chamber: str, key: str) -> list[HistoryPoint] | None:
        """Return the history of a card, in order of time; None if there is no such card."""
        with self._lock:
            found = self._named(chamber)
            card = None if found is None else found.cards.get(key)
            return None if card is None else card.history.points()

    def _named(self, name: str) -> Chamber | None:
        return next((each for each in self._chambers.values() if each.name == name), None)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _past_message(given: object, stream: str) -> FrameMessage | EventMessage | None:
    """Return a frame or event of a stream; None if ``given`` is none."""
    try:
        message = ANY.validate_python(given)
        require_times(message)
    except ValueError:
        return None
    if isinstance(message, StatusMessage) or message.stream != stream:
        return None
    return message
