"""What the daemon does when it is asked something. For the hub's one loop.

Whatever changes what later messages mean is an event, numbered and stamped like everything else:
whoever reads the record alone can tell who was who, and from what on.
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
    MarkRequest,
    ReleaseRequest,
    SchemaRequest,
    StatusRequest,
    TimeRequest,
)


class RequestHandlers:
    """Meets requests with what is sent (``out``) and who is in view (``people``)."""

    def __init__(self, out: MessageStream, people: Participants) -> None:
        self._out = out
        self._people = people

    def answer(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        """Do what is asked; return the fields of the reply.

        Args:
            request: what is asked.
            received_ns: when it came, on the monotonic clock.

        Raises:
            RequestRefused: it cannot be done.
        """
        said: dict[str, Any]
        match request:
            case MarkRequest() if not self._out.is_announced:
                raise RequestRefused("nothing is recorded before somebody subscribes; mark it then")
            case MarkRequest(text=text):
                said = self._recorded(Mark(text=text))
            case AssignRequest(track=track, participant=code):
                self._people.assign(track, code)
                said = self._recorded(ParticipantAssigned(track=track, participant=code))
            case ReleaseRequest(participant=code):
                self._people.release(code)
                said = self._recorded(ParticipantReleased(participant=code))
            case BaselineRequest(action="start", participant=code):
                self._people.start(code)
                said = self._recorded(BaselineStarted(participant=code))
            case BaselineRequest(participant=code):
                said = self._rested(code, self._people.stop(code))
            case TimeRequest():
                said = self._clocks(received_ns)
            case StatusRequest():
                status = self._out.last_status
                said = {
                    "status": status and status.model_dump(mode="json", by_alias=True),
                    "participants": self._people.listed(),
                }
            case SchemaRequest():
                said = {"schema": _schema()}
        return said

    def _rested(self, code: str, rest: Baseline) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "participant": code,
            "read_s": rest.read_s,
            "readings": rest.readings,
            **rest.point.model_dump(),
        }
        if not rest.reason:
            return {**self._recorded(BaselineReady(**detail)), "baseline": "ready"}
        invalid = BaselineInvalid(**detail, reason=rest.reason)
        return {**self._recorded(invalid), "baseline": "invalid"}

    def _recorded(self, detail: Detail) -> dict[str, Any]:
        """Send the event; return its detail, number and time.

        Nobody is in view before the epoch is announced, and marks are refused until then.
        """
        message = self._out.event(detail)
        assert message is not None
        return {**message.detail, "seq": message.seq, "unix_ns": message.time.unix_ns}

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
