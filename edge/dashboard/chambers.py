"""What the page shows of one daemon: its cards, its health, and who is known to it."""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from edge.client.view import View
from edge.dashboard.cards import GONE_S, Card, key_of
from edge.protocol.messages import FrameMessage, StatusMessage

CARDS_MAX: Final = 48
"""Cards of a daemon: as many as a message has faces."""

_FRAMES: Final = 300  # for latencies: ten seconds at 30 frames a second
_TOO_SLOW: Final = 0.9  # of the expected rate, as the health grade has it
_BUSY: Final = 0.8  # share of the time between two frames


class Chamber:
    """One stream of messages. Not thread-safe: ``State`` has the lock.

    Attributes:
        name: by which the page knows it; it stays when a daemon begins a new stream.
        device: name of the device.
        stream: identity of the record.
        version: of the state when its fields, without the cards, last changed.
        heard_ns: monotonic time of the last message.
        heard_ms: the same as the server's wall time.
        connected: whether messages come.
        cards: by key.
        past: share of the history that has been read; None: all that is wanted.
        view: of the last seconds, for advice on camera and lamp.
        service: address that answers requests; None: not known yet.
        endpoint: address that publishes its messages; empty: not known.
        conflict: why it may be mistaken for another one, in words; empty: it is not.
    """

    def __init__(self, name: str, device: str, stream: str) -> None:
        self.name = name
        self.device = device
        self.stream = stream
        self.version = 0
        self.heard_ns = self.heard_ms = 0
        self.connected = False
        self.cards: dict[str, Card] = {}
        self.past: float | None = None
        self.service: str | None = None
        self.endpoint = self.conflict = ""
        self.seats: dict[str, str | None] = {}
        self.participants: list[dict[str, Any]] = []
        self.view = View()
        self._past_tracks: dict[str, Card] = {}
        self._size = (0, 0)
        self._ignored = 0
        self._totals: deque[float] = deque(maxlen=_FRAMES)
        self._stages: deque[tuple[float, float, float]] = deque(maxlen=_FRAMES)

    def show_frame(self, message: FrameMessage, now_ms: int) -> tuple[list[Card], list[str]]:
        """Show a frame; return the cards that changed, and the keys of removed ones."""
        changed: list[Card] = []
        removed: list[str] = []
        self._size = (message.frame.width, message.frame.height)
        self._ignored = message.frame.ignored
        timing = message.timing_ms
        self._totals.append(timing.total)
        self._stages.append((timing.capture, timing.detect, timing.classify + timing.translate))
        shown = set()
        for face in message.faces:
            key, track_key = key_of(face, message.epoch), f"t:{message.epoch}.{face.track}"
            card = self.cards.get(key)
            if card is None:
                card = self._new_card(key, removed)
            earlier = self.cards.pop(track_key, None) if key != track_key else None
            if earlier is not None:
                card.continue_from(earlier)  # the operator gave a code to the track
                removed.append(track_key)
            card.show(face, now_ms)
            shown.add(key)
            changed.append(card)
        if self.past is None:
            self._past_tracks.clear()
        for key, card in self.cards.items():
            if card.in_view and key not in shown:
                card.in_view = False
                changed.append(card)
        return changed, removed + self._old_cards(now_ms)

    def _new_card(self, key: str, removed: list[str]) -> Card:
        if len(self.cards) >= CARDS_MAX:
            oldest = min(self.cards.values(), key=lambda each: (each.in_view, each.seen_ms or 0))
            del self.cards[oldest.key]
            removed.append(oldest.key)
        waiting = self._past_tracks.pop(key, None)
        card = self.cards[key] = waiting or Card(key)
        return card

    def add_past(self, message: FrameMessage) -> set[Card]:
        """Add a frame of the past to the histories; return the cards that it changed."""
        touched: set[Card] = set()
        t_s = message.time.unix_ns / 1e9
        for face in message.faces:
            if face.affect is None:
                continue
            card = self._card_of_past(key_of(face, message.epoch))
            if card is not None:
                smoothed = face.affect.smoothed
                card.history.add(t_s, smoothed.valence, smoothed.arousal)
                touched.add(card)
        return touched

    def _card_of_past(self, key: str) -> Card | None:
        """Return the card for a face of the past; None if there is no room for it.

        That of a track alone waits until the track is seen: most have gone.
        """
        card = self.cards.get(key) or self._past_tracks.get(key)
        if card is not None:
            return card
        card = Card(key)
        if card.is_passing:
            self._past_tracks[key] = card
            if len(self._past_tracks) > CARDS_MAX:
                del self._past_tracks[next(iter(self._past_tracks))]
        elif len(self.cards) < CARDS_MAX:
            self.cards[key] = card
        else:
            return None
        return card

    def _old_cards(self, now_ms: int) -> list[str]:
        removed = [
            key for key, card in self.cards.items()
            if card.is_passing and not card.in_view and now_ms - (card.seen_ms or 0) > GONE_S * 1e3
        ]  # fmt: skip
        for key in removed:
            del self.cards[key]
        return removed

    def show_people(
        self, seats: Mapping[str, str | None], participants: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Card], list[str]]:
        """Show the known seats and participants; return changed cards and keys of removed ones."""
        self.seats = dict(seats)
        self.participants = [dict(each) for each in participants]
        by_code = {str(each["participant"]): each for each in self.participants}
        removed = [
            key for key, card in self.cards.items()
            if not card.in_view and not card.is_passing
            and (key[2:] not in by_code if key[0] == "p" else bool(seats.get(key[2:], "gone")))
        ]  # fmt: skip
        for key in removed:
            del self.cards[key]
        changed = []
        for seat, code in seats.items():
            key = f"s:{seat}" if code is None else f"p:{code}"
            if key not in self.cards and len(self.cards) < CARDS_MAX:
                self.cards[key] = Card(key)
        for code, each in by_code.items():
            card = self.cards.get(f"p:{code}")
            if card is None and len(self.cards) < CARDS_MAX:
                card = self.cards[f"p:{code}"] = Card(f"p:{code}")
            if card is not None:
                card.seat = each.get("seat") or None
                card.baseline = str(each.get("baseline", "none"))
                since_ns = each.get("since_unix_ns")
                if card.seen_ms is None and since_ns:
                    card.seen_ms = int(since_ns) // 1_000_000
                changed.append(card)
        changed += [card for card in self.cards.values() if not card.version]
        return changed, removed

    def as_json(self) -> dict[str, Any]:
        """Return what the page gets, without the cards."""
        shown: dict[str, Any] = {
            "device": self.device,
            "stream": self.stream,
            "connected": self.connected,
            "conflict": self.conflict,
            "heard_ms": self.heard_ms,
            "past": self.past,
            "can_ask": self.service is not None,
            "preview": self.view.preview,
            "seats": self.seats,
            "participants": self.participants,
            "size": self._size,
            "ignored": self._ignored,
        }
        status = self.view.status
        if status is None:
            return shown
        totals = sorted(self._totals)
        shown["latency_ms"] = (
            [round(median(totals), 1), round(totals[int(len(totals) * 0.95)], 1)]
            if totals
            else None
        )
        shown["limit"] = self._limit(status)
        shown["has_mesh"] = "mesh" in (status.models or {})
        shown["alarms"] = [each.model_dump(mode="json") for each in status.alarms]
        shown["status"] = status.model_dump(
            mode="json",
            exclude={"schema_", "kind", "device", "stream", "priors", "models", "alarms"},
        )
        return shown

    def _limit(self, status: StatusMessage) -> str:
        """Return what limits rate or readings: ``source`` if all is done at the source's rate."""
        if status.rate_divisor > 1:
            return status.rate_reason or "temperature"
        if status.schedule is not None and status.schedule.bound_by:
            return status.schedule.bound_by[0]
        rates, stages = status.rates, self._stages
        if not stages or not rates.published_hz:
            return ""
        expected_hz = rates.expected_hz
        if not expected_hz or rates.published_hz >= _TOO_SLOW * expected_hz:
            return "source"
        if rates.captured_hz < _TOO_SLOW * expected_hz:
            capture = median(each[0] for each in stages)
            return "capture" if capture * expected_hz >= _BUSY * 1e3 else "camera"
        detect, classify = (median(each[stage] for each in stages) for stage in (1, 2))
        return "detector" if detect >= classify else "classifier"
