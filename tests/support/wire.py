"""Messages, and a real publisher, for the tests of subscribers."""

from collections.abc import Callable
from typing import Any

import zmq

from edge import clock
from edge.protocol import messages
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from tests.support.waiting import HANG_S

EXPRESSION = {
    "label": "happy",
    "probabilities": {
        "neutral": 0.1, "happy": 0.6, "sad": 0.05, "surprise": 0.05,
        "fear": 0.05, "disgust": 0.05, "anger": 0.05, "contempt": 0.05,
    },
    "stable_label": "neutral",
    "age_s": 0.0,
}  # fmt: skip
TIMING_MS = {"capture": 1.1, "detect": 9.8, "track": 0.3, "classify": 4.2, "total": 17.0}
MESH = {
    "pose": {"yaw": -7.5, "pitch": 3.0, "roll": 0.5},
    "eyes": {"left": 0.9, "right": 0.85},
    "mouth": 0.25,
    "lids": {
        "perclos": 0.125,
        "perclos_reason": "",
        "blinks_per_min": None,
        "blinks_reason": "too_seldom",
        "closed_s": None,
    },
    "coefficients": {"jawOpen": 0.125},
    "landmarks": None,
}
AFFECT = {
    "valence": 0.61,
    "arousal": -0.12,
    "smoothed": {"valence": 0.5, "arousal": -0.1},
    "relative": None,
    "baseline": "none",
}


def face(
    track: int = 4, *, reasons: tuple[str, ...] = (), classified: bool = True
) -> dict[str, Any]:
    """Return a face of a message; if not ``classified``, its expression and affect are null."""
    return {
        "track": track,
        "participant": None,
        "box": [10.5, 20.0, 100.0, 120.0],
        "landmarks": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0]],
        "score": 0.93,
        "age_s": 12.4,
        "quality": {
            "usable": not reasons,
            "reasons": list(reasons),
            "size_px": 120.0,
            "sharpness": 0.2,
            "brightness": 0.4,
            "saturated": 0.01,
            "yaw": -3.5,
        },
        "expression": EXPRESSION if classified else None,
        "affect": AFFECT if classified else None,
    }


def head(kind: str, *, device: str = "edge", stream: str = "s", epoch: int = 1) -> dict[str, Any]:
    """Return the fields with which every message begins."""
    return {
        "schema": "affect.v1", "kind": kind, "device": device, "stream": stream, "epoch": epoch,
    }  # fmt: skip


def frame(seq: int, *faces: dict[str, Any], **where: Any) -> FrameMessage:
    """Return a frame message with ``faces``."""
    return FrameMessage.model_validate(
        head("frame", **where)
        | {
            "seq": seq,
            "frame": {"index": seq + 7, "width": 1280, "height": 720, "dropped": 0},
            "time": {
                "sensor_ns": 1_000_000 + seq,
                "clock": "monotonic",
                "exposure_us": 8000,
                "unix_ns": 1_700_000_000_123_456_789,
                "published_ns": 5_000_000 + seq,
                "synchronized": True,
                "max_error_us": 350,
            },
            "timing_ms": TIMING_MS,
            "faces": list(faces),
        }
    )


def event(seq: int, name: str = "epoch_started", detail: Any = None, **where: Any) -> EventMessage:
    """Return an event message."""
    return EventMessage.model_validate(
        head("event", **where)
        | {"seq": seq, "time": _event_time(), "event": name, "detail": detail or {}}
    )


def status(
    last_seq: int,
    *,
    state: str = "running",
    picture_state: str = "normal",
    age_s: float | None = None,
    **where: Any,
) -> StatusMessage:
    """Return a status message."""
    return StatusMessage.model_validate(
        head("status", **where)
        | {
            "time": _event_time(),
            "last_seq": last_seq,
            "epoch_age_s": age_s,
            "health": {"grade": "excellent", "reasons": []},
            "source_state": state,
            "picture_state": picture_state,
            "rates": {"expected_hz": 30.0, "captured_hz": 29.9, "published_hz": 29.8},
            "frames_published": 10,
            "frames_dropped": 0,
            "worker_restarts": 0,
        }
    )


def _event_time() -> dict[str, Any]:
    return {"monotonic_ns": 9, "unix_ns": 1_700_000_000_123_456_789, "synchronized": False}


class Publisher:
    """A bound publishing socket that reports subscriptions.

    An XPUB socket is a PUB socket that also delivers subscriptions to the application.
    """

    def __init__(self, endpoint: str, high_water: int = 1000) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.linger = 2000
        self._socket.sndhwm = high_water
        self._socket.bind(endpoint)
        self.endpoint = self._socket.last_endpoint.decode()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()

    def wait_for_subscriptions(
        self, count: int = 1, meanwhile: Callable[[], Any] = lambda: None
    ) -> set[bytes]:
        """Wait for the next ``count`` topics that are subscribed to, and return them.

        After a reconnection a SUB socket subscribes again only while the application reads from
        it: let ``meanwhile`` do that.
        """
        topics: set[bytes] = set()
        deadline_ns = clock.monotonic_ns() + round(HANG_S * 1e9)
        while len(topics) < count:
            assert clock.monotonic_ns() < deadline_ns, f"only {topics} subscribed"
            meanwhile()
            if self._socket.poll(10):
                part = self._socket.recv()
                if part[:1] == b"\x01":
                    topics.add(part[1:])
        return topics

    def subscribed(self) -> bool:
        """Return whether a subscription arrived since the last call; does not wait."""
        return bool(self._socket.poll(0)) and self._socket.recv()[:1] == b"\x01"

    def send(self, *unsent: FrameMessage | EventMessage | StatusMessage) -> None:
        """Publish messages, encoded as the daemon does."""
        for message in unsent:
            self._socket.send(messages.encode(message))

    def send_raw(self, *parts: bytes) -> None:
        """Publish one message of these parts without any check."""
        self._socket.send_multipart(parts)
