"""Events of alarms. A text never has an address, a path or a name: it may be sent elsewhere."""

from typing import ClassVar

from pydantic import Field

from edge.protocol.detail import Detail
from edge.vocabulary import AlarmRule


class AlarmRaised(Detail):
    """Something that ``[alarms]`` watches has been wrong for too long.

    ``subject``: a participant's code, ``seat NAME`` or ``track NUMBER``; empty: the device.
    ``participant``: the code, if it is one. ``since_unix_ns``: since when it has been wrong.
    """

    event: ClassVar[str] = "alarm_raised"
    rule: AlarmRule
    subject: str
    participant: str | None = None
    text: str
    since_unix_ns: int


class AlarmCleared(Detail):
    """The cause of an alarm is gone; ``lasted_s``: from its begin until now.

    The other fields are those of ``AlarmRaised``; the text is the last one.
    """

    event: ClassVar[str] = "alarm_cleared"
    rule: AlarmRule
    subject: str
    participant: str | None = None
    text: str
    since_unix_ns: int
    lasted_s: float = Field(ge=0)
