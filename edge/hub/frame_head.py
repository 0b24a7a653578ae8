"""The fields of a frame message before its faces, from the worker's report.

Plain dictionaries, not the models of ``edge.protocol.messages``: they are made for each frame, of
values that ``edge.link`` has checked. Tests compare the result with the models.
"""

from collections.abc import Mapping
from typing import Any, Final

from edge.link import FrameReport
from edge.protocol.messages import SCHEMA

DETECT_STAGES: Final = ("resize", "detect", "decode_boxes")
CLASSIFY_STAGES: Final = ("quality", "crop", "classify", "smooth")


def timing_ms(report: FrameReport, now_ns: int) -> dict[str, float]:
    """Return the fields of ``StageTimes`` of a frame that is sent at ``now_ns``."""
    stages = report.stage_ms
    return {
        "capture": round(stages.get("capture", 0.0), 3),
        "detect": round(sum(stages.get(stage, 0.0) for stage in DETECT_STAGES), 3),
        "track": round(stages.get("track", 0.0), 3),
        "translate": round(stages.get("translate", 0.0), 3),
        "classify": round(sum(stages.get(stage, 0.0) for stage in CLASSIFY_STAGES), 3),
        "mesh": round(stages.get("mesh", 0.0), 3),
        "total": round(max(0.0, (now_ns - report.captured_ns) / 1e6), 3),
    }


def frame_head(
    origin: Mapping[str, Any],
    seq: int,
    report: FrameReport,
    *,
    dropped: int,
    time: Mapping[str, Any],
    timing: Mapping[str, float],
) -> dict[str, Any]:
    """Return the fields of ``FrameMessage`` before the faces, in their order.

    Args:
        origin: ``device``, ``stream`` and ``epoch``.
        seq: number of the message.
        report: of the frame.
        dropped: frames lost just before it.
        time: the fields of ``FrameTime``.
        timing: from ``timing_ms``.
    """
    return {
        "schema": SCHEMA,
        "kind": "frame",
        **origin,
        "seq": seq,
        "frame": {
            "index": report.index,
            "width": report.width,
            "height": report.height,
            "dropped": dropped,
            "file": report.file,
            "page": report.page,
            "ignored": report.ignored,
        },
        "time": time,
        "timing_ms": timing,
    }
