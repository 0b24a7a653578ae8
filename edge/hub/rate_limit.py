"""Reduces the frame rate of a board that is too hot or has too little voltage, in steps.

The firmware of a Pi lowers the clock at 80 degrees Celsius, and at 85 much more; every frame then
takes longer, and a low voltage can reset the board. Fewer frames are the smaller harm: they have
the usual delay, and those left out are counted.
"""

from collections.abc import Mapping
from typing import Final

from edge.vocabulary import RateReason

DIVISORS: Final = (1, 2, 4, 8)
"""One frame of so many is processed, by level."""

CHANGE_S: Final = 60.0
"""Shortest time between two changes of the level; a chip needs as long to cool down."""

HYSTERESIS_CELSIUS: Final = 5.0
"""So far below the limit a chip has cooled down."""


class RateLimit:
    """Follows temperature and voltage, and chooses the level. For the hub's one loop.

    The level rises by one while the board is too hot or has too little voltage, and falls by one
    after ``CHANGE_S`` without either: at most one change in ``CHANGE_S``. A value that the board
    does not report is neither good nor bad: it never raises the level.

    Args:
        hot_celsius: from this temperature on, the chip is too hot.

    Attributes:
        divisor: one frame of so many is to be processed; 1 to 8.
        reason: why it is above 1; None at 1.
    """

    def __init__(self, hot_celsius: float) -> None:
        self._hot_celsius = hot_celsius
        self._level = 0
        self._changed_ns: int | None = None
        self._calm_since_ns: int | None = None
        self.reason: RateReason | None = None

    @property
    def divisor(self) -> int:
        """One frame of so many is to be processed."""
        return DIVISORS[self._level]

    def update(
        self,
        now_ns: int,
        celsius: float | None,
        flags: Mapping[str, bool] | None,
        *,
        may_move: bool = True,
    ) -> bool:
        """Take in what the board reports now; return whether divisor or reason has changed.

        Args:
            now_ns: monotonic time; call it about once a second.
            celsius: temperature of the chip; None when unknown.
            flags: as ``Board.throttle_flags``; None when unknown.
            may_move: whether the level may change now.
        """
        is_hot = celsius is not None and celsius >= self._hot_celsius
        is_warm = celsius is not None and celsius > self._hot_celsius - HYSTERESIS_CELSIUS
        is_low = bool(flags and flags.get("under_voltage"))
        before = (self._level, self.reason)
        if is_hot or is_low:
            self._calm_since_ns = None
            if may_move:
                self._move(now_ns, +1)
            self.reason = "temperature" if is_hot else "under_voltage"
        elif is_warm and self.reason == "temperature":
            self._calm_since_ns = None  # the level stays
        else:
            if self._calm_since_ns is None:
                self._calm_since_ns = now_ns
            if may_move and now_ns - self._calm_since_ns >= CHANGE_S * 1e9:
                self._move(now_ns, -1)
        if self._level == 0:
            self.reason = None
        return (self._level, self.reason) != before

    def _move(self, now_ns: int, step: int) -> None:
        level = min(max(self._level + step, 0), len(DIVISORS) - 1)
        if level == self._level:
            return
        if self._changed_ns is None or now_ns - self._changed_ns >= CHANGE_S * 1e9:
            self._level, self._changed_ns = level, now_ns
