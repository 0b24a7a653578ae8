"""The message of a measured frame.

``benchmarks/compare_side.py`` uses ``message_bytes``, in older revisions too: keep its name.
"""

import json
from typing import Final

from edge import clock
from edge.protocol.messages import FrameInfo, FrameMessage, FrameTime, StageTimes, encode
from edge.vision.values import FrameState
from edge.worker.report import frame_report

FULL_LOOK: Final = "full"
"""What a face's ``found`` says after the detector saw the whole frame."""


def message_bytes(state: FrameState) -> bytes:
    """Return the message of a frame as the hub sends it, after encoding for the link."""
    report = frame_report(state)
    report = type(report).model_validate_json(report.model_dump_json())
    now_ns = clock.monotonic_ns()
    return encode(
        FrameMessage(
            device="bench", stream="bench", epoch=1, seq=report.index,
            frame=FrameInfo(index=report.index, width=report.width, height=report.height,
                            dropped=0),
            time=FrameTime(sensor_ns=report.sensor_ns, clock=report.clock, unix_ns=now_ns,
                           published_ns=now_ns, synchronized=False),
            timing_ms=StageTimes(capture=0, detect=0, track=0, classify=0, total=0),
            faces=report.faces,
        )
    )  # fmt: skip


def is_full_look(message: bytes) -> bool:
    """Return whether the detector saw the whole frame, from the message of that frame.

    A frame without a face is a full look: where no face is known, there is no region to look at.
    A message whose faces do not say how they were found is one, too.
    """
    faces = json.loads(message.partition(b" ")[2])["faces"]
    return not faces or any(face.get("found", FULL_LOOK) == FULL_LOOK for face in faces)
