"""The form in which codes, baselines and sessions are kept over restarts."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from edge.codes import Code, SeatName, SessionName
from edge.participants.baselines import Baseline
from edge.protocol.messages import Point
from edge.vocabulary import AlarmRule

Signed = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]


class Kept(BaseModel):
    """A part of the file: strict, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class KeptBaseline(Kept):
    """A baseline: two means, how they were learnt, and what speaks against them."""

    read_s: Annotated[float, Field(ge=0)]
    readings: Count
    valence: Signed
    arousal: Signed
    reason: str = ""

    @classmethod
    def of(cls, baseline: Baseline | None) -> Self | None:
        """Return ``baseline`` in this form."""
        if baseline is None:
            return None
        return cls(
            read_s=baseline.read_s,
            readings=baseline.readings,
            valence=baseline.point.valence,
            arousal=baseline.point.arousal,
            reason=baseline.reason,
        )

    def value(self) -> Baseline:
        """Return the baseline."""
        point = Point(valence=self.valence, arousal=self.arousal)
        return Baseline(self.read_s, self.readings, point, self.reason)


class KeptParticipant(Kept):
    """A participant, when last in view (null: never), and whether a baseline was being learnt."""

    participant: Code
    last_unix_ns: int | None = None
    is_learning: bool = False
    baseline: KeptBaseline | None = None


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
    participants: list[Code] = []


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
    participants: list[KeptParticipant] = []
    seats: dict[SeatName, Code | None] = {}
    sessions: list[KeptSession] = []
    alarms: list[KeptAlarm] = []
