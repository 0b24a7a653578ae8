"""Events of the eyes: blinks, and eyes that stay closed. They need the face mesh."""

from typing import ClassVar

from pydantic import Field

from edge.protocol.detail import Detail


class Blink(Detail):
    """Both eyes closed and opened again within half a second.

    ``duration_ms``: how long they were closed; as exact as the distance of two measurements.
    ``sensor_ns``: of the first frame in which they were closed.
    """

    event: ClassVar[str] = "blink"
    track: int = Field(ge=1)
    duration_ms: int = Field(ge=0)
    sensor_ns: int


class EyesClosed(Detail):
    """Both eyes have been closed for ``mesh.eyes_closed_s``.

    ``closed_s``: for how long until now. ``sensor_ns``: of the first frame in which they were
    closed.
    """

    event: ClassVar[str] = "eyes_closed"
    track: int = Field(ge=1)
    closed_s: float = Field(ge=0)
    sensor_ns: int


class EyesOpened(Detail):
    """Eyes that an event ``eyes_closed`` reported are open again.

    ``closed_s``: how long they were closed. ``sensor_ns``: of the first frame in which they were
    open.
    """

    event: ClassVar[str] = "eyes_opened"
    track: int = Field(ge=1)
    closed_s: float = Field(ge=0)
    sensor_ns: int
