"""What an alarm can be about: finds, once a second, what is wrong at the moment.

A rule whose subject cannot be judged now, such as a participant while the camera is stalled, is
*unknown*: its alarms stay as they are. Texts have codes of participants at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.hub.board_watch import BoardState
from edge.hub.rate_limit import HYSTERESIS_CELSIUS
from edge.protocol.messages import JournalConsumer, JournalStatus
from edge.vocabulary import AlarmRule, PictureState

LOGGER_SEEN_S: Final = 60.0
"""A logger that has acknowledged nothing for so long is not connected."""

NEARLY_FULL: Final = 0.8
"""Share of the journal's size from which messages that a logger lacks are at risk."""

_SOURCE_TEXTS: Final = {
    "stalled": "the source delivers no new picture",
    "absent": "the source cannot be opened",
    "restarting": "no worker runs: it is started again",
}
_PICTURE_TEXTS: Final = {
    "dark": "the picture is dark: the lens is covered, or the lamp is off",
    "flat": "the picture shows no detail: something is in front of the lens, or it is overexposed",
    "frozen": "the picture does not change: the camera is frozen",
}
_FLAG_TEXTS: Final = {
    "under_voltage": "the power supply or its cable is too weak",
    "frequency_capped": "the processor's frequency is capped",
    "throttled": "the processor is throttled",
    "soft_temperature_limit": "the temperature limit is reached",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hub knows about the device, once a second.

    Attributes:
        now_ns: monotonic time.
        source_state: of the source.
        picture_state: of its pictures.
        has_no_frames: whether it runs and no frame has come for long.
        board: the board.
        hot_celsius: from this temperature on, the board is too hot.
        journal: the journal.
        newest_epoch: epoch of the newest message.
        newest_seq: number of the newest message.
        synchronized: whether something disciplines the wall clock.
        session: id of the running session; None: none runs.
    """

    now_ns: int
    source_state: str
    picture_state: PictureState
    has_no_frames: bool
    board: BoardState
    hot_celsius: float
    journal: JournalStatus
    newest_epoch: int
    newest_seq: int
    synchronized: bool
    session: str | None

    @property
    def is_watching(self) -> bool:
        """Whether faces that are there would be seen."""
        shows = self.picture_state in ("normal", "still")
        return self.source_state == "running" and not self.has_no_frames and shows


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong now.

    Attributes:
        rule: that watches it.
        text: what is wrong, for people; without the subject.
        subject: a participant's code, ``seat NAME`` or ``track NUMBER``; empty: the device.
        participant: the code, if the subject is one.
        since_ns: monotonic time since when; None: since it was found.
    """

    rule: AlarmRule
    text: str
    subject: str = ""
    participant: str | None = None
    since_ns: int | None = None


def unknown_rules(facts: Facts) -> set[AlarmRule]:
    """Return the rules that cannot be judged now."""
    unknown: set[AlarmRule] = set()
    if not facts.is_watching:
        unknown |= {"eyes_closed", "not_read", "participant_gone"}
    if facts.source_state in ("starting", "waiting", "ended"):
        unknown |= {"source", "picture"}
    elif facts.source_state in ("absent", "restarting"):
        unknown.add("picture")
    return unknown


def device_causes(facts: Facts, *, is_hot: bool) -> Iterator[Cause]:
    """Yield what is wrong with the device; ``is_hot``: whether the alarm ``board`` is raised."""
    if text := _SOURCE_TEXTS.get(facts.source_state):
        yield Cause("source", text)
    elif facts.has_no_frames:
        yield Cause("source", "the source runs, and no result comes")
    if text := _PICTURE_TEXTS.get(facts.picture_state):
        yield Cause("picture", text)
    if text := _storage_text(facts):
        yield Cause("storage", text)
    if not facts.synchronized:
        yield Cause("clock", "the wall clock is not synchronized")
    if text := _board_text(facts, is_hot=is_hot):
        yield Cause("board", text)
    yield from _logger_causes(facts)


def _board_text(facts: Facts, *, is_hot: bool) -> str:
    """Return what is wrong with the board; empty: nothing."""
    board = facts.board
    celsius = board.soc_celsius
    limit = facts.hot_celsius - (HYSTERESIS_CELSIUS if is_hot else 0)
    found = [_FLAG_TEXTS.get(flag, flag) for flag in board.throttled or ()]
    if celsius is not None and celsius >= limit:
        found.insert(0, f"the chip is too hot, {celsius:.0f} degrees Celsius")
    if board.rate_divisor > 1:
        found.append(f"one frame of {board.rate_divisor} is processed")
    return "; ".join(found)


def _storage_text(facts: Facts) -> str:
    """Return what is wrong with the journal's storage; empty: nothing."""
    journal = facts.journal
    if journal.state == "memory":
        return "messages are kept in memory only: the storage is full, fails, or does not answer"
    if journal.bytes <= NEARLY_FULL * journal.max_bytes:
        return ""
    if any(_is_at_risk(each, facts) for each in journal.consumers.values()):
        share = 100 * journal.bytes / journal.max_bytes
        return f"the journal is {share:.0f} % full, and a logger has not fetched its oldest half"
    return ""


def _is_at_risk(consumer: JournalConsumer, facts: Facts) -> bool:
    """Return whether the messages that a consumer lacks may soon be deleted."""
    oldest = facts.journal.oldest
    if oldest is None:
        return False
    if oldest.epoch == facts.newest_epoch:
        return consumer.lag > (facts.newest_seq - oldest.seq) / 2
    return consumer.lag > facts.newest_seq  # it has nothing of this epoch, and lacks earlier ones


def _logger_causes(facts: Facts) -> Iterator[Cause]:
    ages = [consumer.age_s for consumer in facts.journal.consumers.values()]
    if ages and min(ages) > LOGGER_SEEN_S:
        since_ns = facts.now_ns - min(ages) * 1_000_000_000
        text = "no logger fetches the record; the journal keeps it for a limited time"
        yield Cause("no_logger", text, since_ns=since_ns)
    elif not ages and facts.session is not None:
        yield Cause("no_logger", "a session is running, and no logger has fetched the record")
