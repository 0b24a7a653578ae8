"""A token bucket: limits a rate, and allows short bursts above it."""


class TokenBucket:
    """A bucket that fills at a constant rate up to a maximum; it is full at first.

    Not thread-safe.

    Args:
        rate_hz: tokens a second, above 0.
        size: tokens that the bucket holds at most.
        now_ns: monotonic time, as in every method.
    """

    def __init__(self, rate_hz: float, size: float, now_ns: int) -> None:
        self._rate_hz = rate_hz
        self._size = size
        self._tokens = size
        self._updated_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take one token; return False, and take none, if there is none."""
        is_allowed = self.level(now_ns) >= 1
        self._tokens -= is_allowed
        return is_allowed

    def spend(self, amount: float, now_ns: int) -> None:
        """Take ``amount`` tokens, even if there are fewer: the level then falls below 0."""
        self._tokens = self.level(now_ns) - amount

    def level(self, now_ns: int) -> float:
        """Return the number of tokens; below 0 after too many were spent."""
        filled = self._tokens + (now_ns - self._updated_ns) / 1e9 * self._rate_hz
        self._tokens, self._updated_ns = min(self._size, filled), now_ns
        return self._tokens

    def wait_s(self, now_ns: int) -> float:
        """Return the seconds until the level is above 0; 0 if it is now."""
        return max(0.0, -self.level(now_ns) / self._rate_hz)
