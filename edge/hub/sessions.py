"""Sessions: named stretches of the record. One at a time; a restart of the daemon does not end it.

A session has a random id next to its name: what is left after it was erased gives the id alone.
Its first and last messages are its own two events, so that a log needs nothing else to find it.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

from edge.errors import RequestRefused
from edge.hub.kept_models import KeptPosition, KeptSession

SESSIONS_MAX: Final = 1000
"""Sessions kept; the oldest are forgotten, and can then be erased from a log only."""


class Sessions:
    """The running session and the earlier ones. Only for the hub's main loop.

    Attributes:
        current: the running session; None: none runs.
        earlier: the others, the oldest first.
        changes: counts what a restart should not lose.
    """

    def __init__(self) -> None:
        self.current: KeptSession | None = None
        self.earlier: list[KeptSession] = []
        self.changes = 0
        self._frames = 0  # of the running session, as are the codes of its faces
        self._codes: set[str] = set()

    def require_new(self, name: str) -> str:
        """Return a random id for a session of this name.

        Raises:
            RequestRefused: a session is running, or the name is taken.
        """
        if self.current is not None:
            raise RequestRefused(
                f"session {self.current.name} is running; end it first: affect-edge session end"
            )
        if any(each.name == name for each in self.earlier):
            raise RequestRefused(
                f"there was a session {name}; choose another name, or erase that session"
            )
        return secrets.token_hex(6)

    def begin(
        self, session: str, name: str, note: str, first: KeptPosition, unix_ns: int
    ) -> KeptSession:
        """Begin the session whose event ``session_began`` is ``first``."""
        self._frames, self._codes = 0, set()
        self.current = KeptSession(
            session=session, name=name, note=note, began_unix_ns=unix_ns, first=first
        )
        self.changes += 1
        return self.current

    def require_running(self) -> KeptSession:
        """Return the running session, with what has been counted so far.

        Raises:
            RequestRefused: none runs.
        """
        if self.current is None:
            raise RequestRefused("no session is running; begin one: affect-edge session begin NAME")
        return self._counted(self.current)

    def end(self, last: KeptPosition, unix_ns: int) -> None:
        """End the running session, whose event ``session_ended`` is ``last``."""
        ended = self.require_running().model_copy(update={"last": last, "ended_unix_ns": unix_ns})
        self.earlier = [*self.earlier, ended][-SESSIONS_MAX:]
        self.current = None
        self.changes += 1

    def note_frame(self, codes: Iterable[str | None]) -> None:
        """Count a frame of the running session, with the codes of its faces."""
        if self.current is not None:
            self._frames += 1
            self._codes.update(code for code in codes if code is not None)

    def find(self, word: str) -> KeptSession:
        """Return the ended session with this id or name.

        Raises:
            RequestRefused: there is none, or it is still running.
        """
        if self.current is not None and word in (self.current.session, self.current.name):
            raise RequestRefused(f"session {word} is running; end it first")
        for each in self.earlier:
            if word in (each.session, each.name):
                return each
        known = ", ".join(each.name for each in self.earlier[-8:]) or "none"
        raise RequestRefused(f"no session {word}; ended sessions: {known}")

    def own_codes(self, session: KeptSession) -> list[str]:
        """Return the codes of a session that no other session has."""
        others = [each for each in self.keep() if each.session != session.session]
        elsewhere = {code for each in others for code in each.participants}
        return [code for code in session.participants if code not in elsewhere]

    def forget(self, session: KeptSession) -> None:
        """Forget an ended session."""
        self.earlier = [each for each in self.earlier if each.session != session.session]
        self.changes += 1

    def keep(self) -> list[KeptSession]:
        """Return all sessions, the running one last, for ``restore``."""
        return [*self.earlier, *([self._counted(self.current)] if self.current else [])]

    def restore(self, kept: Sequence[KeptSession]) -> KeptSession | None:
        """Continue with sessions from before a restart; return the one that goes on, if any."""
        self.earlier = [each for each in kept if each.last is not None]
        running = next((each for each in kept if each.last is None), None)
        if running is not None:
            running = running.model_copy(update={"restarts": running.restarts + 1})
            self._frames, self._codes = running.frames, set(running.participants)
            self.changes += 1
        self.current = running
        return running

    def as_list(self) -> list[dict[str, Any]]:
        """Return every session, the oldest first, without the positions of its messages."""
        return [each.model_dump(exclude={"first", "last"}) for each in self.keep()]

    def _counted(self, session: KeptSession) -> KeptSession:
        return session.model_copy(
            update={"frames": self._frames, "participants": sorted(self._codes)}
        )
