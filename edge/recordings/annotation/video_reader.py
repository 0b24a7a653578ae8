"""Reads a video for annotation: its pictures in colour, as they are shown, and its sound.

The pictures are those that the sources read (``edge.vision.sources.video``), with the same times:
turned by the file's rotation, with square pixels.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np

from edge.errors import ConfigError
from edge.recordings.annotation.drawing.canvas import Picture
from edge.vision.sources.container import is_mirrored, recording_of, why_no_video

_ROTATIONS: Final = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_ASPECT_TOLERANCE: Final = 0.01  # nearer to square pixels, a picture stays as it is
_UNSPECIFIED: Final = 2  # of ITU-T H.273
_HD_ROWS: Final = 720
"""Players take pictures from here on for BT.709, if the file does not say."""

_DEFAULT_HZ: Final = Fraction(25)  # FFmpeg's own, for inputs without time stamps


def require_av() -> Any:
    """Return the package av.

    Raises:
        ConfigError: it is missing.
    """
    try:
        import av  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "annotated video needs the package av: pip install 'affect-edge[recordings]'"
        ) from error
    av.logging.set_level(None)
    return av


def address(path: Path) -> str:
    """Return what FFmpeg takes for a file, whatever its name holds, such as ``12:30.mp4``.

    Raises:
        ConfigError: the name is not UTF-8.
    """
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name!r}: the name is not UTF-8; rename the file or folder") from error
    return f"file:{name}"


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of a video.

    Attributes:
        index: number of the picture, from 0.
        media_ns: time since the beginning of the video, ns, as the sources give it.
        pts: the same in units of the stream's time base, relative to the stream's first picture.
        picture: makes it: upright, with square pixels; may be written to. Only those that are
            looked at are converted. Raises ``ConfigError`` if that is not possible.
    """

    index: int
    media_ns: int
    pts: int
    picture: Callable[[], Picture]


class VideoReader:
    """The pictures and the sound of one video file. A context manager; not thread-safe.

    Args:
        path: of the file.

    Attributes:
        time_base: seconds per unit of ``Shown.pts``.
        rate: pictures per second, as the file states it.
        duration_ns: length; None if the file does not state it.
        damaged: packets so far that could not be decoded.
        sounds: the streams of sound.

    Raises:
        ConfigError: the file cannot be opened, or has no video.
    """

    def __init__(self, path: Path) -> None:
        self._av = require_av()
        self._path = path
        try:
            self._container = self._av.open(address(path), metadata_errors="ignore")
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise ConfigError(
                f"recording {str(path)!r}: no video in it; {why_no_video(str(path))}"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise ConfigError(f"recording {str(path)!r}: no video in it; {why_no_video(str(path))}")
        self._stream = self._container.streams.video[0]
        # threads that each decode a picture lose sound ones around a damaged one at the end
        self._stream.thread_type = "SLICE"
        self.sounds: list[Any] = list(self._container.streams.audio)
        self.time_base: Fraction = self._stream.time_base or Fraction(1, 90_000)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate: Fraction = rate if rate and 0 < rate <= 1000 else _DEFAULT_HZ
        self._period_ns = round(1_000_000_000 / self.rate)
        self._start = self._stream.start_time or 0
        self._is_mirrored = is_mirrored(str(path))
        self.damaged = 0
        self._index = 0
        self._last_ns = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def duration_ns(self) -> int | None:
        """Length of the video; None if the file does not state it."""
        if self._stream.duration:
            return int(self._stream.duration * self.time_base * 1_000_000_000)
        if (stated_s := recording_of(str(self._path)).duration_s) is not None:
            return round(stated_s * 1e9)  # FFmpeg gives the end, where times begin late
        if self._container.duration:
            return int(self._container.duration) * 1000
        return None

    @property
    def zero_s(self) -> Fraction:
        """Presentation time at which pictures or sound begin, seconds; 0 if they state none."""
        begun = self._container.start_time
        return Fraction(begun, 1_000_000) if begun and begun > 0 else Fraction(0)

    @property
    def start_s(self) -> Fraction:
        """Presentation time of the first picture in the file, seconds."""
        return self._start * self.time_base

    def items(self, *, sound: bool = True) -> Iterator[Shown | Any]:
        """Yield pictures in the order of presentation, and packets of sound in between.

        Damaged packets are left out and counted.
        """
        streams = [self._stream, *(self.sounds if sound else ())]
        packets = self._container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:  # the rest of the file cannot be read
                self.damaged += 1
                packet = None
            if packet is None:
                break
            if packet.stream is not self._stream:
                if packet.size and packet.pts is not None:
                    yield packet
                continue
            yield from self._pictures(packet)
        yield from self._pictures(None)

    def _pictures(self, packet: Any) -> Iterator[Shown]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except self._av.EOFError:  # flushed before
            return
        except self._av.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            yield self._shown(frame)

    def _shown(self, frame: Any) -> Shown:
        index = self._index
        self._index += 1
        pts = None if frame.pts is None else frame.pts - self._start
        media_ns = -1 if pts is None else round(float(pts * self.time_base) * 1e9)
        if media_ns <= self._last_ns:  # as edge.vision.sources.video does
            media_ns = self._last_ns + self._period_ns if index else max(0, media_ns)
            pts = round(media_ns / 1e9 / self.time_base)
        self._last_ns = media_ns
        aspect = self._stream.sample_aspect_ratio or Fraction(1)  # while the file is open
        return Shown(index, media_ns, pts or 0, partial(self._picture, frame, aspect, index))

    def _picture(self, frame: Any, aspect: Fraction, index: int) -> Picture:
        try:
            return self._upright(frame, aspect)
        except (self._av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"recording {str(self._path)!r}: picture {index} ({frame.format.name}) cannot be"
                f" converted: {reason}"
            ) from error

    def _upright(self, frame: Any, aspect: Fraction) -> Picture:
        angle = -frame.rotation % 360
        width, height = frame.width, frame.height
        if abs((1 / aspect if angle in (90, 270) else aspect) - 1) >= _ASPECT_TOLERANCE:
            width, height = round(width * max(1, aspect)), round(height * max(1, 1 / aspect))
        colours = {}
        if frame.colorspace == _UNSPECIFIED and frame.height >= _HD_ROWS:
            colours["src_colorspace"] = "ITU709"
        picture = frame.to_ndarray(format="bgr24", width=width, height=height, **colours)
        if angle in _ROTATIONS:
            picture = cv2.rotate(picture, _ROTATIONS[angle])
        if self._is_mirrored:
            picture = cv2.flip(picture, 1 if angle in (90, 270) else 0)
        return np.ascontiguousarray(picture)
