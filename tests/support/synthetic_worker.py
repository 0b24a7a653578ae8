"""A worker without camera and networks: it reports invented faces over the real link.

A process takes about 40 MB instead of 400, and no time for inference. The hub starts it in place of
``edge.worker`` where the daemon runs as ``python -m tests.support.synthetic_daemon run ...``.
Environment variables, which the daemon inherits to it:

- ``SYNTHETIC_RATE_HZ``: frames a second (30); 0: as fast as the hub takes them.
- ``SYNTHETIC_FACES``: faces in each frame (1).
- ``SYNTHETIC_FRAMES``: the source ends after the frame of this index (0: never).
- ``SYNTHETIC_DAMAGED``: the report of the frame of this index is damaged (-1: none), as that of a
  worker whose memory is. Only the first worker sends it.

The numbers of a face depend on the frame's index and the face's track alone.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from edge.board import rss_mb
from edge.config import Config, is_file
from edge.link import (
    Ended,
    EventReport,
    FrameReport,
    Go,
    Heartbeat,
    Link,
    LinkClosed,
    Ready,
    Start,
)
from edge.protocol.events import SourceStateChanged
from edge.protocol.messages import FACES, Face
from edge.vocabulary import EXPRESSIONS

HEARTBEAT_S = 0.5


def frame_report(
    index: int, faces: Sequence[Face], *, sensor_ns: int, captured_ns: int, is_live: bool
) -> FrameReport:
    """Return a report of a frame with ``faces``."""
    return FrameReport(
        index=index,
        width=1280,
        height=720,
        ignored=0,
        sensor_ns=sensor_ns,
        captured_ns=captured_ns,
        clock="monotonic" if is_live else "media",
        exposure_us=8000 if is_live else None,
        file=None,
        page=None,
        stage_ms={"capture": 1.0, "detect": 9.0, "track": 0.3, "classify": 4.0},
        faces_json=FACES.dump_json(list(faces)),
    )


def synthetic_face(index: int, track: int) -> Face:
    """Return the face on ``track`` in frame ``index``: the same numbers each time."""
    numbers = random.Random(index * 64 + track)
    weights = [numbers.random() for _ in EXPRESSIONS]
    shares = [weight / sum(weights) for weight in weights]
    label = EXPRESSIONS[shares.index(max(shares))]
    left, top, size = numbers.uniform(0, 1000), numbers.uniform(0, 500), numbers.uniform(80, 220)
    return Face.model_validate(
        {
            "track": track,
            "box": [left, top, size, size * 1.2],
            "landmarks": [
                [left + numbers.uniform(0, size), top + numbers.uniform(0, size)] for _ in range(5)
            ],
            "score": numbers.uniform(0.5, 1),
            "age_s": index / 30,
            "quality": {
                "usable": True,
                "reasons": [],
                "size_px": size * 1.2,
                "sharpness": numbers.random(),
                "brightness": numbers.random(),
                "saturated": 0.0,
                "yaw": numbers.uniform(-20, 20),
            },
            "expression": {
                "label": label,
                "probabilities": dict(zip(EXPRESSIONS, shares, strict=True)),
                "stable_label": label,
            },
            "affect": {
                "valence": numbers.uniform(-1, 1),
                "arousal": numbers.uniform(-1, 1),
                "smoothed": {
                    "valence": numbers.uniform(-1, 1),
                    "arousal": numbers.uniform(-1, 1),
                },
            },
        }
    )


class DamagedReport(Ended):
    """Sends what is no report."""

    def model_dump_json(self, **_: Any) -> str:
        """Return a frame that ends in the middle of a face."""
        return '[8,1280,720]\n[{"track":1,"participant":nu'


class SyntheticWorker:
    """Sends frames at a fixed rate. One thread.

    Args:
        link: to the hub.
        start: the hub's first report.
    """

    def __init__(self, link: Link, start: Start) -> None:
        config = Config.model_validate_json(start.config)
        self._link = link
        self._index, self._track = start.first_index, start.first_track
        self._is_live = not is_file(config.source)
        self._rate_hz = float(os.environ.get("SYNTHETIC_RATE_HZ", "30"))
        self._faces = int(os.environ.get("SYNTHETIC_FACES", "1"))
        self._end = int(os.environ.get("SYNTHETIC_FRAMES", "0"))
        self._damaged = int(os.environ.get("SYNTHETIC_DAMAGED", "-1"))
        if start.first_index > 0:
            self._damaged = -1
        self._is_stopped = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, *_: object) -> None:
        self._is_stopped = True

    def run(self) -> None:
        """Wait for the start, send frames until a stop or the end, and report the end."""
        self._link.send(Ready(models={}, lock_error=""))
        while not self._is_stopped and not isinstance(self._link.receive(HEARTBEAT_S), Go):
            self._heartbeat()
        self._link.send(EventReport.of(SourceStateChanged(state="running", reason="")))
        due_s = beat_s = time.monotonic()
        while not self._is_stopped and not (self._end and self._index >= self._end):
            now_s = time.monotonic()
            if now_s >= beat_s:
                self._heartbeat()
                beat_s = now_s + HEARTBEAT_S
            if now_s >= due_s:
                self._frame()
                due_s = max(due_s, now_s - 1) + (1 / self._rate_hz if self._rate_hz else 0)
            else:
                time.sleep(min(due_s, beat_s) - now_s)
        self._heartbeat()
        self._link.send(Ended())

    def _frame(self) -> None:
        now_ns = time.monotonic_ns()
        sensor_ns = now_ns if self._is_live else round(self._index * 1e9 / (self._rate_hz or 30))
        if self._index == self._damaged:
            self._link.send(DamagedReport())
        tracks = range(self._track, self._track + self._faces)
        self._link.send(
            frame_report(
                self._index,
                [synthetic_face(self._index, track) for track in tracks],
                sensor_ns=sensor_ns,
                captured_ns=now_ns,
                is_live=self._is_live,
            )
        )
        self._index += 1

    def _heartbeat(self) -> None:
        self._link.send(
            Heartbeat(
                live=self._is_live,
                expected_hz=self._rate_hz or None,
                captured=self._index,
                dropped={},
                busy_s={},
                rss_mb=rss_mb(),
            )
        )


def main(fd: int) -> int:
    """Serve the hub on the inherited descriptor ``fd``; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Link.inherited(fd)
    try:
        start = link.receive()
        assert isinstance(start, Start), start
        SyntheticWorker(link, start).run()
    except LinkClosed:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
