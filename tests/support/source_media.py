"""Videos and streams for the tests of the sources, encoded and served by a real FFmpeg."""

import hashlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from edge.clock import monotonic_ns
from edge.config import StreamSource
from edge.errors import SourceUnavailable
from edge.vision.sources.decode import open_capture
from edge.vision.sources.stream import Stream
from edge.vision.sources.video import DEMO_CLIP
from edge.vision.values import Frame, Luma
from tests.support.waiting import HANG_S


def ffmpeg(*arguments: str | Path, pixels: bytes | None = None) -> None:
    """Run FFmpeg and wait for its end."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, input=pixels, check=True, capture_output=True)


def encode(path: Path, *options: str, frames: int = 6, seconds: float = 3.0) -> Path:
    """Encode some frames of the demo clip, 320 x 180, with options of FFmpeg."""
    ffmpeg(
        *("-ss", str(seconds), "-i", DEMO_CLIP, "-frames:v", str(frames)),
        *("-vf", "scale=320:180", *options, path),
    )
    return path


def digest(frame: Frame) -> str:
    """Return a hash of both pictures of a frame."""
    small = b"" if frame.small is None else frame.small.tobytes()
    return hashlib.sha256(frame.luma.tobytes() + small).hexdigest()


def grey_by_opencv(path: Path) -> list[Luma]:
    """Return every frame of a video, converted to colour and then to grey by OpenCV."""
    capture = open_capture(str(path), cv2.CAP_FFMPEG)
    pictures = []
    while capture.grab():
        pictures.append(np.asarray(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY)))
    capture.release()
    return pictures


class MediaServer:
    """Serves a video over HTTP, in an endless loop at its own rate, to one client after another.

    FFmpeg ends with its client, such as one that was too slow to read: then it is started again.

    Args:
        video: that is played.
        port: of 127.0.0.1.
        options: of FFmpeg for its output.
        form: of the output, as FFmpeg names it.
    """

    def __init__(self, video: Path, port: int, *options: str, form: str = "mpegts") -> None:
        self._command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-re"]
        self._command += ["-stream_loop", "-1", "-i", str(video), *options]
        self._command += ["-f", form, "-listen", "1", address(port)]
        self._lock = threading.Lock()
        self._is_over = False
        self._process = self._start()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "MediaServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self._thread.join()

    def send_signal(self, number: int) -> None:
        """Send FFmpeg a signal; it is not started again."""
        with self._lock:
            self._is_over = True
            self._process.send_signal(number)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def _serve(self) -> None:
        while True:
            self._process.wait()
            with self._lock:
                if self._is_over:
                    return
                self._process = self._start()


def served(video: Path, port: int) -> MediaServer:
    """Return a server of ``video``, as it is encoded, to be used with ``with``."""
    return MediaServer(video, port, "-c", "copy")


def address(port: int) -> str:
    """Return the address at which ``served`` listens."""
    return f"http://127.0.0.1:{port}/camera.ts"


@contextmanager
def connected(config: StreamSource, first_index: int = 0) -> Iterator[Stream]:
    """Open a stream; retry while its server is starting."""
    deadline_ns = monotonic_ns() + round(HANG_S * 1e9)
    while True:
        stream = Stream(config, first_index)
        try:
            stream.__enter__()
        except SourceUnavailable:
            if monotonic_ns() > deadline_ns:
                raise
            threading.Event().wait(0.02)  # a refused connection is reported at once
            continue
        break
    try:
        yield stream
    finally:
        stream.__exit__(None, None, None)


def grey_by_ffmpeg(path: Path, size: tuple[int, int]) -> Luma:
    """Return the first picture of a video as FFmpeg shows it, scaled to ``size``."""
    shown = path.with_suffix(".shown.png")
    scale = f"scale={size[0]}:{size[1]},format=gray"
    ffmpeg("-i", path, "-frames:v", "1", "-vf", scale, "-update", "1", shown)
    return np.asarray(cv2.imread(str(shown), cv2.IMREAD_GRAYSCALE))


def with_damaged_packets(path: Path, damaged: set[int]) -> Path:
    """Return a copy of a video in which packets with these numbers hold zeros from byte 8 on."""
    capture = open_capture(str(path), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_FORMAT, -1)  # packets in place of pictures
    content, number = path.read_bytes(), 0
    while capture.grab():
        body = capture.retrieve()[1].tobytes()[8:]
        if number in damaged:
            assert content.count(body) == 1
            content = content.replace(body, bytes(len(body)))
        number += 1
    capture.release()
    copy = path.with_stem(f"{path.stem}-damaged")
    copy.write_bytes(content)
    return copy
