"""Times of messages on this machine's monotonic clock, from the sensor's clock.

- ``monotonic``: the sensor's time itself; of another machine less the measured offset.
- ``boottime``: the same, less the time for which the daemon's machine was suspended. Of another
  machine that follows from the wall time, and is off by what the wall clock was corrected since the
  last measurement.
- ``media`` (a file): its time within the file, from when the first picture was in memory. A file
  that is read faster or slower than it plays is placed anew whenever this is 2 s off.
"""

from typing import Final

from edge.clock import boottime_minus_monotonic_ns, monotonic_ns
from edge.errors import ConfigError
from edge.lsl.service_clock import ServiceClock
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage

_OFF_NS: Final = 2_000_000_000
_STRANGE_NS: Final = 10_000_000_000


class DeviceTimes:
    """Places the messages of one device. Not thread-safe.

    Args:
        device: its name.
        service: measures its clock; None: the daemon runs on this machine.

    Attributes:
        replaced: how often a file was placed anew.
    """

    def __init__(self, device: str, service: ServiceClock | None) -> None:
        self.replaced = 0
        self._device = device
        self._service = service
        self._media_ns: int | None = None  # monotonic time of the file's time 0
        self._is_checked = False

    def begin(self) -> None:
        """Begin a new run of the daemon."""
        self._media_ns, self._is_checked = None, False
        if self._service is not None:
            self._service.restart()

    def error_ns(self) -> int | None:
        """Return the bound of the error of the offset; 0 on the same machine, None: unknown yet."""
        if self._service is None:
            return 0
        offset = self._service.offset_ns()
        return None if offset is None else offset[1]

    def of_frame(self, message: FrameMessage) -> int | None:
        """Return when the picture was taken; None: not known yet.

        Raises:
            ConfigError: the daemon does not run on this machine, and has no service to ask.
        """
        time = message.time
        match time.clock:
            case "monotonic":
                taken_ns = time.sensor_ns
            case "boottime":
                taken_ns = self._of_boot_time(message)
            case "media":
                read_ns = time.published_ns - round(message.timing_ms.total * 1e6)
                if self._media_ns is not None:
                    off_ns = self._media_ns + time.sensor_ns - read_ns
                    if abs(off_ns) > _OFF_NS:
                        self._media_ns = None
                        self.replaced += 1
                if self._media_ns is None:
                    self._media_ns = read_ns - time.sensor_ns
                taken_ns = self._media_ns + time.sensor_ns
        return self._local(taken_ns, time.published_ns)

    def of_event(self, message: EventMessage | StatusMessage) -> int | None:
        """Return when it happened, or was sent; None: not known yet."""
        return self._local(message.time.monotonic_ns, message.time.monotonic_ns)

    def _of_boot_time(self, message: FrameMessage) -> int:
        """Return when a picture with boot time was taken, on its machine's monotonic clock."""
        if self._service is None:
            return message.time.sensor_ns - boottime_minus_monotonic_ns()
        # the wall time of the message was derived from the boot time right before it was sent
        return message.time.unix_ns - self._service.wall_minus_monotonic_ns

    def _local(self, there_ns: int, sent_ns: int) -> int | None:
        if self._service is None:
            self._check(sent_ns)
            return there_ns
        offset = self._service.offset_ns()
        return None if offset is None else there_ns - offset[0]

    def _check(self, sent_ns: int) -> None:
        """Check once that the daemon's clock is this machine's."""
        if self._is_checked:
            return
        self._is_checked = True
        off_ns = monotonic_ns() - sent_ns
        if abs(off_ns) > _STRANGE_NS:
            raise ConfigError(
                f"{self._device}: its clock is {abs(off_ns) / 1e9:.0f} s off this machine's, so it"
                " runs on another machine, as behind a tunnel; expected --service, to measure that"
            )
