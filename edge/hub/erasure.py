"""Erasing a session from the journal while the daemon runs.

The order: the participants that only this session has are forgotten, so that no new message has
their codes. A thread looks for messages outside of the session that name such a code, erases those
and the session's, and looks again. Then the event ``session_erased`` is sent, and the session
forgotten: whatever fails before, the same request tries it again.

The thread reads the whole journal twice, which may take minutes; the loop goes on.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.errors import RequestRefused
from edge.hub.journal import Journal
from edge.hub.journal.batch import BEFORE_ALL, Position
from edge.hub.journal.erase import Range, find_samples
from edge.hub.kept_models import KeptPosition, KeptSession
from edge.hub.kept_state import StateKeeper
from edge.protocol.detail import Detail
from edge.protocol.naming import codes_of, session_texts
from edge.protocol.participant_events import SessionErased

log = logging.getLogger("affect_edge")

_RETRIES: Final = 20
"""Reads in a row without result, of half a second each, after which the storage has failed."""

_NEWEST: Final = (1 << 40) - 1
"""Above the number of every message of an epoch."""

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the journal holds of a session.

    Attributes:
        codes: those that no configuration has.
        positions: messages that name the session or one of ``codes``, in order.
        unused: of the texts that were given, those that no message has.
    """

    codes: list[str]
    positions: list[Position]
    unused: list[bytes]


class SessionEraser:
    """Erases one session at a time. Only for the hub's main loop; no method waits.

    Args:
        journal: holds the messages.
        kept: knows the sessions and the participants.
        emit: sends an event.
    """

    def __init__(
        self,
        journal: Journal,
        kept: StateKeeper,
        emit: Callable[[Detail], object],
    ) -> None:
        self._journal = journal
        self._kept = kept
        self._emit = emit
        self._running: tuple[KeptSession, threading.Thread, Result] | None = None
        self._last: tuple[KeptSession, Result] | None = None

    def request(self, word: str) -> Result:
        """Begin to erase an ended session, or return how far that is.

        Args:
            word: name or id of the session.

        Returns:
            ``state``: ``erasing``, or ``erased`` with ``messages``, ``outside`` (of these, outside
            of the session), ``participants`` (codes that are forgotten), ``looked_for`` (texts) and
            ``hits`` (0 is the proof).

        Raises:
            RequestRefused: there is no such session, another one is being erased, or it failed.
        """
        if self._running is not None:
            session = self._running[0]
            if word not in (session.name, session.session):
                raise RequestRefused(
                    "another session is being erased; try again afterwards", code="busy"
                )
            return {"state": "erasing"}
        if self._last is not None:
            session, result = self._last
            if word in (session.name, session.session):
                self._last = None
                if "error" in result:
                    raise RequestRefused(result["error"], code="failed")
                return {"state": "erased", **result}
        self._begin(self._kept.sessions.find(word))
        return {"state": "erasing"}

    def go_on(self) -> None:
        """Finish what the thread has done; call it at each turn of the loop."""
        if self._running is None or self._running[1].is_alive():
            return
        session, _, result = self._running
        self._running, self._last = None, (session, result)
        if "error" in result:
            return
        self._emit(SessionErased(session=session.session, messages=result["messages"]))
        if not result["hits"]:
            self._kept.sessions.forget(session)
        log.info("a session was erased: %d messages, %d hits", result["messages"], result["hits"])

    def _begin(self, session: KeptSession) -> None:
        codes = self._kept.own_codes(session)
        for code in codes:
            self._kept.forget(code)
        result: Result = {"session": session.session, "participants": codes}
        thread = threading.Thread(
            target=self._run, args=(session, codes, result), name="erase", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no memory, or too many threads
            raise RequestRefused(_refusal(error), code="failed") from error
        self._running = (session, thread, result)

    def _run(self, session: KeptSession, codes: Sequence[str], result: Result) -> None:
        assert session.last is not None
        whole = _position(session.first), _position(session.last)
        try:
            found = self._find(session, codes)
            outside = [at for at in found.positions if not whole[0] <= at <= whole[1]]
            messages = self._journal.erase([*_by_epoch(*whole), *_ranges(outside)])
            texts = session_texts(session.name, session.note, found.codes)
            remains = self._find(session, found.codes, [text.encode() for text in texts])
            files = find_samples(remains.unused, self._files())
        except Exception as error:
            is_mistake = not isinstance(error, OSError)
            result["error"] = _refusal(error)
            log.error("%s", result["error"], exc_info=is_mistake)
            return
        result |= {"messages": messages, "outside": len(outside), "looked_for": len(texts)}
        result["hits"] = len(remains.positions) + len(files)

    def _files(self) -> list[Path]:
        """Return the journal's files; the list of sessions is needed until the end."""
        return [*self._kept.folder.glob("journal.sqlite*")] if self._kept.folder else []

    def _find(
        self, session: KeptSession, codes: Sequence[str], texts: Sequence[bytes] = ()
    ) -> _Found:
        """Find the messages that name the session or a code that no configuration has.

        Raises:
            OSError: the journal cannot be read.
        """
        named: dict[str, list[Position]] = {code: [] for code in codes}
        of_session: list[Position] = []
        unused = set(texts)
        words = [
            json.dumps(word, ensure_ascii=False).encode() for word in (*codes, session.session)
        ]
        for position, line in self._messages():
            unused = {text for text in unused if text not in line}
            if not any(word in line for word in words):
                continue
            message = json.loads(line)
            matching = codes_of(message) & named.keys()
            if message.get("event") == "epoch_started":  # has the configuration, and is kept
                for code in matching:
                    del named[code]
                continue
            for code in matching:
                named[code].append(position)
            detail = message.get("detail", {})
            if detail.get("session") == session.session and "name" in detail:
                of_session.append(position)
        positions = {at for each in named.values() for at in each}
        return _Found(list(named), sorted(positions.union(of_session)), sorted(unused))

    def _messages(self) -> Iterator[tuple[Position, bytes]]:
        after, failures = BEFORE_ALL, 0
        while True:
            batch = self._journal.read(after, max_messages=4096, max_bytes=1 << 20)
            if batch.count:
                first = Position(batch.next.epoch, batch.next.seq - batch.count + 1)
                for number, line in enumerate(batch.lines.split(b"\n")):
                    yield Position(first.epoch, first.seq + number), line
            if batch.caught_up:
                return
            failures = failures + 1 if batch.next == after else 0
            if failures > _RETRIES:
                raise OSError("the journal cannot be read")
            after = batch.next


def _refusal(error: Exception) -> str:
    text = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return f"the session could not be erased: {' '.join(text.split())}; try again"


def _position(kept: KeptPosition) -> Position:
    return Position(kept.epoch, kept.seq)


def _by_epoch(first: Position, last: Position) -> list[Range]:
    """Return the ranges of all messages from ``first`` to ``last`` but the first of each epoch.

    That one is ``epoch_started``: it has the configuration, and nothing of a session.
    """
    return [
        (
            first if epoch == first.epoch and first.seq else Position(epoch, 1),
            last if epoch == last.epoch else Position(epoch, _NEWEST),
        )
        for epoch in range(first.epoch, last.epoch + 1)
    ]


def _ranges(positions: Sequence[Position]) -> list[Range]:
    """Return the ranges that hold exactly ``positions``, which are in order."""
    ranges: list[Range] = []
    for at in positions:
        if ranges and ranges[-1][1] == Position(at.epoch, at.seq - 1):
            ranges[-1] = (ranges[-1][0], at)
        else:
            ranges.append((at, at))
    return ranges
