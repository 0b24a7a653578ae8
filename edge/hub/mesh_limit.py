"""Reduces the face mesh before anything else is reduced: faces that are read matter more."""

from typing import Final

from edge.vocabulary import ScheduleReason

EVERY: Final = (1, 4, 0)
"""The mesh measures in one frame of so many, by level; 0: in none. With 4, at 25 frames a second,
PERCLOS is still known, and blinks are not."""

RETURN_S: Final = 60.0
"""So long after a change the mesh may do more again, and a board that is hot may do less."""


class MeshLimit:
    """Chooses how often the mesh measures. For the hub's one loop.

    Args:
        is_on: whether the mesh is configured; else nothing ever changes.

    Attributes:
        reason: why it does less than configured; None: it does not.
    """

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._level = 0
        self._changed_ns: int | None = None
        self.reason: ScheduleReason | None = None

    @property
    def every(self) -> int:
        """The mesh measures in one frame of so many; 0: in none."""
        return EVERY[self._level]

    def reduce(self, now_ns: int, reason: ScheduleReason, *, to_none: bool = False) -> bool:
        """Let the mesh do less; return whether it did anything that could be left out.

        Args:
            now_ns: monotonic time.
            reason: what is too hot, too weak or too slow.
            to_none: at once; else by one level.
        """
        last = len(EVERY) - 1
        if not self._is_on or self._level == last:
            return False
        self._level = last if to_none else self._level + 1
        self._changed_ns, self.reason = now_ns, reason
        return True

    def restore(self, now_ns: int) -> bool:
        """Let the mesh do more by one level, if the last change is old; return whether it does."""
        if not self._level or self.has_just_changed(now_ns):
            return False
        self._level -= 1
        self._changed_ns = now_ns
        if not self._level:
            self.reason = None
        return True

    def has_just_changed(self, now_ns: int) -> bool:
        """Return whether the last change is so young that its effect is not known yet."""
        return self._changed_ns is not None and now_ns - self._changed_ns < RETURN_S * 1e9
