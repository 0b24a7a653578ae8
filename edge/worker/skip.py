"""Leaves frames out where the hub limits the rate, such as on a board that is too hot."""

from edge.vision.values import Frame


class Skipper:
    """Decides which frames are processed. ``keeps`` is for the capture thread.

    Args:
        rate_min_hz: at least so many frames per second are processed, if the source delivers them.

    Attributes:
        divisor: one frame of so many is processed; any thread may set it.
        skipped: number of frames that were left out.
    """

    def __init__(self, rate_min_hz: float) -> None:
        self._longest_ns = 1e9 / rate_min_hz
        self._kept: tuple[int, int] | None = None  # index and time of the newest one
        self._before_ns: int | None = None  # time of the frame before
        self.divisor = 1
        self.skipped = 0

    def keeps(self, frame: Frame) -> bool:
        """Return whether to process this frame; call it for each, in order."""
        before_ns, self._before_ns = self._before_ns, frame.sensor_ns
        if self.divisor > 1 and self._kept is not None and before_ns is not None:
            index, kept_ns = self._kept
            period_ns = frame.sensor_ns - before_ns
            # the next frame would come too late for the least rate
            is_last_chance = frame.sensor_ns + period_ns - kept_ns > self._longest_ns
            if frame.index - index < self.divisor and not is_last_chance:
                self.skipped += 1
                return False
        self._kept = frame.index, frame.sensor_ns
        return True
