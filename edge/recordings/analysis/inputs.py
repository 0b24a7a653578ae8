"""Finds the recordings that are to be analysed: video files, and folders of pictures or videos."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edge.errors import ConfigError
from edge.vision.sources.images import SUFFIXES as PICTURE_SUFFIXES
from edge.vision.sources.images import list_pictures

VIDEO_SUFFIXES: Final = (
    ".3gp", ".asf", ".avi", ".flv", ".h264", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
"""Files of a folder that are videos. A file that is named itself may have any suffix."""

_ADDRESS: Final = re.compile(
    r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE
)  # a path has lost the second stroke
_NAMED_KINDS: Final = 5

Kind = Literal["video", "pictures"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is there and can be opened; whether it can be decoded is not known yet.

    Attributes:
        path: of the video file, or of the folder of pictures; absolute.
        kind: which of them it is.
        name: of the folder of its results.
        bytes: its size.
    """

    path: Path
    kind: Kind
    name: str
    bytes: int


def find_recordings(arguments: Sequence[Path]) -> list[Recording]:
    """Return the recordings that the arguments name, in their order, each once.

    A folder of videos stands for all of them, in the order of their names; one of pictures is one
    recording. Folders within it are not searched. The name of a recording is that of its file
    without suffix; where two would have the same, that of the file.

    Raises:
        ConfigError: an argument is no file or folder that this user can read, a folder holds no
            recording, or videos as well as pictures, or two recordings have the same name.
    """
    found: dict[Path, Kind] = {}
    for argument in arguments:
        for path, kind in _expand(argument):
            found.setdefault(path, kind)
    stems = Counter(_stem(path, kind) for path, kind in found.items())
    recordings: list[Recording] = []
    by_name: dict[str, Path] = {}
    for path, kind in found.items():
        stem = _stem(path, kind)
        name = stem if stems[stem] == 1 else path.name.lstrip(".")
        if (other := by_name.setdefault(name, path)) != path:
            raise ConfigError(
                f"{path}: has the same name as {other}, and so have their results; analyse them"
                " into two folders"
            )
        recordings.append(Recording(path, kind, name, size_of(path, kind)))
    return recordings


def _expand(argument: Path) -> Iterable[tuple[Path, Kind]]:
    """Return the recordings of one argument."""
    text = str(argument)
    if (
        (_ADDRESS.match(text) and not os.path.exists(argument))
        or text.startswith("/dev/")
        or text == "picamera"
    ):
        raise ConfigError(
            "a camera or an address is no recording; expected a video file or a folder (affect-edge"
            " run reads cameras)"
        )
    path = argument.absolute()
    if os.path.isdir(path):  # unlike Path, for any error
        return _in_folder(path)
    _require_readable(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise ConfigError(
            f"{path}: is a picture; expected a video, or the folder of the pictures (one picture:"
            " affect-edge annotate --still, or Reader.picture in Python)"
        )
    return [(path, "video")]


def _in_folder(folder: Path) -> list[tuple[Path, Kind]]:
    try:
        pictures, others = list_pictures(str(folder))
        videos = [Path(entry.path) for entry in os.scandir(folder) if _is_video(entry)]
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be listed: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("source.path ")) from error
    if videos and pictures:
        raise ConfigError(
            f"{folder}: holds {len(videos)} videos and {len(pictures)} pictures; expected one kind:"
            " name the videos, or move the pictures into a folder of their own"
        )
    if not videos and not pictures:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_NAMED_KINDS))
        raise ConfigError(
            f"{folder}: no recording in it{f' ({kinds})' if kinds else ''}; expected videos such as"
            " .mp4, .mkv or .avi, or pictures such as .png or .jpg; folders within it are not"
            " searched"
        )
    if pictures:
        _require_utf8(folder)
        return [(folder, "pictures")]
    videos.sort(key=lambda path: path.name)
    for path in videos:
        _require_readable(path)
    return [(path, "video") for path in videos]


def _is_video(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry of a folder is a video, or a link in its place that leads nowhere."""
    if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in VIDEO_SUFFIXES:
        return False
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True  # it is named as one that cannot be read, and not left out in silence


def _require_utf8(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{str(path)!a}: its name is not UTF-8; rename it") from error


def _require_readable(path: Path) -> None:
    _require_utf8(path)
    try:
        if path.is_file():
            with open(path, "rb"):
                return
        reason = "not a regular file" if path.exists() else "no such file or folder"
    except OSError as error:
        reason = str(error.strerror)
    raise ConfigError(f"{path}: {reason}; expected a video file, or a folder of videos or pictures")


def _stem(path: Path, kind: Kind) -> str:
    name = path.stem if kind == "video" else path.name
    return name.lstrip(".") or "recording"


def size_of(path: Path, kind: Kind) -> int:
    """Return the bytes of a recording; what cannot be looked at counts 0.

    Raises:
        ConfigError: the folder of pictures cannot be listed.
    """
    paths = [path] if kind == "video" else list_pictures(str(path))[0]
    return sum(map(_file_size, paths))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link to nothing: refused when its turn comes
        return 0
