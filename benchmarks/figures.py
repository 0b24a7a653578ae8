"""Constants and percentiles that all speed measurements share."""

import numpy as np

WARM_UP = 10
"""Frames that run before the measurement and do not count."""

STAGES = (
    "decode", "resize", "detect", "decode_boxes", "track", "quality", "crop", "translate",
    "classify", "smooth", "message",
)  # fmt: skip
"""Stages in ``stage_ms``; null for a stage that the mode cannot measure or does not have."""


def quantiles(values: list[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentiles by name."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99}
