"""Handlers of requests: what the daemon does for each, and the fields of the reply.

Whatever changes the meaning of later messages is also sent as an event, numbered and stamped like
every message: so a log of the messages alone shows which track had which code, and from when.
"""

import functools
import json
from typing import Any

from edge.errors import RequestRefused
from edge.hub.participants import Baseline, Participants
from edge.hub.stream import MessageStream
from edge.protocol.events import (
    BaselineInvalid,
    BaselineReady,
    BaselineStarted,
    Detail,
    Mark,
    ParticipantAssigned,
    ParticipantReleased,
)
from edge.protocol.messages import json_schema
from edge.protocol.requests import (
    AnyRequest,
    AssignRequest,
    BaselineRequest,
    FetchRequest,
    MarkRequest,
    ReleaseRequest,
    SchemaRequest,
    StatusRequest,
    TimeRequest,
)


class RequestHandlers:
    """Handles requests; sends events to ``out`` and changes ``participants``.

    Only for the hub's main loop.
    """

    def __init__(self, out: MessageStream, participants: Participants) -> None:
        self._out = out
        self._participants = participants

    def handle(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        """Handle a request; return the fields of the reply.

        Args:
            request: as decoded.
            received_ns: when it came, on the monotonic clock.

        Raises:
            RequestRefused: it cannot be done.
        """
        reply: dict[str, Any]
        match request:
            case MarkRequest() if not self._out.has_started:
                raise RequestRefused("nothing is recorded before somebody subscribes; mark it then")
            case MarkRequest(text=text):
                reply = self._record(Mark(text=text))
            case AssignRequest(track=track, participant=code):
                self._participants.assign(track, code)
                reply = self._record(ParticipantAssigned(track=track, participant=code))
            case ReleaseRequest(participant=code):
                self._participants.release(code)
                reply = self._record(ParticipantReleased(participant=code))
            case BaselineRequest(action="start", participant=code):
                self._participants.start_baseline(code)
                reply = self._record(BaselineStarted(participant=code))
            case BaselineRequest(participant=code):
                reply = self._record_baseline(code, self._participants.stop_baseline(code))
            case TimeRequest():
                reply = self._clocks(received_ns)
            case StatusRequest():
                status = self._out.last_status
                reply = {
                    "status": status and status.model_dump(mode="json", by_alias=True),
                    "participants": self._participant_list(),
                }
            case SchemaRequest():
                reply = {"schema": _schema()}
            case FetchRequest():
                raise RequestRefused("fetch is not answered here")
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

        The epoch has started by then: before it nobody is in view, and marks are refused.
        """
        message = self._out.event(detail)
        assert message is not None
        return {**message.detail, "seq": message.seq, "unix_ns": message.time.unix_ns}

    def _participant_list(self) -> list[dict[str, Any]]:
        now = self._out.now()
        participants = self._participants.as_list()
        for each in participants:
            each["since_unix_ns"] = now.unix_ns - (now.monotonic_ns - each.pop("since_ns"))
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
