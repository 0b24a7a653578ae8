"""``affect-edge annotate``: checks what was asked for before anything is computed, and does it."""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.descriptors import report_line
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, ConfigError, InferenceError
from edge.files.durable import require_place
from edge.recordings.analysis.participants_file import read_participants
from edge.recordings.annotation.annotate import Span, Summary, annotate_video
from edge.recordings.annotation.drawing.canvas import require_pillow
from edge.recordings.annotation.log_overlays import overlays_from
from edge.recordings.annotation.overlays import NewAnalysis, Overlays
from edge.recordings.annotation.still import SUFFIXES as STILLS
from edge.recordings.annotation.still import still_of_picture, still_of_video, write_picture
from edge.recordings.annotation.video_reader import VideoReader, require_av
from edge.recordings.interruption import Interrupted
from edge.recordings.progress import ProgressBar
from edge.recordings.purpose import purpose_of
from edge.recordings.reader import Reader
from edge.recordings.settings import Settings
from edge.recordings.times import seconds_of
from edge.vision.sources.images import SUFFIXES as PICTURES
from edge.vision.sources.images import list_pictures

_VIDEOS: Final = (".mp4", ".m4v")
_STILL_PICTURES: Final = frozenset(PICTURES) - {".apng", ".gif", ".webp"}  # which may be moving
_ADDRESSES: Final = ("/dev/", "rtsp:", "rtsps:", "http:", "https:")


@dataclass(frozen=True, slots=True)
class AnnotateOptions:
    """The arguments of the command, as they were given."""

    recording: Path
    out: Path
    still: bool = False
    at: str | None = None
    start: str | None = None
    end: str | None = None
    log: Path | None = None
    participants: Path | None = None
    purpose: str | None = None
    config: Path | None = None
    settings: tuple[str, ...] = ()
    force: bool = False


def run_annotate(options: AnnotateOptions) -> int:
    """Run the command; return its exit code: 1 if a recording or some pictures are damaged.

    78: none of the pictures of a folder can be read.

    Raises:
        ConfigError: an argument is wrong; nothing was written.
        ModelError: a network cannot be loaded.
        LogFileError: the new file cannot be written.
    """
    require_pillow()
    _check_recording(options)
    if not options.still:
        return _annotate(options)
    if options.start is not None or options.end is not None:
        raise ConfigError("--still: takes no --start and --end; expected --at for one moment")
    is_video = options.recording.is_file() and options.recording.suffix.lower() not in PICTURES
    return _still_of_video(options) if is_video else _stills(options)


def _annotate(options: AnnotateOptions) -> int:
    if options.at is not None:
        raise ConfigError("--at: is the moment of a still; expected --still, or --start and --end")
    require_av()
    _check_out(options, options.out, _VIDEOS)
    span = _span(options)
    codes = read_participants(options.participants).codes_of(options.recording.name)
    overlays = _overlays(options)
    with VideoReader(options.recording) as video:
        total_s = _length_s(video, span)
    with ProgressBar(options.recording.name, total_s) as progress:
        summary = annotate_video(
            options.recording,
            options.out,
            overlays,
            span=span,
            codes=codes,
            on_progress=lambda ns: progress.show((ns - span.start_ns) / 1e9),
        )
    report_line(f"{options.out}: {_words(summary)}")
    if unknown := sorted(set(codes) - summary.faces):
        tracks = ", ".join(map(str, unknown))
        report_line(f"{options.recording.name}: no track {tracks}, which --participants names")
    return EXIT_FAILURE if summary.damage else EXIT_DONE


def _still_of_video(options: AnnotateOptions) -> int:
    require_av()
    _check_out(options, options.out, STILLS)
    if options.at is None:
        raise ConfigError(
            f"--still: {options.recording.name} is a video; expected --at for its moment, such as"
            " --at 12.5s"
        )
    at_s = seconds_of(options.at, "--at")
    codes = read_participants(options.participants).codes_of(options.recording.name)
    overlays = _overlays(options)
    with ProgressBar(options.recording.name, at_s) as progress:
        board, faces = still_of_video(
            options.recording,
            round(at_s * 1e9),
            overlays,
            codes,
            lambda ns: progress.show(ns / 1e9),
        )
    write_picture(board, options.out)
    report_line(f"{options.out}: {_count(faces, 'face')}")
    return EXIT_DONE


def _stills(options: AnnotateOptions) -> int:
    """Make the stills of a picture, or of all pictures of a folder."""
    if options.log is not None or options.at is not None:
        raise ConfigError("--still: pictures take no --from and --at; expected a video for these")
    pairs = [(options.recording, options.out)]
    if options.recording.is_dir():
        pairs = _pairs_of_folder(options)
    else:
        _check_out(options, options.out, STILLS)
    participants = read_participants(options.participants)
    codes = {picture: participants.codes_of(picture.name) for picture, _ in pairs}
    purpose = purpose_of(options.purpose, options.config, options.settings)
    source = Settings(options.config, options.settings, purpose).of_picture().source
    reader = Reader(config=options.config, settings=options.settings, purpose=purpose)
    faces = failed = refused = made = 0
    try:
        with ProgressBar(options.recording.name, len(pairs)) as progress:
            for number, (picture, out) in enumerate(pairs, 1):
                progress.show(number - 1)
                try:
                    board, found = still_of_picture(
                        picture, reader, codes[picture], source.rotate_deg, source.flip
                    )
                except (ConfigError, InferenceError) as error:
                    if len(pairs) == 1:
                        raise
                    report_line(str(error))
                    failed += 1
                    refused += isinstance(error, ConfigError)
                    continue
                write_picture(board, out)
                made += 1
                faces += found
    except SystemExit as end:
        if made:
            words = f"{made + failed} of {len(pairs)} pictures are done; --force starts again"
            raise Interrupted(end, words) from None
        raise
    unread = f"; {_count(failed, 'picture')} could not be read" if failed else ""
    report_line(f"{options.out}: {_count(made, 'still')}, {_count(faces, 'face')}{unread}")
    if not failed:
        return EXIT_DONE
    return EXIT_CONFIG if refused == len(pairs) else EXIT_FAILURE


def _pairs_of_folder(options: AnnotateOptions) -> list[tuple[Path, Path]]:
    """Return the pictures of a folder, and the still to make of each; make their folder.

    Raises:
        ConfigError: there are none, or the stills cannot be written there.
    """
    folder, out = options.recording, options.out
    pictures = list_pictures(str(folder))[0]
    if not pictures:
        raise ConfigError(
            f"annotate {str(folder)!r}: no pictures in it; expected files ending in"
            f" {', '.join(PICTURES)}"
        )
    if os.path.lexists(out) and not os.path.isdir(out):
        raise ConfigError(f"annotate: OUT {str(out)!r}: is a file; expected a folder, as IN is one")
    if os.path.isdir(out) and out.samefile(folder):
        raise ConfigError(
            f"annotate: OUT {str(out)!r}: is the folder of the pictures; expected another one"
        )
    stems = Counter(picture.stem for picture in pictures)
    pairs = [
        (picture, out / f"{picture.stem if stems[picture.stem] == 1 else picture.name}.png")
        for picture in pictures
    ]
    try:
        out.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"annotate: OUT {str(out)!r}: {error.strerror}") from error
    for _, still in pairs:
        _check_out(options, still, STILLS)
    return pairs


def _overlays(options: AnnotateOptions) -> Overlays:
    if options.log is None:
        purpose = purpose_of(options.purpose, options.config, options.settings)
        settings = Settings(options.config, options.settings, purpose)
        return NewAnalysis(settings.of_video(options.recording))
    if not os.path.exists(options.log):
        raise ConfigError(f"--from {options.log}: no such log")
    if options.config is not None or options.settings or options.purpose is not None:
        raise ConfigError(
            "--from: takes no --purpose, --config and --set: nothing is analysed; leave them out"
        )
    return overlays_from(options.log, options.recording, report_line)


def _check_recording(options: AnnotateOptions) -> None:
    recording, text = options.recording, str(options.recording)
    expected = "expected a picture, a folder of pictures or a video" if options.still else (
        "expected a video file"
    )  # fmt: skip
    if text.startswith(_ADDRESSES) or text in ("picamera", "v4l2", "stream"):
        raise ConfigError(
            f"annotate {text!r}: is a camera, and its frames never leave memory; expected a"
            " recording that you have as a file"
        )
    try:
        mode = recording.stat().st_mode
    except FileNotFoundError as error:
        raise ConfigError(f"annotate {text!r}: no such file; {expected}") from error
    except OSError as error:
        raise ConfigError(f"annotate {text!r}: {error.strerror}; {expected}") from error
    if stat.S_ISDIR(mode):
        if not options.still:
            raise ConfigError(
                f"annotate {text!r}: is a folder; {expected}, or --still for pictures"
            )
        return
    if not stat.S_ISREG(mode):
        raise ConfigError(f"annotate {text!r}: not a regular file; {expected}")
    if not os.access(recording, os.R_OK):
        raise ConfigError(f"annotate {text!r}: not readable by this user")
    if not options.still and recording.suffix.lower() in _STILL_PICTURES:
        raise ConfigError(f"annotate {text!r}: is a picture; {expected}, or --still")


def _check_out(options: AnnotateOptions, out: Path, suffixes: Sequence[str]) -> None:
    if out.suffix.lower() not in suffixes:
        raise ConfigError(
            f"annotate: OUT {str(out)!r}: expected a name that ends in {' or '.join(suffixes)}"
        )
    require_place(out, f"annotate: OUT {str(out)!r}")
    try:
        out.lstat()
        is_there = True
    except FileNotFoundError:
        is_there = False
    except OSError as error:  # such as a name that is too long: said now, and not after hours
        raise ConfigError(f"annotate: OUT {str(out)!r}: {error.strerror}") from error
    if os.path.isdir(out):
        raise ConfigError(f"annotate: OUT {str(out)!r}: is a folder; expected the name of a file")
    if is_there:
        if os.path.exists(out) and out.samefile(options.recording):
            raise ConfigError(
                f"annotate: OUT {str(out)!r}: is the recording itself; expected another name"
            )
        if not options.force:
            raise ConfigError(
                f"annotate: OUT {str(out)!r}: exists; expected another name, or --force to replace"
                " it"
            )


def _span(options: AnnotateOptions) -> Span:
    start_s = 0.0 if options.start is None else seconds_of(options.start, "--start")
    end_s = None if options.end is None else seconds_of(options.end, "--end")
    if end_s is not None and end_s <= start_s:
        raise ConfigError(f"--end {options.end!r}: expected a time after --start, {start_s:g} s")
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


def _words(summary: Summary) -> str:
    words = [f"{_count(summary.pictures, 'picture')}, {_count(len(summary.faces), 'track')}"]
    if summary.without:
        words.append(f"{_count(summary.without, 'picture')} without results")
    if summary.damage:
        words.append(f"DAMAGED: {', '.join(summary.damage)}")
    return "; ".join(words)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
