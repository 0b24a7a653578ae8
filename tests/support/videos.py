"""Videos made by PyAV, with any times, sound and rotation; and what is in a video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from edge.recordings.annotation.overlay import Emotion, FaceOverlay, FrameOverlay
from edge.vision.values import Affect

Picture = NDArray[np.uint8]

MILLISECOND = Fraction(1, 1000)


def gradient(width: int, height: int, number: int = 0) -> Picture:
    """Return a smooth coloured picture, different for each number."""
    y, x = np.mgrid[0:height, 0:width]
    blue = 60 + 120 * x / width
    green = 60 + 120 * y / height
    red = np.full_like(blue, 80 + 8 * (number % 12))
    return np.stack([blue, green, red], axis=2).astype(np.uint8)


def make_video(
    path: Path,
    pictures: Sequence[Picture],
    times_ms: Sequence[int] | None = None,
    *,
    codec: str = "libx264",
    sound: str | None = None,
    time_base: Fraction = MILLISECOND,
    rotation: int = 0,
    sound_ms: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Make a video; the suffix of ``path`` is its container.

    Args:
        path: of the file.
        pictures: of one size.
        times_ms: of each picture; default: 40 ms apart.
        codec: encoder of the pictures.
        sound: encoder of a tone as long as the video; None: no sound.
        time_base: of the pictures' stream.
        rotation: degrees of the display matrix.
        sound_ms: its length; None: it ends with the pictures.
        options: of the encoder.
    """
    times_ms = times_ms or [40 * number for number in range(len(pictures))]
    with av.open(str(path), "w") as container:
        height, width = pictures[0].shape[:2]
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = width, height
        stream.pix_fmt = {"mjpeg": "yuvj420p", "rawvideo": "bgr24"}.get(codec, "yuv420p")
        if codec not in ("mjpeg", "mpeg4", "rawvideo"):
            stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        tone = None
        if sound is not None:
            layout = "mono"
            tone = container.add_stream(sound, rate=48_000, layout=layout)
        for picture, at_ms in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            base = Fraction(1, 25) if codec in ("mjpeg", "mpeg4", "rawvideo") else time_base
            frame.time_base = base
            frame.pts = round(Fraction(at_ms, 1000) / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _add_tone(container, tone, sound_ms or times_ms[-1] + 40)
    return path


def _add_tone(container: Any, stream: Any, length_ms: int) -> None:
    size = stream.codec_context.frame_size or 1024
    samples = np.sin(np.arange(48 * length_ms) / 20) * 8000
    for at in range(0, len(samples), size):
        part = samples[at : at + size]
        frame = av.AudioFrame.from_ndarray(part.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), at
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=48_000
        )
        for each in resampler.resample(frame):
            container.mux(stream.encode(each))
    container.mux(stream.encode(None))


def with_zeros(path: Path, damaged: set[int]) -> Path:
    """Return a copy of a video in which packets with these numbers hold zeros from byte 8 on."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in damaged:
                content[packet.pos + 8 : packet.pos + packet.size] = bytes(packet.size - 8)
    copy = path.with_stem(f"{path.stem}-damaged")
    copy.write_bytes(content)
    return copy


@dataclass
class Content:
    """What is in a video: pictures as shown, times in seconds, and the sound's packets."""

    pictures: list[Picture] = field(default_factory=list)
    times_s: list[Fraction] = field(default_factory=list)
    codec: str = ""
    sound_codec: str = ""
    sound: list[tuple[Fraction, bytes]] = field(default_factory=list)
    sound_start_s: float = 0.0
    sound_seconds: float = 0.0


def content_of(path: Path) -> Content:
    """Decode a video."""
    found = Content()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found.codec = stream.codec_context.name
        for frame in container.decode(stream):
            found.pictures.append(frame.to_ndarray(format="bgr24"))
            found.times_s.append(frame.pts * stream.time_base)
    with av.open(str(path)) as container:
        if container.streams.audio:
            sound = container.streams.audio[0]
            found.sound_codec = sound.codec_context.name
            for packet in container.demux(sound):
                if packet.size:
                    found.sound.append((packet.pts * packet.time_base, bytes(packet)))
    with av.open(str(path)) as container:
        if container.streams.audio:
            frames = list(container.decode(container.streams.audio[0]))
            found.sound_start_s = float(frames[0].pts * frames[0].time_base)
            found.sound_seconds = sum(frame.samples / frame.sample_rate for frame in frames)
    return found


def happy_face(
    track: int, box: tuple[float, float, float, float], code: str | None = None
) -> FaceOverlay:
    """Return a face that was classified as happy."""
    shares = (0.05, 0.7, 0.05, 0.1, 0.03, 0.03, 0.02, 0.02)
    x, y, width, height = box
    points = tuple(
        (x + width * a, y + height * b)
        for a, b in ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    )
    emotion = Emotion(shares, "happy", Affect(0.6, 0.2), Affect(0.5, 0.1))
    return FaceOverlay(track, code, box, points, (), emotion)


def unread_face(track: int, box: tuple[float, float, float, float], *reasons: str) -> FaceOverlay:
    """Return a face that was not classified."""
    return FaceOverlay(track, None, box, happy_face(track, box).landmarks, reasons, None)


class FixedOverlays:
    """The same faces on every picture: ``edge.recordings.annotation.overlays``."""

    by_index = True
    absent = "not analysed"

    def __init__(
        self,
        faces: Sequence[FaceOverlay],
        size: tuple[int, int],
        count: int = 10_000,
        *,
        rotate_deg: int = 0,
        flip: str = "none",
        every: int = 1,
    ) -> None:
        self._faces, self._size, self._count = tuple(faces), size, count
        self.rotate_deg, self.flip = rotate_deg, flip
        self._every = every

    def frames(
        self, _start_ns: int, _end_ns: int | None, _on_picture: Callable[[int], None] | None = None
    ) -> Any:
        """Yield the overlays by index."""
        for index in range(0, self._count, self._every):
            yield FrameOverlay(index, 40_000_000 * index, *self._size, self._faces)
