"""Writes an annotated video: H.264 and sound in MP4, with the times of the original.

Sound that MP4 holds and players know is copied packet by packet; other sound (PCM, Vorbis) becomes
AAC. Pictures keep their times exactly where MP4 can: at variable rates, and with holes.
"""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2

from edge.errors import ConfigError
from edge.recordings.annotation.drawing.canvas import Picture
from edge.recordings.annotation.video_reader import VideoReader, address, require_av

COPIED_SOUND: Final = frozenset(["aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"])
"""Codecs of sound that are copied."""

_ENCODERS: Final = ("libx264", "libopenh264", "h264")
_OPTIONS: Final = {
    "libx264": {"preset": "veryfast", "crf": "18"},
}
_BITS_PER_PIXEL: Final = 0.2  # of other encoders, which have no constant quality
_AAC_RATES_HZ: Final = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
_AAC_LAYOUTS: Final = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""By number of channels; of any other number, two are kept."""

_AAC_SAMPLES: Final = 1024  # of a packet
_SOUND_BIT_RATE: Final = 96_000  # per channel


class VideoWriter:
    """Writes one file. Not thread-safe. Call ``finish``, or ``give_up``.

    Args:
        path: of the file, which exists and is empty.
        size: width and height of the pictures; the file's are even, an odd one gets a copy of its
            last row or column.
        original: the video whose times and sound are kept.
        start_s: what is time 0 in the new file, in seconds of the original's presentation time.
        is_cut: sound before ``start_s`` is left out. Without a cut some may lie before 0: encoders
            begin with silence that players skip.

    Raises:
        ConfigError: this build of av has no encoder for H.264.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        original: VideoReader,
        start_s: Fraction,
        *,
        is_cut: bool,
    ) -> None:
        self._av = require_av()
        self._original = original
        self._start_s = start_s
        self._cut = _Cut(start_s, is_cut)
        self._size = size[0] + size[0] % 2, size[1] + size[1] % 2
        name = self._encoder()
        self._container = self._av.open(
            address(path), "w", format="mp4", options={"movflags": "+faststart"}
        )
        try:
            self._video = self._container.add_stream(name, rate=original.rate)
            self._set_up(name, self._size)
            self._sounds = {
                sound.index: self._sound(sound) for sound in original.sounds if _is_usable(sound)
            }
        except BaseException:
            self.give_up()
            raise

    def write(self, picture: Picture, pts: int) -> None:
        """Add a picture.

        Args:
            picture: of another size than was given, it is scaled.
            pts: its time in units of ``VideoReader.time_base``, from the original's first picture.

        Raises:
            OSError: the file cannot be written.
        """
        right, bottom = self._size[0] - picture.shape[1], self._size[1] - picture.shape[0]
        if right in (0, 1) and bottom in (0, 1) and right + bottom:
            picture = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame = frame.reformat(
            *self._size, "yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        base = self._original.time_base
        frame.pts = pts - round((self._start_s - self._original.start_s) / base)
        frame.time_base = base
        self._mux(self._video.encode(frame))

    def write_sound(self, packet: Any) -> None:
        """Add a packet of the original's sound.

        Raises:
            OSError: the file cannot be written.
        """
        out = self._sounds.get(packet.stream.index)
        if out is not None:
            self._mux(out.packets(packet, self._cut))

    def finish(self) -> None:
        """Write what is left, and close the file.

        Raises:
            OSError: the file cannot be written.
        """
        self._mux(self._video.encode(None))
        for out in self._sounds.values():
            self._mux(out.packets(None, self._cut))
        self._container.close()

    def give_up(self) -> None:
        """Close the file; it is not complete."""
        # the muxer says so, or that the disk is full
        with suppress(self._av.FFmpegError, OSError, ValueError):
            self._container.close()

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._container.mux(packet)

    def _encoder(self) -> str:
        for name in _ENCODERS:
            try:
                self._av.Codec(name, "w")
            except (self._av.FFmpegError, ValueError):
                continue
            return name
        raise ConfigError(
            "this build of the package av has no encoder for H.264; expected the wheels of PyPI,"
            " which have libx264: pip install --force-reinstall 'affect-edge[recordings]'"
        )

    def _set_up(self, name: str, size: tuple[int, int]) -> None:
        context = self._video.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = self._original.time_base
        context.framerate = self._original.rate
        context.options = _OPTIONS.get(name, {})
        if name not in _OPTIONS:
            context.bit_rate = round(size[0] * size[1] * self._original.rate * _BITS_PER_PIXEL)
        context.color_range = 1  # as write converts: limited range, BT.709
        context.colorspace = context.color_primaries = context.color_trc = 1

    def _sound(self, sound: Any) -> "_CopiedSound | _NewSound":
        if sound.codec_context.codec.canonical_name in COPIED_SOUND:
            return _CopiedSound(self._container.add_stream_from_template(sound))
        rate = sound.codec_context.sample_rate
        out = self._container.add_stream(
            "aac",
            rate=rate if rate in _AAC_RATES_HZ else _AAC_RATES_HZ[0],
            layout=_AAC_LAYOUTS.get(sound.codec_context.layout.nb_channels, "stereo"),
        )
        out.codec_context.bit_rate = _SOUND_BIT_RATE * out.codec_context.layout.nb_channels
        return _NewSound(self._av, out)


class _Cut(NamedTuple):
    start_s: Fraction
    is_cut: bool

    def moved(self, pts: int, time_base: Fraction) -> int | None:
        """Return a time on the axis of the new file; None if it was cut off."""
        pts -= round(self.start_s / time_base)
        return None if self.is_cut and pts < 0 else pts


class _CopiedSound:
    def __init__(self, out: Any) -> None:
        self._out = out
        self._before: int | None = None  # time of the packet before

    def packets(self, packet: Any, cut: _Cut) -> list[Any]:
        if packet is None:
            return []
        if not packet.duration and self._before is not None:
            # Matroska does not state it; players leave out a last packet of no length
            packet.duration = max(0, packet.pts - self._before)
        self._before = packet.pts
        pts = cut.moved(packet.pts, packet.time_base)
        if pts is None:
            return []
        if packet.dts is not None:
            packet.dts += pts - packet.pts
        packet.pts = pts
        packet.stream = self._out
        return [packet]


class _NewSound:
    def __init__(self, av: Any, out: Any) -> None:
        self._av = av
        self._out = out
        self._resampler = av.AudioResampler(
            format="fltp",
            layout=out.codec_context.layout,
            rate=out.codec_context.sample_rate,
            frame_size=_AAC_SAMPLES,
        )

    def packets(self, packet: Any, cut: _Cut) -> list[Any]:
        frames: list[Any] = []
        if packet is not None:
            try:
                frames = list(packet.decode())
            except self._av.FFmpegError:  # damaged: a hole of a few milliseconds
                return []
        resampled = [each for frame in frames for each in self._resampler.resample(frame)]
        if packet is None:
            resampled += self._resampler.resample(None)
        made: list[Any] = []
        for frame in resampled:
            if frame.pts is not None:
                pts = cut.moved(frame.pts, frame.time_base)
                if pts is None:
                    continue
                frame.pts = pts
            made += self._out.encode(frame)
        return made if packet is not None else [*made, *self._out.encode(None)]


def _is_usable(sound: Any) -> bool:
    return sound.codec_context is not None and bool(sound.codec_context.sample_rate)
