"""Handlers of requests: what the daemon does for each, and the fields of the reply.

Whatever changes the meaning of later messages is also sent as an event, numbered and stamped like
every message: so a log of the messages alone shows which track had which code, and from when.
"""

import functools
import json
from typing import Any

from edge.errors import RequestRefused
from edge.hub.erasure import SessionEraser
from edge.hub.journal import Journal
from edge.hub.kept_models import KeptPosition
from edge.hub.kept_state import StateKeeper
from edge.hub.preview import Preview
from edge.hub.state_file import SAVE_WAIT_S
from edge.hub.stream import MessageStream
from edge.participants.baselines import Baseline
from edge.protocol.events import Detail, Mark
from edge.protocol.json_schema import json_schema
from edge.protocol.participant_events import (
    BaselineInvalid,
    BaselineReady,
    BaselineStarted,
    ParticipantAssigned,
    ParticipantReleased,
    SeatAssigned,
    SessionBegan,
    SessionEnded,
)
from edge.protocol.requests import (
    AnyRequest,
    AssignRequest,
    BaselineRequest,
    BeginSessionRequest,
    EndSessionRequest,
    EraseRequest,
    FetchRequest,
    ListSessionsRequest,
    MarkRequest,
    PreviewRequest,
    ReleaseRequest,
    SchemaRequest,
    StatusRequest,
    TimeRequest,
)


class RequestHandlers:
    """Handles requests; sends events to ``out`` and changes ``participants``.

    Only for the hub's main loop.
    """

    def __init__(
        self, out: MessageStream, kept: StateKeeper, journal: Journal, preview: Preview
    ) -> None:
        self._out = out
        self._eraser = SessionEraser(journal, kept, out.event)
        self._kept = kept
        self._preview = preview
        self._participants = kept.participants
        self._sessions = kept.sessions

    def handle(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        """Handle a request; return the fields of the reply.

        Args:
            request: as decoded.
            received_ns: when it came, on the monotonic clock.

        Raises:
            RequestRefused: it cannot be done.
        """
        reply = self._handle(request, received_ns)
        self._kept.save_changes(wait_s=SAVE_WAIT_S)
        return reply

    def go_on(self) -> None:
        """Go on with what takes longer than a request; call it at each turn of the loop."""
        self._eraser.go_on()

    def _handle(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        match request:
            case TimeRequest():
                return self._clocks(received_ns)
            case StatusRequest():
                return self._status()
            case SchemaRequest():
                return {"schema": _schema()}
            case ListSessionsRequest():
                return {"sessions": self._sessions.as_list()}
            case FetchRequest():
                raise RequestRefused("fetch is not answered here")
            case EraseRequest(session=word):
                return self._eraser.request(word)
            case _ if not self._out.has_started:
                raise RequestRefused("nothing is recorded before somebody subscribes; do it then")
            case _:
                return self._change(request)

    def _change(self, request: AnyRequest) -> dict[str, Any]:
        """Handle a request that changes the meaning of later messages."""
        reply: dict[str, Any]
        match request:
            case PreviewRequest(action=action):
                reply = self._preview.request(action)
            case MarkRequest(text=text):
                reply = self._record(Mark(text=text))
            case AssignRequest(seat=str(seat), participant=code):
                self._participants.assign_seat(seat, code)
                reply = self._record(SeatAssigned(seat=seat, participant=code))
            case AssignRequest(track=int(track), participant=code):
                self._participants.assign(track, code)
                reply = self._record(ParticipantAssigned(track=track, participant=code))
                self._out.send_participant_events()
            case ReleaseRequest(participant=code):
                self._participants.release(code)
                reply = self._record(ParticipantReleased(participant=code))
            case BaselineRequest(action="start", participant=code):
                self._participants.start_baseline(code)
                reply = self._record(BaselineStarted(participant=code))
            case BaselineRequest(participant=code):
                reply = self._record_baseline(code, self._participants.stop_baseline(code))
            case BeginSessionRequest(name=name, note=note):
                reply = self._begin_session(name, note)
            case EndSessionRequest():
                reply = self._end_session()
            case _:
                raise AssertionError(request)  # handled by the caller
        return reply

    def _begin_session(self, name: str, note: str) -> dict[str, Any]:
        session = self._sessions.require_new(name)
        reply, first = self._record_at(SessionBegan(session=session, name=name, note=note))
        self._sessions.begin(session, name, note, first, reply["unix_ns"])
        return reply

    def _end_session(self) -> dict[str, Any]:
        ended = self._sessions.require_running()
        reply, last = self._record_at(
            SessionEnded(
                session=ended.session,
                name=ended.name,
                frames=ended.frames,
                restarts=ended.restarts,
                participants=ended.participants,
                seats=self._participants.end_session(),
            )
        )
        self._sessions.end(last, reply["unix_ns"])
        for seat, code in self._participants.seats.codes().items():
            if seat in reply["seats"]:  # the code of the configuration applies again
                self._record(SeatAssigned(seat=seat, participant=code))
        return reply

    def _record_baseline(self, code: str, baseline: Baseline) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "participant": code,
            "read_s": baseline.read_s,
            "readings": baseline.readings,
            **baseline.point.model_dump(),
        }
        if not baseline.reason:
            return {**self._record(BaselineReady(**detail)), "baseline": "ready"}
        invalid = BaselineInvalid(**detail, reason=baseline.reason)
        return {**self._record(invalid), "baseline": "invalid"}

    def _record(self, detail: Detail) -> dict[str, Any]:
        """Send the event; return its detail, number and time.

        The epoch has started by then: before it nobody is in view, and the others are refused.
        """
        return self._record_at(detail)[0]

    def _record_at(self, detail: Detail) -> tuple[dict[str, Any], KeptPosition]:
        message = self._out.event(detail)
        assert message is not None
        reply = {**message.detail, "seq": message.seq, "unix_ns": message.time.unix_ns}
        return reply, KeptPosition(epoch=message.epoch, seq=message.seq)

    def _status(self) -> dict[str, Any]:
        status, seats = self._out.last_status, self._participants.seats
        return {
            "status": status and status.model_dump(mode="json", by_alias=True),
            "participants": self._participant_list(),
            "seats": dict.fromkeys(seats.names) | seats.codes(),
        }

    def _participant_list(self) -> list[dict[str, Any]]:
        now = self._out.now()
        participants = self._participants.as_list()
        for each in participants:
            since_ns = each.pop("since_ns")
            each["since_unix_ns"] = since_ns and now.unix_ns - (now.monotonic_ns - since_ns)
        return participants

    def _clocks(self, received_ns: int) -> dict[str, Any]:
        now = self._out.now()
        elapsed_ns = now.monotonic_ns - received_ns
        return {
            "received": {"monotonic_ns": received_ns, "unix_ns": now.unix_ns - elapsed_ns},
            "sent": {"monotonic_ns": now.monotonic_ns, "unix_ns": now.unix_ns},
            "synchronized": now.synchronized,
            "max_error_us": now.max_error_us,
        }


@functools.cache
def _schema() -> Any:
    return json.loads(json_schema())
