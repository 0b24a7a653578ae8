"""Constants and quantiles that all speed measurements share."""

import numpy as np

WARM_UP = 10
"""Frames that are run and not counted."""

STAGES = (
    "decode", "resize", "detect", "decode_boxes", "track", "quality", "crop", "translate",
    "classify", "smooth", "message",
)  # fmt: skip
"""The stages of ``stage_ms``; null where the mode cannot measure a stage or has none."""


def quantiles(values: list[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99}
