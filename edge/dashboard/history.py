"""Valence and arousal of one card over hours, in memory of constant size."""

import math
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

FINE_S: Final = 1
FINE_SIZE: Final = 900  # 15 minutes
COARSE_S: Final = 10
COARSE_SIZE: Final = 4320  # 12 hours
STEP_S: Final = 60.0
"""A live value that is further behind the newest one shows that the clock was set back."""


class HistoryPoint(NamedTuple):
    """Means over a period.

    Attributes:
        t_s: wall time of the period's beginning, seconds since 1970.
        valence: mean of the smoothed values, -1..1.
        arousal: mean of the smoothed values, -1..1.
    """

    t_s: int
    valence: float
    arousal: float


class Ring:
    """Means over periods of equal length; the newest ``size`` periods are kept.

    A period has a fixed place, so values may be added in any order of time. Not thread-safe.

    Args:
        step_s: length of a period, seconds.
        size: number of periods.
    """

    __slots__ = ("_arousal", "_count", "_period", "_size", "_step_s", "_valence")

    def __init__(self, step_s: int, size: int) -> None:
        self._step_s = step_s
        self._size = size
        self._period = array("q", [-1]) * size
        self._count = array("I", [0]) * size
        self._valence = array("f", [0.0]) * size
        self._arousal = array("f", [0.0]) * size

    def add(self, t_s: float, valence: float, arousal: float) -> None:
        """Add a value; it is left out if its period is too old to be kept."""
        period = int(t_s // self._step_s)
        place = period % self._size
        if self._period[place] != period:
            if self._period[place] > period:
                return
            self._period[place], self._count[place] = period, 0
            self._valence[place] = self._arousal[place] = 0.0
        self._count[place] += 1
        self._valence[place] += valence
        self._arousal[place] += arousal

    def point(self, t_s: float) -> HistoryPoint | None:
        """Return the means of the period in which ``t_s`` lies; None if it has no value."""
        period = int(t_s // self._step_s)
        place = period % self._size
        return self._at(place) if self._period[place] == period else None

    def __iter__(self) -> Iterator[HistoryPoint]:
        """Return the periods that have values, in order of time."""
        newest = max(self._period)
        held = (p for p in range(self._size) if self._period[p] > newest - self._size)
        for place in sorted((p for p in held if self._count[p]), key=self._period.__getitem__):
            yield self._at(place)

    def _at(self, place: int) -> HistoryPoint:
        count = self._count[place]
        return HistoryPoint(
            self._period[place] * self._step_s,
            round(self._valence[place] / count, 3),
            round(self._arousal[place] / count, 3),
        )


class History:
    """The last 15 minutes by the second, and the last 12 hours by ten seconds. Not thread-safe."""

    __slots__ = ("_coarse", "_fine", "_newest_s")

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._newest_s = -math.inf
        self._fine = Ring(FINE_S, FINE_SIZE)
        self._coarse = Ring(COARSE_S, COARSE_SIZE)

    def add(self, t_s: float, valence: float, arousal: float) -> None:
        """Add smoothed values at a wall time; in any order."""
        self._newest_s = max(self._newest_s, t_s)
        self._fine.add(t_s, valence, arousal)
        self._coarse.add(t_s, valence, arousal)

    def begin_anew_after_step(self, t_s: float) -> bool:
        """Forget everything if the clock was set back; return whether it was.

        Else the values of hours would be left out as too old, until the clock has passed the
        newest one.

        Args:
            t_s: wall time of a live value, which is about to be added.
        """
        if t_s >= self._newest_s - STEP_S:
            return False
        self._clear()
        return True

    def second(self, t_s: float) -> HistoryPoint | None:
        """Return the means of the second in which ``t_s`` lies; None if it has no value."""
        return self._fine.point(t_s)

    def points(self) -> list[HistoryPoint]:
        """Return all points in order of time: coarse ones, then fine ones."""
        fine = list(self._fine)
        begin_s = fine[0].t_s if fine else float("inf")
        return [*(each for each in self._coarse if each.t_s + COARSE_S <= begin_s), *fine]
