"""Events of participants, of their baselines, and of sessions."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.protocol.detail import Detail


class ParticipantAssigned(Detail):
    """The face on ``track`` belongs to the participant with this code from now on."""

    event: ClassVar[str] = "participant_assigned"
    track: int = Field(ge=0)
    participant: str


class SeatAssigned(Detail):
    """Whoever sits on ``seat`` is the participant with this code from now on."""

    event: ClassVar[str] = "seat_assigned"
    seat: str
    participant: str


class ParticipantTrackEnded(Detail):
    """No face has the participant's code any more: its track has ended, or it left its seat.

    Without seats, assign the code again when the face is back. ``seat``: of the code; null without
    seats.
    """

    event: ClassVar[str] = "participant_track_ended"
    track: int = Field(ge=0)
    participant: str
    seat: str | None = None


class ParticipantTrackReturned(Detail):
    """A face has the participant's code again, or for the first time.

    With seats, a face has come to the seat of the code. Without seats, only the operator can know
    who is back: the event follows an assignment to a new track.

    ``away_s``: seconds since the participant was last in view, by the wall clock where the daemon
    was restarted meanwhile; null for the first time. ``seat``: of the code; null without seats.
    """

    event: ClassVar[str] = "participant_track_returned"
    track: int = Field(ge=0)
    participant: str
    seat: str | None
    away_s: float | None


class _ParticipantDetail(Detail):
    """An event of one participant, named first."""

    participant: str


class ParticipantReleased(_ParticipantDetail):
    """The participant's code and baseline were deleted."""

    event: ClassVar[str] = "participant_released"


class BaselineStarted(_ParticipantDetail):
    """Learning of a participant's neutral baseline started."""

    event: ClassVar[str] = "baseline_started"


class BaselineReady(_ParticipantDetail):
    """Learning ended with a baseline: mean valence and arousal of the classified frames.

    ``readings``: classified frames. ``read_s``: classified time, seconds.
    """

    event: ClassVar[str] = "baseline_ready"
    read_s: float = Field(ge=0)
    readings: int = Field(ge=0)
    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)


class BaselineInvalid(BaselineReady):
    """Learning ended without a baseline; ``reason``: why, in one line."""

    event: ClassVar[str] = "baseline_invalid"
    reason: str


class RestoredParticipant(BaseModel):
    """A participant as known before the restart; ``baseline`` is null if none was learnt."""

    model_config = ConfigDict(frozen=True)

    participant: str
    baseline: Literal["none", "ready", "invalid"]
    valence: float | None = None
    arousal: float | None = None


class ParticipantsRestored(Detail):
    """The codes and baselines from before the restart are known again; none is on a track yet."""

    event: ClassVar[str] = "participants_restored"
    participants: list[RestoredParticipant]


class ParticipantsLost(Detail):
    """The file with codes, baselines and sessions was damaged, and was renamed to ``set_aside``."""

    event: ClassVar[str] = "participants_lost"
    set_aside: str
    reason: str


class _SessionDetail(Detail):
    """An event of one session: its random id, and the operator's name for it."""

    session: str
    name: str


class SessionBegan(_SessionDetail):
    """A session began; this event is its first message."""

    event: ClassVar[str] = "session_began"
    note: str = ""


class SessionResumed(_SessionDetail):
    """The daemon was restarted within a session, which goes on. ``restarts`` counts them."""

    event: ClassVar[str] = "session_resumed"
    restarts: int = Field(ge=1)


class SessionEnded(_SessionDetail):
    """A session ended; this event is its last message.

    ``frames``: published within it; of a daemon that was killed, up to a minute is not counted.
    ``participants``: codes that faces had. ``seats``: codes of seats that end with the session.
    """

    event: ClassVar[str] = "session_ended"
    frames: int = Field(ge=0)
    restarts: int = Field(ge=0)
    participants: list[str]
    seats: dict[str, str]


class SessionErased(Detail):
    """All messages of a session were erased from the journal; they are a gap from now on.

    ``session``: its random id, which nothing connects with a name any more.
    """

    event: ClassVar[str] = "session_erased"
    session: str
    messages: int = Field(ge=0)
