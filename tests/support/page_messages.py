"""Messages for the state of the operator's page."""

from typing import Any

from edge.protocol.messages import (
    EventMessage,
    EventTime,
    FrameInfo,
    FrameMessage,
    FrameTime,
    Health,
    Rates,
    StageTimes,
    StatusMessage,
)
from tests.support.synthetic_worker import synthetic_face

STREAM = "a0af1446-2172-49e6-9460-ab86f6044641"
BEGAN_NS = 1_795_797_672_000_000_000
HEAD: dict[str, Any] = {"schema": "affect.v1", "device": "edge", "epoch": 1}


def frame(seq: int, *tracks: int, stream: str = STREAM, at_s: float | None = None,
          device: str = "edge", **changed: Any) -> FrameMessage:  # fmt: skip
    """Return a frame with a face on each track; ``changed`` concerns every face."""
    unix_ns = BEGAN_NS + int((seq / 30 if at_s is None else at_s) * 1e9)
    faces = [synthetic_face(seq, track).model_copy(update=changed) for track in tracks]
    return FrameMessage(
        **{**HEAD, "device": device},
        stream=stream,
        seq=seq,
        frame=FrameInfo(index=seq, width=1280, height=720, dropped=0),
        time=FrameTime(
            sensor_ns=unix_ns, clock="monotonic", unix_ns=unix_ns, published_ns=unix_ns,
            synchronized=True, max_error_us=300,
        ),
        timing_ms=StageTimes(capture=1, detect=9, track=0.3, classify=4, total=14 + seq % 3),
        faces=faces,
    )  # fmt: skip


def event(seq: int, name: str, stream: str = STREAM, **detail: Any) -> EventMessage:
    """Return an event."""
    return EventMessage(
        **HEAD,
        stream=stream,
        seq=seq,
        time=EventTime(monotonic_ns=seq, unix_ns=BEGAN_NS + int(seq / 30 * 1e9), synchronized=True),
        event=name,
        detail=detail,
    )


def status(stream: str = STREAM, device: str = "edge", **changed: Any) -> StatusMessage:
    """Return a status."""
    fields: dict[str, Any] = {
        "time": EventTime(monotonic_ns=1, unix_ns=BEGAN_NS, synchronized=True, max_error_us=300),
        "last_seq": 1,
        "health": Health(grade="excellent", reasons=[]),
        "source_state": "running",
        "rates": Rates(expected_hz=30, captured_hz=30, published_hz=30),
        "frames_published": 1,
        "frames_dropped": 0,
        "worker_restarts": 0,
        **changed,
    }
    return StatusMessage(**{**HEAD, "device": device}, stream=stream, **fields)
