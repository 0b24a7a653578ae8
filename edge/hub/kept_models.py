"""The form in which sessions, alarms and the whole state are kept over restarts."""

from typing import Annotated, Literal

from pydantic import Field

from edge.codes import Code, SeatName, SessionName
from edge.participants.kept_models import Count, Kept, KeptParticipant
from edge.vocabulary import AlarmRule


class KeptPosition(Kept):
    """A message of the stream."""

    epoch: Count
    seq: Count


class KeptSession(Kept):
    """A session: ``session`` is its random id; ``first`` and ``last`` are its own two events.

    ``participants``: codes that faces had in it. ``restarts``: of the daemon, within it.
    """

    session: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: SessionName
    note: str = ""
    began_unix_ns: int
    ended_unix_ns: int | None = None
    first: KeptPosition
    last: KeptPosition | None = None
    frames: Count = 0
    restarts: Count = 0
    participants: list[Code] = Field(default_factory=list)


class KeptAlarm(Kept):
    """A raised alarm; the fields are those of the event."""

    rule: AlarmRule
    subject: str
    participant: Code | None = None
    text: str
    since_unix_ns: int


class KeptState(Kept):
    """The whole file. ``stream``: to which the positions of the sessions belong."""

    version: Literal[1] = 1
    stream: str
    participants: list[KeptParticipant] = Field(default_factory=list)
    seats: dict[SeatName, Code | None] = Field(default_factory=dict)
    sessions: list[KeptSession] = Field(default_factory=list)
    alarms: list[KeptAlarm] = Field(default_factory=list)
