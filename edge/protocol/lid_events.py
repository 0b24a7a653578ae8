"""Events of the eyes: blinks, and eyes that stay closed. They need the face mesh."""

from typing import ClassVar, Literal

from pydantic import Field

from edge.protocol.detail import Detail


class LidEvent(Detail):
    """An event of one face's eyes.

    ``participant``: the code of the face; null if it has none. ``seat``: on which it is; null
    without seats.
    """

    track: int = Field(ge=1)
    participant: str | None = None
    seat: str | None = None


class Blink(LidEvent):
    """Both eyes closed and opened again within half a second.

    ``duration_ms``: how long they were closed; as exact as the distance of two measurements.
    ``sensor_ns``: of the first frame in which they were closed.
    """

    event: ClassVar[str] = "blink"
    duration_ms: int = Field(ge=0)
    sensor_ns: int


class EyesClosed(LidEvent):
    """Both eyes have been closed for ``mesh.eyes_closed_s``.

    ``closed_s``: for how long until now. ``sensor_ns``: of the first frame in which they were
    closed. An event ``eyes_opened`` or ``eyes_lost`` follows.
    """

    event: ClassVar[str] = "eyes_closed"
    closed_s: float = Field(ge=0)
    sensor_ns: int


class EyesOpened(LidEvent):
    """Eyes that an event ``eyes_closed`` reported are open again.

    ``closed_s``: how long they were closed. ``sensor_ns``: of the first frame in which they were
    open.
    """

    event: ClassVar[str] = "eyes_opened"
    closed_s: float = Field(ge=0)
    sensor_ns: int


class EyesLost(LidEvent):
    """Nobody knows whether eyes that an event ``eyes_closed`` reported are still closed.

    ``reason``: ``not_measured`` (for more than 1.5 s), ``track_ended``, ``worker_replaced``.
    ``closed_s``: how long they were closed until the last measurement, whose frame ``sensor_ns``
    names; both are null where the worker was replaced.
    """

    event: ClassVar[str] = "eyes_lost"
    reason: Literal["not_measured", "track_ended", "worker_replaced"]
    closed_s: float | None = Field(ge=0)
    sensor_ns: int | None
