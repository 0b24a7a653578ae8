"""``affect-edge annotate``: a video with what was read from its faces drawn into it."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError, LogFileError
from edge.files.durable import replacing_with_unique_name
from edge.recordings.annotation.drawing.canvas import Picture, require_pillow
from edge.recordings.annotation.drawing.frame import FrameDrawer
from edge.recordings.annotation.log_overlays import overlays_from
from edge.recordings.annotation.overlay import FrameOverlay, Matcher
from edge.recordings.annotation.overlays import Overlays
from edge.recordings.annotation.video_reader import Shown, VideoReader, require_av
from edge.recordings.annotation.video_writer import VideoWriter
from edge.recordings.damage import describe_damage
from edge.vision.sources.container import recording_of
from edge.vision.sources.orientation import turned

HELD_NS: Final = 500_000_000
"""How long the results of a picture stay for those after it that have none."""

_HELD_MAX_NS: Final = 15_000_000_000
"""The same where results are that far apart, as those of every hundredth picture."""

_SOUND_BEHIND_NS: Final = 2_000_000_000
"""Files hold the sound of a picture up to so much behind it."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a video that is wanted, ns within the file; ``end_ns`` None: to its end."""

    start_ns: int = 0
    end_ns: int | None = None

    def is_past(self, media_ns: int, by_ns: int = 0) -> bool:
        """Return whether ``media_ns`` lies behind its end, by ``by_ns`` or more."""
        return self.end_ns is not None and media_ns >= self.end_ns + by_ns


WHOLE: Final = Span()


@dataclass(slots=True)
class Summary:
    """What was done.

    Attributes:
        pictures: written.
        without: of them, those without overlay.
        damage: what is missing of the original, in words.
        faces: tracks that were drawn.
    """

    pictures: int = 0
    without: int = 0
    damage: list[str] = field(default_factory=list)
    faces: set[int] = field(default_factory=set)


def annotate_video(
    recording: Path,
    out: Path,
    overlays: Overlays,
    *,
    span: Span = WHOLE,
    codes: Mapping[int, str] | None = None,
    on_progress: Callable[[int], None] = lambda _ns: None,
) -> Summary:
    """Write ``recording`` with overlays to ``out``, which it replaces when it is complete.

    Memory is flat: one picture, and what the encoder looks ahead.

    Args:
        recording: a video file.
        out: an MP4 file, readable by its owner alone.
        overlays: what to draw.
        span: the part of the recording; in the new file it begins at 0.
        codes: participants by track; they replace those of the overlays.
        on_progress: takes the time within the file of each picture that was decoded, ns, also of
            those before ``span``.

    Raises:
        ConfigError: the recording has no picture that can be decoded in ``span``, the overlays are
            of pictures of another size, or a package is missing.
        LogFileError: the overlays cannot be read, or ``out`` cannot be written.
    """
    av = require_av()
    require_pillow()
    try:
        with (
            VideoReader(recording) as video,
            replacing_with_unique_name(out) as file,
            contextlib.closing(overlays.frames(span.start_ns, span.end_ns, on_progress)) as found,
        ):
            drawing = _Drawing(overlays, Matcher(found, by_index=overlays.by_index), codes or {})
            writing = _Writing(Path(file.name), video, span)
            try:
                for item in video.items():
                    if not isinstance(item, Shown):
                        writing.add_sound(item)
                        continue
                    if span.is_past(item.media_ns, _SOUND_BEHIND_NS):
                        break
                    on_progress(item.media_ns)
                    if item.media_ns < span.start_ns or span.is_past(item.media_ns):
                        continue
                    writing.add(drawing.drawn(item), item.pts)
                if not drawing.summary.pictures:
                    where = "" if span == WHOLE else " between --start and --end"
                    raise ConfigError(
                        f"recording {str(recording)!r}: not one picture{where} could be decoded"
                    )
                writing.finish()
            except BaseException:
                writing.give_up()
                raise
            last_s = None if span.end_ns is not None else drawing.last_ns / 1e9
            stated_s = recording_of(str(recording)).duration_s
            drawing.summary.damage = describe_damage(video.damaged, last_s, stated_s)
            return drawing.summary
    except (OSError, av.FFmpegError) as error:  # of writing: what is read has errors of its own
        reason = getattr(error, "strerror", None) or error
        raise LogFileError(f"{out}: cannot be written: {reason}") from error


def annotate_recording(
    recording: Path,
    results: Path,
    out: Path,
    *,
    span: Span = WHOLE,
    on_progress: Callable[[int], None] = lambda _ns: None,
) -> Summary:
    """Write ``recording`` with the results of an analysis, or of a log, that are stored already.

    Args:
        recording: a video file.
        results: the folder of its analysis, with frames and events, or a log of any format.
        out: as in ``annotate_video``, as are the next two.
        span: the part of the recording that was analysed.
        on_progress: takes the time within the file of each picture that was decoded, ns.

    Raises:
        ConfigError: the results are of another recording, or as ``annotate_video``.
        LogFileError: the results cannot be read, or ``out`` cannot be written.
    """
    overlays = overlays_from(results, recording)
    return annotate_video(recording, out, overlays, span=span, on_progress=on_progress)


class _Drawing:
    """Draws overlays into pictures, and counts."""

    def __init__(self, overlays: Overlays, matcher: Matcher, codes: Mapping[int, str]) -> None:
        self._overlays = overlays
        self._matcher = matcher
        self._codes = codes
        self._drawer: FrameDrawer | None = None
        self._size = (0, 0)
        self._last: FrameOverlay | None = None
        self._last_ns = 0
        self.last_ns = 0  # of the newest picture
        self.summary = Summary()

    def drawn(self, item: Shown) -> Picture:
        self.last_ns = item.media_ns
        picture = turned(item.picture(), self._overlays.rotate_deg, self._overlays.flip)
        size = picture.shape[1], picture.shape[0]
        if self._drawer is None or size != self._size:
            self._drawer, self._size = FrameDrawer(size), size
        found = self._matcher.at(item.index, item.media_ns)
        if found is not None:
            self._last, self._last_ns = found, item.media_ns
        held_ns = max(HELD_NS, min(self._matcher.spacing_ns * 3 // 2, _HELD_MAX_NS))
        overlay = self._last if item.media_ns - self._last_ns <= held_ns else None
        if overlay is not None and (overlay.width, overlay.height) != size:
            raise ConfigError(
                f"the results are of pictures of {overlay.width}x{overlay.height} pixels, and those"
                f" of the video have {size[0]}x{size[1]}; expected the results of this video, with"
                " the same source.rotate_deg"
            )
        if overlay is not None:
            overlay = overlay.with_codes(self._codes)
            self.summary.faces.update(face.track for face in overlay.faces)
        self.summary.pictures += 1
        self.summary.without += overlay is None
        remark = "" if overlay is not None else self._overlays.absent
        self._drawer.draw(picture, overlay, item.media_ns, remark)
        return picture


class _Writing:
    """Opens the writer at the first picture; sound before it waits for it."""

    def __init__(self, path: Path, video: VideoReader, span: Span) -> None:
        self._path = path
        self._video = video
        self._span = span
        self._writer: VideoWriter | None = None
        self._waiting: list[Any] = []

    def add(self, picture: Picture, pts: int) -> None:
        if self._writer is None:
            start_s = self._video.zero_s
            is_cut = self._span.start_ns > 0
            if is_cut:
                start_s = self._video.start_s + Fraction(self._span.start_ns, 1_000_000_000)
            size = picture.shape[1], picture.shape[0]
            self._writer = VideoWriter(self._path, size, self._video, start_s, is_cut=is_cut)
            for packet in self._waiting:
                self._writer.write_sound(packet)
            self._waiting = []
        self._writer.write(picture, pts)

    def add_sound(self, packet: Any) -> None:
        seconds = packet.pts * packet.time_base - self._video.start_s
        if self._span.is_past(round(seconds * 1_000_000_000)):
            return
        if self._writer is not None:
            self._writer.write_sound(packet)
        elif seconds * 1_000_000_000 >= self._span.start_ns - 1_000_000_000:
            self._waiting.append(packet)

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.finish()

    def give_up(self) -> None:
        if self._writer is not None:
            self._writer.give_up()
