"""The message of a measured frame.

``benchmarks/compare_side.py`` uses ``message_bytes``, in older revisions too: keep its name.
"""

from typing import Final

from edge import clock
from edge.hub.frame_head import frame_head, timing_ms
from edge.hub.times import MessageTimes
from edge.link import FrameReport
from edge.protocol.messages import FACES, encode_frame
from edge.vision.values import FrameState
from edge.worker.report import frame_report

_TIMES: Final = MessageTimes(None, paced=False)


def message_bytes(state: FrameState) -> bytes:
    """Return the message of a frame as the hub makes it from the report that it receives."""
    report = FrameReport.decode(frame_report(state).encode())
    now_ns = clock.monotonic_ns()
    head = frame_head(
        {"device": "bench", "stream": "bench", "epoch": 1},
        report.index,
        report,
        dropped=0,
        time=_TIMES.of_frame(report, now_ns),
        timing=timing_ms(report, now_ns),
    )
    return encode_frame(head, FACES.dump_json(list(report.faces)))
