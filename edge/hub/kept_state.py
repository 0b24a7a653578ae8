"""Keeps codes, baselines and sessions in a file of ``journal.path``, over restarts of the daemon.

A file of its own, not the events of the journal: those are trimmed after days, and a baseline is
for ever. Without a folder everything is in memory alone, as are the messages.
"""

import logging
from collections.abc import Callable
from typing import Final

from pydantic import ValidationError

from edge import clock
from edge.config import Config
from edge.hub.alarms import Alarms
from edge.hub.identity import StreamIdentity
from edge.hub.kept_models import KeptPosition, KeptSession, KeptState
from edge.hub.sessions import Sessions
from edge.hub.state_file import StateFile
from edge.participants.participants import Participants
from edge.protocol.detail import Detail
from edge.protocol.participant_events import (
    BaselineInvalid,
    ParticipantsLost,
    ParticipantsRestored,
    RestoredParticipant,
    SeatAssigned,
    SessionResumed,
)
from edge.validation import first_error

log = logging.getLogger("affect_edge")

NAME: Final = "participants.json"
SESSION_SAVE_S: Final = 60.0
"""A running session's count of frames is kept this often: each time costs some pages of a card."""

VISITS_SAVE_S: Final = 10.0
"""When participants were last in view is kept this often: a face that comes and goes must not wear
the card out."""

_RESTARTED: Final = "the daemon was restarted while it was being learnt"


class StateKeeper:
    """Participants and sessions, and the file that keeps them. Only for the hub's main loop.

    Args:
        config: for the folder, the limits of baselines and the seats.
        identity: of this start. Sessions of another stream cannot be erased and are forgotten,
            except a running one, which goes on.

    Attributes:
        folder: ``journal.path``; None if nothing is kept.
        participants: with baselines and the codes of seats.
        sessions: the running one and the earlier ones.
        alarms: raised and not cleared.
    """

    def __init__(self, config: Config, identity: StreamIdentity) -> None:
        self.folder = folder = config.journal.state_dir
        self._file = StateFile(folder / NAME) if folder else None
        self._identity = identity
        self.participants = Participants(
            config.affect, vanish_s=config.tracking.vanish_s, zones=config.zones
        )
        self.sessions = Sessions()
        alarms = config.alarms
        if not config.mesh.enabled:  # nobody measures eyes
            alarms = alarms.model_copy(update={"eyes_closed_s": 0.0})
        self.alarms = Alarms(alarms, self.participants)
        self._saved_changes = self._saved_visits = -1
        self._saved_ns = 0

    def restore(self, emit: Callable[[Detail], object]) -> None:
        """Continue where the last daemon stopped; call ``emit`` for what the record should show."""
        state = self._read(emit)
        if state is not None:
            self._restore_participants(state, emit)
            self._restore_sessions(state, emit)
            self.alarms.restore(state.alarms)
            for detail in self.alarms.take_events():
                emit(detail)
        for seat, code in self.participants.seats.codes().items():
            emit(SeatAssigned(seat=seat, participant=code))
        self.save_changes()

    def save_changes(self, *, wait_s: float = 0.0) -> None:
        """Keep what has changed since the last call.

        Args:
            wait_s: wait so long for the storage.
        """
        if self._file is None:
            return
        changes = self.participants.changes + self.sessions.changes + self.alarms.changes
        now_ns = clock.monotonic_ns()
        is_counting = self.sessions.current is not None
        has_visits = self.participants.visits != self._saved_visits
        every_s = VISITS_SAVE_S if has_visits else SESSION_SAVE_S
        is_due = (has_visits or is_counting) and now_ns - self._saved_ns > every_s * 1e9
        if changes == self._saved_changes and not is_due:
            return
        self._saved_changes, self._saved_visits = changes, self.participants.visits
        self._saved_ns = now_ns
        self._file.save(self._content(), wait_s=wait_s)

    def own_codes(self, session: KeptSession) -> list[str]:
        """Return the codes of a session that neither another session nor the configuration has."""
        configured = self.participants.seats.configured.values()
        return [code for code in self.sessions.own_codes(session) if code not in configured]

    def forget(self, code: str) -> None:
        """Forget a participant, so that no message has the code from now on."""
        self.participants.forget(code)
        self.alarms.forget(code)

    def close(self) -> None:
        """Keep the newest state, and end."""
        if self._file is not None:
            self._file.save(self._content(), wait_s=0.0)
            self._file.close()

    def _content(self) -> bytes:
        state = KeptState(
            stream=self._identity.stream,
            participants=self.participants.keep(),
            seats=self.participants.seats.assigned,
            sessions=self.sessions.keep(),
            alarms=self.alarms.keep(),
        )
        # an older daemon, which refuses unknown fields, can read the file without alarms
        unused = None if state.alarms else {"alarms"}
        return state.model_dump_json(indent=1, exclude=unused).encode()

    def _read(self, emit: Callable[[Detail], object]) -> KeptState | None:
        if self._file is None:
            return None
        try:
            content = self._file.read()
            return None if content is None else KeptState.model_validate_json(content)
        except OSError as error:
            reason = error.strerror or str(error)
        except ValidationError as error:
            reason = str(first_error(error))
        reason = "".join(each if each.isprintable() else "?" for each in reason)[:200]
        set_aside = self._file.set_aside()
        log.error(
            "%s: %s; codes, baselines and sessions are lost; the file is now %s",
            NAME,
            reason,
            set_aside,
        )
        emit(ParticipantsLost(set_aside=set_aside, reason=reason))
        return None

    def _restore_participants(self, state: KeptState, emit: Callable[[Detail], object]) -> None:
        self.participants.restore(state.participants)
        self.participants.seats.restore(state.seats)
        if not state.participants:
            return
        known = []
        for each in state.participants:
            baseline = each.baseline
            is_ready = baseline is not None and not baseline.reason
            known.append(
                RestoredParticipant(
                    participant=each.participant,
                    baseline="none" if baseline is None else "ready" if is_ready else "invalid",
                    valence=baseline.valence if baseline and is_ready else None,
                    arousal=baseline.arousal if baseline and is_ready else None,
                )
            )
        emit(ParticipantsRestored(participants=known))
        for each in state.participants:
            if each.is_learning:
                lost = self.participants.lose_baseline(each.participant, _RESTARTED)
                emit(
                    BaselineInvalid(
                        participant=each.participant,
                        read_s=lost.read_s,
                        readings=lost.readings,
                        reason=lost.reason,
                        **lost.point.model_dump(),
                    )
                )

    def _restore_sessions(self, state: KeptState, emit: Callable[[Detail], object]) -> None:
        kept: list[KeptSession] = state.sessions
        if state.stream != self._identity.stream:
            here = {"first": KeptPosition(epoch=self._identity.epoch, seq=0)}
            kept = [each.model_copy(update=here) for each in kept if each.last is None]
        resumed = self.sessions.restore(kept)
        if resumed is not None:
            log.info("the session from before the restart goes on")
            emit(
                SessionResumed(
                    session=resumed.session, name=resumed.name, restarts=resumed.restarts
                )
            )
