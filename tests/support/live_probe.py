"""A subscriber in a process of its own that notes how long each frame was on its way.

``python -m tests.support.live_probe ENDPOINT FILE`` appends a record for every frame and event that
it receives: time of receipt, nanoseconds from publishing to receipt, epoch and number. A test reads
the file while the process runs, so the test's own work does not delay what is measured.
"""

import os
import statistics
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import zmq

from edge.client.keys import Keys, apply_client_keys
from edge.protocol import messages
from tests.support.daemons import ROOT

_RECORD = struct.Struct("<QQIIB")  # received_ns, way_ns, epoch, seq, whether it is a frame
_BLOCK = _RECORD.size * 4096


class LiveProbe:
    """Runs the process for a ``with`` block.

    Args:
        endpoint: of a daemon's publisher.
        file: where the records are kept.
    """

    def __init__(self, endpoint: str, file: Path) -> None:
        self._file = file
        file.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.live_probe", endpoint, str(file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def __enter__(self) -> "LiveProbe":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for_frames(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until ``count`` more messages were received."""
        wanted = self._file.stat().st_size + count * _RECORD.size
        deadline = time.monotonic() + timeout_s
        while self._file.stat().st_size < wanted:
            assert self.process.poll() is None, "the probe has ended"
            assert time.monotonic() < deadline, "no live messages"
            time.sleep(0.02)

    def way_ms(self, since_ns: int = 0, until_ns: int = 2**63) -> tuple[float, float]:
        """Return median and 99th percentile of the frames received in a time, milliseconds."""
        ways = array(
            "d",
            (
                way_ns / 1e6
                for received_ns, way_ns, _epoch, _seq, is_frame in self._records()
                if is_frame and since_ns <= received_ns < until_ns
            ),
        )
        assert len(ways) > 1, "fewer than two frames"
        return statistics.median(ways), statistics.quantiles(ways, n=100)[-1]

    def count(self, since_ns: int = 0, until_ns: int = 2**63) -> tuple[int, int]:
        """Return how many frames and events were received in a time, and how many are missing.

        Missing are numbers between two received ones of the same epoch.
        """
        received = missing = 0
        last: tuple[int, int] | None = None
        for received_ns, _way_ns, epoch, seq, _is_frame in self._records():
            if since_ns <= received_ns < until_ns:
                received += 1
                if last is not None and last[0] == epoch:
                    missing += seq - last[1] - 1
                last = (epoch, seq)
        return received, missing

    def last_of_epochs(self) -> dict[int, int]:
        """Return the highest number received of each epoch."""
        return {epoch: seq for _received, _way, epoch, seq, _is_frame in self._records()}

    def _records(self) -> Iterator[tuple[int, int, int, int, int]]:
        with self._file.open("rb") as file:
            while block := file.read(_BLOCK):
                yield from _RECORD.iter_unpack(block[: len(block) // _RECORD.size * _RECORD.size])


def main(endpoint: str, file: str) -> None:
    """Receive until the process is killed."""
    records = os.open(file, os.O_WRONLY | os.O_APPEND)
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        apply_client_keys(socket, Keys.from_environment())
        socket.subscribe(f"{messages.SCHEMA}.frame.")
        socket.subscribe(f"{messages.SCHEMA}.event.")
        socket.connect(endpoint)
        while True:
            part = socket.recv()
            received_ns = time.monotonic_ns()
            message = messages.decode(part)
            assert not isinstance(message, messages.StatusMessage)
            is_frame = isinstance(message, messages.FrameMessage)
            published_ns = message.time.published_ns if is_frame else received_ns
            way_ns = max(0, received_ns - published_ns)
            os.write(
                records, _RECORD.pack(received_ns, way_ns, message.epoch, message.seq, is_frame)
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
