"""A worker without camera and networks: it reports invented faces over the real link.

A process takes about 40 MB instead of 400, and no time for inference. The hub starts it in place of
``edge.worker`` where the daemon runs as ``python -m tests.support.synthetic_daemon run ...``.
Environment variables, which the daemon inherits to it:

- ``SYNTHETIC_RATE_HZ``: frames a second (30); 0: as fast as the hub takes them.
- ``SYNTHETIC_FACES``: faces in each frame (1).
- ``SYNTHETIC_FRAMES``: the source ends after the frame of this index (0: never).

The numbers of a face depend on the frame's index and the face's track alone.
"""

import os
import random
import signal
import sys
import time

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
from edge.protocol.messages import Face
from edge.vocabulary import EXPRESSIONS

HEARTBEAT_S = 0.5


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
        self._link.send(
            FrameReport(
                index=self._index,
                width=1280,
                height=720,
                sensor_ns=sensor_ns,
                clock="monotonic" if self._is_live else "media",
                exposure_us=8000 if self._is_live else None,
                file=None,
                page=None,
                captured_ns=now_ns,
                stage_ms={"capture": 1.0, "detect": 9.0, "track": 0.3, "classify": 4.0},
                faces=[
                    synthetic_face(self._index, self._track + number)
                    for number in range(self._faces)
                ],
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
