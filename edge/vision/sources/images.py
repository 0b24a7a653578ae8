"""A folder of pictures, sorted by name."""

import os
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.vision.sources.decode import silence_opencv
from edge.vision.values import Frame, Luma

SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp")


class Images:
    """The pictures of a folder as frames, ``1 / rate_hz`` apart on the clock "media".

    Hidden files and other file types are skipped. A picture that cannot be decoded is refused, and
    its index is not reused: an index is the position in the sorted folder.
    """

    live = False
    details = None

    def __init__(self, folder: str, rate_hz: float, first_index: int = 0) -> None:
        self._folder = folder
        self._rate_hz = rate_hz
        self._first_index = first_index
        self._next = 0
        self._paths: list[Path] = []
        self.expected_hz: float | None = rate_hz

    def __enter__(self) -> Self:
        """List the folder.

        Raises:
            ConfigError: it is not a folder, cannot be listed, or contains no picture.
        """
        silence_opencv()
        try:
            self._paths = sorted(
                entry
                for entry in Path(self._folder).iterdir()
                if entry.suffix.lower() in SUFFIXES
                and not entry.name.startswith(".")
                and (entry.is_file() or entry.is_symlink())
            )
        except OSError as error:
            raise ConfigError(
                f"source.path {self._folder!r}: {error.strerror}; expected a folder of pictures"
            ) from error
        if not self._paths:
            raise ConfigError(
                f"source.path {self._folder!r}: no pictures in it; expected files ending in"
                f" {', '.join(SUFFIXES)}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._paths = []

    def read(self) -> Frame:
        """Return the next picture; see ``edge.vision.sources.Source``."""
        if self._next >= len(self._paths):
            raise EndOfStream(self._folder)
        number, path = self._next, self._paths[self._next]
        self._next += 1
        began_ns = monotonic_ns()
        luma = read_grey(path)
        return Frame(
            luma,
            file=_shown(path.name),
            index=self._first_index + number,
            sensor_ns=round(number * 1e9 / self._rate_hz),
            clock="media",
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(began_ns),
        )


def _shown(name: str) -> str:
    """Return a file name as text that can be published; bytes that are not UTF-8 are replaced."""
    return os.fsencode(name).decode(errors="replace")


def read_grey(path: Path) -> Luma:
    """Return a picture file as grey levels, uint8 (height, width), rotated by its EXIF tag.

    16-bit values are reduced to their upper 8 bits; transparency is ignored.

    Raises:
        FrameRefused: it cannot be read; one line that names the file.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise FrameRefused(f"{path.name}: {error.strerror}; the picture is skipped") from error
    if not content.size:
        raise FrameRefused(f"{path.name}: an empty file; the picture is skipped")
    try:
        luma = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise FrameRefused(f"{path.name}: too large to decode; the picture is skipped") from error
    if luma is None:
        raise FrameRefused(f"{path.name}: cannot be decoded; the picture is skipped")
    return np.ascontiguousarray(luma)
