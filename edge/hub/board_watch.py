"""Reads temperature, voltage and swap once a second, and the limit of the rate that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.board import Board, SwapState, set_flags, swap_state
from edge.config import Config
from edge.hub.event_log import log_swap
from edge.hub.rate_limit import RateLimit
from edge.protocol.events import RateLimited
from edge.vocabulary import RateReason


@dataclass(frozen=True, slots=True)
class BoardState:
    """The board at one moment; None for what it does not report.

    Attributes:
        soc_celsius: temperature of the chip.
        throttle_flags: as ``Board.throttle_flags``.
        memory_locked: whether the worker's memory is locked; None before its report.
        swap: whether pictures in memory can be written to storage.
        rate_divisor: one frame of so many is to be processed.
        rate_reason: why it is above 1.
        change: the event that reports a change of the last two; None without one.
    """

    soc_celsius: float | None
    throttle_flags: Mapping[str, bool] | None
    memory_locked: bool | None
    swap: SwapState | None
    rate_divisor: int
    rate_reason: RateReason | None
    change: RateLimited | None

    @property
    def throttled(self) -> list[str] | None:
        """The throttling flags that are set."""
        return set_flags(self.throttle_flags)


class BoardWatch:
    """Follows the board. Only for the hub's main loop.

    Args:
        config: for the limits, and where the kernel's files lie.
        limits_rate: whether frames may be left out; not where a file is read without loss.
    """

    def __init__(self, config: Config, *, limits_rate: bool) -> None:
        self._board = Board(Path(config.limits.board_root))
        self._rate_limit = RateLimit(config.limits.hot_celsius) if limits_rate else None
        self._memory_locked: bool | None = None

    def note_memory(self, lock_error: str) -> bool:
        """Note whether the worker's memory is locked, and return it.

        It is logged once that pictures may be swapped out.
        """
        is_locked = not lock_error
        if self._memory_locked != is_locked:  # else as with the worker before
            self._memory_locked = is_locked
            if swap_state(self._board, memory_locked=is_locked) == "possible":
                log_swap(self._board.swap_on_storage() or (), lock_error)
        return is_locked

    def read(self, now_ns: int) -> BoardState:
        """Return the state of the board now; call it about once a second."""
        celsius, flags = self._board.soc_celsius(), self._board.throttle_flags()
        limit, change = self._rate_limit, None
        if limit is not None and limit.update(now_ns, celsius, flags):
            change = RateLimited(
                divisor=limit.divisor, reason=limit.reason or "none", soc_celsius=celsius
            )
        return BoardState(
            soc_celsius=celsius,
            throttle_flags=flags,
            memory_locked=self._memory_locked,
            swap=swap_state(self._board, memory_locked=self._memory_locked),
            rate_divisor=limit.divisor if limit else 1,
            rate_reason=limit.reason if limit else None,
            change=change,
        )
