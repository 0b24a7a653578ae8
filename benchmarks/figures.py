"""Timers, constants and percentiles that all speed measurements share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edge import clock

WARM_UP = 10
"""Frames that run before the measurement and do not count."""

STAGES = (
    "decode", "resize", "detect", "decode_boxes", "track", "quality", "crop", "translate",
    "classify", "smooth", "message",
)  # fmt: skip
"""Stages in ``stage_ms``; null for a stage that the mode cannot measure or does not have."""


class Spent(NamedTuple):
    """Time that a piece of work took: what passed, and what all threads of the process used."""

    wall_ms: float
    cpu_ms: float


class Timer:
    """Measures from its construction on."""

    __slots__ = ("_cpu_ns", "_wall_ns")

    def __init__(self) -> None:
        self._cpu_ns = clock.processor_ns()
        self._wall_ns = clock.monotonic_ns()

    def spent(self) -> Spent:
        """Return the time since construction."""
        wall_ms = clock.elapsed_ms(self._wall_ns)
        return Spent(wall_ms, (clock.processor_ns() - self._cpu_ns) / 1e6)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentiles by name."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99}


def percentiles(spent: Sequence[Spent]) -> dict[str, dict[str, float]] | None:
    """Return the percentiles of both times and their greatest; None where there are none."""
    if not spent:
        return None
    return {
        name: {**quantiles(values), "max": max(values)}
        for name, values in (
            ("wall_ms", [each.wall_ms for each in spent]),
            ("cpu_ms", [each.cpu_ms for each in spent]),
        )
    }


def worst_second_ms(spent_ms: Sequence[float], sensor_ns: Sequence[int]) -> float | None:
    """Return the highest mean of the frames of one second; None where they span less.

    Args:
        spent_ms: a time for each frame.
        sensor_ns: when each frame was taken, increasing.
    """
    if not sensor_ns or sensor_ns[-1] - sensor_ns[0] < 1_000_000_000:
        return None
    sums = [0.0, *np.cumsum(spent_ms).tolist()]
    first, worst = 0, 0.0
    for last, at_ns in enumerate(sensor_ns):
        while at_ns - sensor_ns[first] >= 1_000_000_000:
            first += 1
        if at_ns - sensor_ns[0] >= 900_000_000:  # windows at the beginning hold too few frames
            worst = max(worst, (sums[last + 1] - sums[first]) / (last + 1 - first))
    return worst
