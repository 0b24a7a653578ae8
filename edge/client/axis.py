"""One time axis for the frames and events of an epoch, in seconds.

A camera's axis is the monotonic clock, from the first message received of the epoch: an event lies
where it happened between the frames. A file's axis is the time within the file; an event has the
time of the frame before it, since a file may be read faster than it plays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from edge.config.sources import FileSource
from edge.protocol.events import EpochStarted
from edge.protocol.messages import EventMessage, FrameMessage, Message

_STREAMS_MAX: Final = 256
_FILE_KINDS: Final = frozenset(
    kind
    for source in get_args(FileSource)
    for kind in get_args(source.model_fields["kind"].annotation)
)


@dataclass(slots=True)
class Origin:
    """Where the axis of an epoch begins.

    Attributes:
        stream: UUID of the stream.
        epoch: number of the daemon's start within the stream.
        start_ns: monotonic time of second 0; None: not known yet, or a file.
        media_ns: time within the file of the newest frame; None: a camera, or not known yet.
    """

    stream: str
    epoch: int
    start_ns: int | None = None
    media_ns: int | None = None


class TimeAxis:
    """Places messages on the axis of their epoch. Not thread-safe.

    It remembers the newest epoch of the 256 streams placed last.

    Args:
        origins: of the epochs that a log already holds, so that it goes on along the same axis.
    """

    def __init__(self, origins: Iterable[Origin] = ()) -> None:
        self._origins: dict[str, Origin] = {}
        for origin in origins:
            self._add(origin)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The axes of the epochs placed last, of each stream the newest."""
        return tuple(self._origins.values())

    def place(self, message: Message) -> float:
        """Return the seconds from the start of the epoch's axis to ``message``."""
        origin = self._origins.get(message.stream)
        if origin is None or origin.epoch != message.epoch:
            origin = self._add(Origin(message.stream, message.epoch))
        if isinstance(message, FrameMessage):
            if message.time.clock == "media":
                origin.media_ns = message.time.sensor_ns
                return origin.media_ns / 1e9
            # the boot time is ahead of the monotonic clock on a board that was suspended
            now_ns = min(message.time.sensor_ns, message.time.published_ns)
        else:
            if isinstance(message, EventMessage) and is_file_start(message.event, message.detail):
                origin.media_ns = 0
            if message.time.media_ns is not None:  # also where the frame before it is missing
                origin.media_ns = message.time.media_ns
            if origin.media_ns is not None:
                return origin.media_ns / 1e9
            now_ns = message.time.monotonic_ns
        if origin.start_ns is None:
            origin.start_ns = now_ns
        return (now_ns - origin.start_ns) / 1e9

    def _add(self, origin: Origin) -> Origin:
        self._origins.pop(origin.stream, None)  # keeps the dict in the order of the additions
        self._origins[origin.stream] = origin
        if len(self._origins) > _STREAMS_MAX:
            del self._origins[next(iter(self._origins))]
        return origin


def is_file_start(event: str, detail: Mapping[str, Any]) -> bool:
    """Return whether an event is the start of an epoch whose source is a file."""
    return event == EpochStarted.event and detail.get("source") in _FILE_KINDS
