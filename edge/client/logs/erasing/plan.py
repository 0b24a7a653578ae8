"""What belongs to a session in a log, and goes with it: the plan of an erasure.

With the messages of the session go all other messages that name a code which no other session of
the log and no configuration has. The event ``epoch_started`` stays: it has the configuration, and
nothing of a session. Where the log lacks it for an epoch of the session or of a code, nobody knows
whether that code is configured: then only the messages of the session go.

Where an erasure changes several files, one after another, the plan lies next to them until it is
done: after a kill, the events that show the session may be gone already.
"""

import json
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeGuard

from edge.client.logs.failures import log_error
from edge.client.logs.sessions import EVENTS, NO_END, Session, SessionEvent, Span, sessions_of
from edge.errors import ConfigError
from edge.files.durable import replace_file, sync_folder
from edge.protocol.naming import session_texts

ERASED: Final = "erased"
"""The reason of a gap where messages were erased."""

STARTED: Final = "epoch_started"
"""The event that has the configuration of an epoch; it is kept."""

Epoch = tuple[str, int]
"""Stream and number of a daemon's start."""

_SCHEMA: Final = "affect.log-erasure.v1"


class Item(NamedTuple):
    """A row or line of a log.

    Attributes:
        kind: ``frame``, ``event``, ``gap`` or ``status``.
        stream: of its identity, as are the next two.
        epoch: number of the daemon's start.
        seq: number within the epoch; of a gap the first missing one.
        device: of the message.
        unix_ns: wall time.
        monotonic_ns: time on the monotonic clock; of a frame, of its publication.
        time_s: seconds on the time axis of the epoch; 0 where the log has none.
        codes: participants of the faces of a row or frame, or those that an event names.
        event: name of the event; empty if it is none.
        detail: of the event; of a gap its ``reason`` and ``last_missing``; of a status its
            ``session``.
    """

    kind: str
    stream: str
    epoch: int
    seq: int
    device: str
    unix_ns: int
    monotonic_ns: int
    time_s: float
    codes: frozenset[str]
    event: str
    detail: dict[str, Any]

    @property
    def identity(self) -> tuple[str, int, int]:
        """Stream, epoch and number."""
        return self.stream, self.epoch, self.seq

    def is_same_frame(self, other: "Item | None") -> TypeGuard["Item"]:
        """Return whether ``other`` is another row of the same frame."""
        return other is not None and self.kind == "frame" and self[:4] == other[:4]


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased, and what the log still holds.

    Attributes:
        messages: number of erased messages, those outside of the session included.
        outside: of these, outside of the session.
        codes: codes that only this session had.
        looked_for: number of texts that were looked for.
        hits: how often one of them was found; 0 is the proof.
        where: what was searched for them, such as ``the bytes of session.csv``.
    """

    messages: int
    outside: int
    codes: tuple[str, ...]
    looked_for: int
    hits: int
    where: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A session and what goes with it.

    Attributes:
        session: its id.
        name: its name.
        note: its note.
        spans: where it lies; none is without an end.
        codes: codes that only this session has.
    """

    session: str
    name: str
    note: str
    spans: tuple[Span, ...]
    codes: frozenset[str]

    def dooms(self, item: Item) -> bool:
        """Return whether ``item`` goes with the session."""
        if item.event == STARTED:
            return False
        if item.kind in ("frame", "event"):
            return not self.codes.isdisjoint(item.codes) or lies_within(self.spans, item)
        return item.kind == "status" and item.detail.get("session") == self.session

    def texts(self) -> list[str]:
        """Return the session's own texts, as they are in the JSON of a message."""
        return session_texts(self.name, self.note, self.codes)


def lies_within(spans: Iterable[Span], item: Item) -> bool:
    """Return whether a message lies in one of ``spans``."""
    return any(span.holds(*item.identity) for span in spans)


def _find_session(sessions: Sequence[Session], word: str, where: str) -> Session:
    """Return the session with the name or id ``word``.

    Raises:
        ConfigError: there is none in ``where``, or several.
    """
    matching = [each for each in sessions if word in (each.session, each.name)]
    if not matching:
        known = ", ".join(each.name for each in sessions) or "none"
        raise ConfigError(f"--session {word}: not in {where}; sessions: {known}")
    if len(matching) > 1:
        known = ", ".join(each.session for each in matching)
        raise ConfigError(
            f"--session {word}: {len(matching)} sessions of {where}; name one: {known}"
        )
    return matching[0]


class Facts(Protocol):
    """What a log shows of its sessions."""

    def session_events(self) -> Iterable[SessionEvent]:
        """Return the events of sessions, in any order."""

    def newest(self) -> dict[str, tuple[int, int]]:
        """Return epoch and number of the newest message by stream."""

    def configured(self) -> dict[Epoch, Set[str]]:
        """Return the codes of configurations, by epoch of those that the log has."""

    def codes_of(self, sessions: Sequence[Sequence[Span]]) -> list[set[str]]:
        """Return the codes that faces have in each of the sessions, by where it lies."""

    def epochs_of(self, spans: Sequence[Span], codes: Set[str]) -> dict[str, set[Epoch]]:
        """Return by code the epochs of messages that lie in ``spans`` or name the code."""


def make_plan(facts: Facts, word: str, where: str, report: Callable[[str], None]) -> Plan:
    """Return the plan for the session with the name or id ``word``.

    Args:
        facts: of the log.
        word: name or id.
        where: the log, for the error message.
        report: takes lines, such as that the log lacks the session's end.

    Raises:
        ConfigError: there is no such session, or several.
    """
    sessions = sessions_of(facts.session_events())
    session = _find_session(sessions, word, where)
    spans = _closed_spans(session, facts.newest(), report)
    others = [each.spans for each in sessions if each.session != session.session]
    own, *foreign = facts.codes_of([spans, *others])
    configured = facts.configured()
    codes = own.difference(*configured.values(), *foreign)
    for code, epochs in sorted(facts.epochs_of(spans, codes).items()):
        if unknown := sorted(epochs - configured.keys()):
            codes.remove(code)
            report(
                f"participant {code}: this log lacks {STARTED} of epoch {unknown[0][1]}, so the"
                " code may be one of its configuration: messages outside of the session that name"
                " it stay"
            )
    return Plan(session.session, session.name, session.note, spans, frozenset(codes))


class ItemFacts:
    """The facts of a log that is read as a whole.

    Args:
        read: returns all items of the log; called three times.
    """

    def __init__(self, read: Callable[[], Iterable[Item]]) -> None:
        self._read = read
        self._events: list[SessionEvent] = []
        self._newest: dict[str, tuple[int, int]] = {}
        self._configured: dict[Epoch, Set[str]] = {}
        for item in read():
            if item.kind in ("frame", "event"):
                at = item.epoch, item.seq
                self._newest[item.stream] = max(self._newest.get(item.stream, at), at)
            if item.event in EVENTS and (event := _session_event(item)):
                self._events.append(event)
            elif item.event == STARTED:
                self._configured[item.stream, item.epoch] = item.codes

    def session_events(self) -> list[SessionEvent]:
        """See ``Facts``."""
        return self._events

    def newest(self) -> dict[str, tuple[int, int]]:
        """See ``Facts``."""
        return self._newest

    def configured(self) -> dict[Epoch, Set[str]]:
        """See ``Facts``."""
        return self._configured

    def codes_of(self, sessions: Sequence[Sequence[Span]]) -> list[set[str]]:
        """See ``Facts``."""
        found: list[set[str]] = [set() for _ in sessions]
        for item in self._read():
            if item.kind != "frame":
                continue
            for codes, spans in zip(found, sessions, strict=True):
                if not item.codes <= codes and lies_within(spans, item):
                    codes.update(item.codes)
        return found

    def epochs_of(self, spans: Sequence[Span], codes: Set[str]) -> dict[str, set[Epoch]]:
        """See ``Facts``."""
        found: dict[str, set[Epoch]] = {code: set() for code in codes}
        for item in self._read() if codes else ():
            if item.kind in ("frame", "event"):
                named = codes if lies_within(spans, item) else codes & item.codes
                for code in named:
                    found[code].add((item.stream, item.epoch))
        return found


def _closed_spans(
    session: Session, newest: dict[str, tuple[int, int]], report: Callable[[str], None]
) -> tuple[Span, ...]:
    """Return the spans of a session; one without an end reaches to the newest message.

    Args:
        session: of the log.
        newest: epoch and number of the newest message by stream.
        report: takes a line if the log lacks its begin, and if it lacks its end.
    """
    if not session.has_begin:
        report(
            f"session {session.name} has no begin in this log: it is erased from the first message"
            " on, or from another session before it"
        )
    if not session.has_end:
        report(
            f"session {session.name} has no end in this log: it is erased up to the newest message,"
            " or to another session after it; if it goes on, end it first"
        )
    return tuple(
        replace(span, last=newest.get(span.stream, span.first)) if span.last == NO_END else span
        for span in session.spans
    )


def _session_event(item: Item) -> SessionEvent | None:
    session, name = item.detail.get("session"), item.detail.get("name")
    if not (isinstance(session, str) and isinstance(name, str)):
        return None
    note = str(item.detail.get("note") or "")
    return SessionEvent(item.stream, item.epoch, item.seq, item.event, session, name, note)


def encode_plan(plan: Plan) -> str:
    """Return ``plan`` as JSON."""
    record = {"schema": _SCHEMA, **asdict(plan), "codes": sorted(plan.codes)}
    return json.dumps(record, ensure_ascii=False)


def decode_plan(content: str | bytes) -> Plan:
    """Return the plan in JSON.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    record = json.loads(content)
    if record.pop("schema") != _SCHEMA:
        raise ValueError(f"expected schema {_SCHEMA}")
    spans = tuple(
        Span(each["stream"], _position(each["first"]), _position(each["last"]))
        for each in record.pop("spans")
    )
    return Plan(**{**record, "codes": frozenset(record["codes"])}, spans=spans)


def _position(pair: Sequence[int]) -> tuple[int, int]:
    epoch, seq = pair
    return int(epoch), int(seq)


class PlanStore(Protocol):
    """Keeps the plan until the erasure is done."""

    def load(self) -> Plan | None:
        """Return the plan of an erasure that was interrupted; None if there is none."""

    def store(self, plan: Plan) -> None:
        """Keep ``plan``; on return it would survive a power cut."""

    def delete(self) -> None:
        """Delete the plan of an erasure that is done."""


def run_plan(
    store: PlanStore,
    facts: Callable[[], Facts],
    carry_out: Callable[[Plan], Erased],
    *,
    word: str,
    where: str,
    report: Callable[[str], None],
) -> Erased:
    """Erase a session, after what an interrupted erasure has left.

    Args:
        store: of the plan.
        facts: returns those of the log.
        carry_out: erases what a plan says; where it was done in part, the rest.
        word: name or id of the session.
        where: the log, for error messages.
        report: takes lines on what is done.

    Raises:
        ConfigError: there is no such session, or several.
        LogFileError: the log cannot be changed.
    """
    if (pending := store.load()) is not None:
        report(f"an erasure of session {pending.session} was interrupted; it is completed")
        erased = carry_out(pending)
        store.delete()
        if word in (pending.session, pending.name):
            return erased
    plan = make_plan(facts(), word, where, report)
    store.store(plan)
    erased = carry_out(plan)
    store.delete()
    return erased


class PlanFile:
    """Keeps the plan in a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Plan | None:
        """Return the plan of an erasure that was interrupted; None if there is none.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            return decode_plan(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error}); expected the plan of an erasure that was"
                " interrupted: delete it to begin anew"
            ) from error

    def store(self, plan: Plan) -> None:
        """Keep ``plan``; on return it would survive a power cut.

        Raises:
            LogFileError: that is not possible.
        """
        try:
            replace_file(self.path, encode_plan(plan).encode())
        except OSError as error:
            raise log_error(self.path, error) from error

    def delete(self) -> None:
        """Delete the plan of an erasure that is done.

        Raises:
            LogFileError: that is not possible.
        """
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise log_error(self.path, error) from error
