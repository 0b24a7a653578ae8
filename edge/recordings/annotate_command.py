"""``affect-edge annotate``: checks what was asked for before anything is computed, and does it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.descriptors import write_error_line
from edge.errors import EXIT_DONE, ConfigError
from edge.recordings.annotate import Span, Summary, annotate_video
from edge.recordings.drawing.canvas import require_pillow
from edge.recordings.log_overlays import overlays_from
from edge.recordings.overlays import NewAnalysis, Overlays
from edge.recordings.participants_file import read_participants
from edge.recordings.progress import Progress
from edge.recordings.settings import Settings
from edge.recordings.times import seconds_of
from edge.recordings.video_reader import VideoReader, require_av

_VIDEO_SUFFIXES: Final = (".mp4", ".m4v")
_ADDRESSES: Final = ("/dev/", "rtsp:", "rtsps:", "http:", "https:")


@dataclass(frozen=True, slots=True)
class Wishes:
    """The arguments of the command, as they were given."""

    recording: Path
    out: Path
    start: str | None = None
    end: str | None = None
    participants: Path | None = None
    purpose: str | None = None
    config: Path | None = None
    settings: tuple[str, ...] = ()
    log: Path | None = None
    force: bool = False


def run_annotate(wishes: Wishes) -> int:
    """Run the command; return its exit code.

    Raises:
        ConfigError: an argument is wrong; nothing was written.
        ModelError: a network cannot be loaded.
        LogFileError: the new file cannot be written.
    """
    require_av()
    require_pillow()
    _check_recording(wishes.recording)
    _check_out(wishes.recording, wishes.out, force=wishes.force)
    span = _span(wishes)
    codes = read_participants(wishes.participants, wishes.recording.name)
    overlays = _overlays(wishes)
    with VideoReader(wishes.recording) as video:
        total_s = _length_s(video, span)
    with Progress(wishes.recording.name, total_s) as progress:
        summary = annotate_video(
            wishes.recording,
            wishes.out,
            overlays,
            span=span,
            codes=codes,
            on_progress=lambda ns: progress.show((ns - span.start_ns) / 1e9),
        )
    write_error_line(f"affect-edge: {wishes.out}: {_words(summary)}")
    return EXIT_DONE


def _overlays(wishes: Wishes) -> Overlays:
    if wishes.log is None:
        settings = Settings(wishes.config, wishes.settings, wishes.purpose)
        return NewAnalysis(settings.of_video(wishes.recording))
    if wishes.config is not None or wishes.settings or wishes.purpose is not None:
        raise ConfigError(
            "--from: takes no --purpose, --config and --set: nothing is analysed; leave them out"
        )
    return overlays_from(
        wishes.log, wishes.recording, lambda line: write_error_line(f"affect-edge: {line}")
    )


def _words(summary: Summary) -> str:
    words = [f"{summary.pictures} pictures, {len(summary.faces)} tracks"]
    if summary.without:
        words.append(f"{summary.without} pictures without results")
    if summary.damaged:
        words.append(f"{summary.damaged} packets of the recording could not be decoded")
    return "; ".join(words)


def _check_recording(recording: Path) -> None:
    text = str(recording)
    if text.startswith(_ADDRESSES) or text in ("picamera", "v4l2", "stream"):
        raise ConfigError(
            f"annotate {text!r}: is a camera, and its frames never leave memory; expected a"
            " recording that you have as a file"
        )
    if recording.is_dir():
        raise ConfigError(f"annotate {text!r}: is a folder; expected a video file")
    if not recording.exists():
        raise ConfigError(f"annotate {text!r}: no such file; expected a video file")
    if not recording.is_file():
        raise ConfigError(f"annotate {text!r}: not a regular file; expected a video file")
    if not os.access(recording, os.R_OK):
        raise ConfigError(f"annotate {text!r}: not readable by this user")


def _check_out(recording: Path, out: Path, *, force: bool) -> None:
    if out.suffix.lower() not in _VIDEO_SUFFIXES:
        raise ConfigError(f"annotate: OUT {str(out)!r}: expected a name that ends in .mp4")
    if not out.parent.is_dir():
        raise ConfigError(
            f"annotate: OUT {str(out)!r}: expected a folder that exists, and {out.parent} is none"
        )
    if out.is_dir():
        raise ConfigError(f"annotate: OUT {str(out)!r}: is a folder; expected the name of a file")
    if out.exists():
        if out.samefile(recording):
            raise ConfigError(
                f"annotate: OUT {str(out)!r}: is the recording itself; expected another name"
            )
        if not force:
            raise ConfigError(
                f"annotate: OUT {str(out)!r}: exists; expected another name, or --force to replace"
                " it"
            )
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"annotate: OUT {str(out)!r}: this user may not write in {out.parent}")


def _span(wishes: Wishes) -> Span:
    start_s = 0.0 if wishes.start is None else seconds_of(wishes.start, "--start")
    end_s = None if wishes.end is None else seconds_of(wishes.end, "--end")
    if end_s is not None and end_s <= start_s:
        raise ConfigError(f"--end {wishes.end!r}: expected a time after --start, {start_s:g} s")
    return Span(round(start_s * 1e9), None if end_s is None else round(end_s * 1e9))


def _length_s(video: VideoReader, span: Span) -> float | None:
    """Return how many seconds are to be done; None if the file does not state its length.

    Raises:
        ConfigError: the recording ends before ``span``.
    """
    length_ns = video.duration_ns
    if length_ns is None:
        return None
    if span.start_ns >= length_ns:
        raise ConfigError(
            f"--start {span.start_ns / 1e9:g}s: the recording has {length_ns / 1e9:.3f} s"
        )
    end_ns = length_ns if span.end_ns is None else min(length_ns, span.end_ns)
    return (end_ns - span.start_ns) / 1e9
