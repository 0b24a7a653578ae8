"""A folder of pictures, in the order in which a person would count them."""

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Final, Self

from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.validation import replace_surrogates
from edge.vision.sources.decode import silence_opencv
from edge.vision.sources.depth import StreamDepth
from edge.vision.sources.picture_file import PictureFile, is_deep_png_or_tiff
from edge.vision.values import Frame, Luma

SUFFIXES: Final = (
    ".apng", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip

_MEASURED_FILES: Final = 8  # spread over the folder, to measure the depth of 16-bit pictures
_NAMED_KINDS: Final = 10  # of what is left out; the rest is counted together


class Images:
    """The pictures of a folder as frames, ``1 / rate_hz`` apart on the clock "media".

    Numbers in names count: ``frame_2.png`` comes before ``frame_10.png``. Every picture of a file
    is a frame. A picture that cannot be decoded is refused, and its index is not reused: an index
    is the position among all pictures. Hidden files are skipped; other files that are no pictures
    are counted in ``details``.

    Args:
        folder: path of the folder.
        rate_hz: pictures a second.
        first_index: index of the first frame.
        bits: effective depth of pictures with 16 bits; None: measured by their largest value.
    """

    live = False

    def __init__(
        self, folder: str, rate_hz: float, first_index: int = 0, bits: int | None = None
    ) -> None:
        self._folder = folder
        self._rate_hz = rate_hz
        self._first_index = first_index
        self._bits = bits
        self._depth = StreamDepth(bits)
        self._next = 0
        self._paths: list[Path] = []
        self._next_path = 0
        self._file: PictureFile | None = None
        self._page = 0
        self.expected_hz: float | None = rate_hz
        self.details: dict[str, object] | None = None

    def __enter__(self) -> Self:
        """List the folder, and measure the depth of its pictures.

        Raises:
            ConfigError: it is not a folder, cannot be listed, or contains no picture.
        """
        silence_opencv()
        self._paths, left_out = list_pictures(self._folder)
        shown = _most_common(left_out)
        if not self._paths:
            found = ", ".join(f"{count} {kind}" for kind, count in shown.items())
            raise ConfigError(
                f"source.path {self._folder!r}: no pictures in it{f' ({found})' if found else ''};"
                f" expected files ending in {', '.join(SUFFIXES)}"
            )
        if self._bits is None:
            self._measure_depth()
        self.details = {
            "files": len(self._paths),
            "left_out": shown,
            "bits": self._depth.bits or None,
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._paths = []
        self._file = None

    def read(self) -> Frame:
        """Return the next picture; see ``edge.vision.sources.Source``."""
        began_ns = monotonic_ns()
        file, luma = self._next_picture()
        number = self._next
        self._next += 1
        return Frame(
            luma,
            index=self._first_index + number,
            sensor_ns=round(number * 1e9 / self._rate_hz),
            clock="media",
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(began_ns),
            file=file.name,
            page=None if file.is_single else self._page,
        )

    def _next_picture(self) -> tuple[PictureFile, Luma]:
        """Return the next picture and its file.

        Raises:
            EndOfStream: there is none.
            FrameRefused: it cannot be read; it has taken a number.
        """
        try:
            while True:
                if self._file is None:
                    if self._next_path >= len(self._paths):
                        raise EndOfStream(self._folder)
                    self._next_path += 1
                    self._page = 0
                    self._file = PictureFile(self._paths[self._next_path - 1], self._depth)
                self._page += 1
                luma = self._file.read()
                if luma is not None:
                    file = self._file
                    if file.is_single:
                        self._file = None
                    return file, luma
                self._file = None
        except FrameRefused:
            self._next += 1
            raise

    def _measure_depth(self) -> None:
        """Measure the depth of 16-bit pictures on some that are spread over the folder."""
        step = max(1, len(self._paths) // _MEASURED_FILES)
        for path in self._paths[::step][:_MEASURED_FILES]:
            if is_deep_png_or_tiff(path):
                try:
                    PictureFile(path, self._depth).read()
                except FrameRefused:  # reported when its turn comes
                    continue


def list_pictures(folder: str) -> tuple[list[Path], Counter[str]]:
    """Return the pictures of a folder in their order, and the number of others by suffix or kind.

    Raises:
        ConfigError: it is not a folder, or cannot be listed.
    """
    try:
        entries = [each for each in os.scandir(folder) if not each.name.startswith(".")]
    except OSError as error:
        raise ConfigError(
            f"source.path {folder!r}: {error.strerror}; expected a folder of pictures"
        ) from error
    paths: list[Path] = []
    left_out: Counter[str] = Counter()
    for entry in entries:
        if kind := _kind_left_out(entry):
            left_out[kind] += 1
        else:
            paths.append(Path(entry.path))
    return sorted(paths, key=lambda path: _counting_order(path.name)), left_out


def read_grey(path: Path, depth: StreamDepth | None = None) -> Luma:
    """Return the first picture of a file as grey levels, uint8 (height, width).

    It is rotated by its EXIF tag; transparency is ignored.

    Args:
        path: the file.
        depth: effective depth of pictures with 16 bits; None: measured by their largest value.

    Raises:
        FrameRefused: it cannot be read; one line that names the file.
    """
    file = PictureFile(path, depth or StreamDepth(None))
    luma = file.read()
    if luma is None:
        raise FrameRefused(f"{file.name}: holds no picture")
    return luma


def _kind_left_out(entry: "os.DirEntry[str]") -> str:
    """Return what an entry of the folder is, if it is no picture; empty for a picture."""
    suffix = Path(entry.name).suffix.lower()
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing: refused when its turn comes
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    if not stat.S_ISREG(mode):
        return "device"
    return "" if suffix in SUFFIXES else replace_surrogates(suffix) or "without suffix"


def _most_common(kinds: Counter[str]) -> dict[str, int]:
    shown = dict(sorted(kinds.most_common(_NAMED_KINDS)))
    if rest := kinds.total() - sum(shown.values()):
        shown["other"] = rest
    return shown


def _counting_order(name: str) -> tuple[list[tuple[str, int]], str]:
    """Return a key that sorts numbers within names by their value."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", os.path.splitext(name)[0])
    return [(text, int(digits or -1)) for text, digits in parts], name
