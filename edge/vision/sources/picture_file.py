"""Decodes picture files to grey: every page, every depth.

A file of several pictures (TIFF, animated WebP, PNG or GIF) gives all of them; reduced copies and
masks of a TIFF are no pictures of their own. Values of more than 8 bits are reduced by the maximum
in the header (PGM), or by the effective depth of the folder (``edge.vision.sources.depth``).
"""

import re
import struct
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameRefused
from edge.files.regular import open_regular, read_regular
from edge.validation import replace_surrogates
from edge.vision.sources.depth import StreamDepth, to_eight_bits
from edge.vision.sources.exif import orientation, upright
from edge.vision.sources.native_lines import NativeLines
from edge.vision.sources.tiff_pages import tiff_pages
from edge.vision.values import Luma

_GREY: Final = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ANIMATION_CHUNK: Final = 8  # pictures decoded at once

Bytes = NDArray[np.uint8]


class PictureFile:
    """The pictures of one file. Not thread-safe.

    Args:
        path: the file.
        depth: effective depth of deep pictures; of the whole folder, so that they look alike.

    Raises:
        FrameRefused: the file cannot be read; one line that names it.
    """

    def __init__(self, path: Path, depth: StreamDepth) -> None:
        self.name = replace_surrogates(path.name)
        self._depth = depth
        self._content = _read_file(path, self.name)
        self._pages = tiff_pages(self._content.data)
        self._is_animated = _is_animated(self._content)
        self._orientation = orientation(self._content.tobytes()) if self._is_animated else 1
        self._decoded: list[Luma] = []  # pictures of an animation that were decoded ahead
        self._next = 0

    @property
    def is_single(self) -> bool:
        """Whether the file holds one picture."""
        return not self._is_animated and len(self._pages) <= 1

    def read(self) -> Luma | None:
        """Return the next picture, uint8 (height, width), rotated by its EXIF tag; None at the end.

        Transparency is ignored.

        Raises:
            FrameRefused: it cannot be decoded; one line that names the file.
        """
        number = self._next
        self._next += 1
        if self._is_animated:
            return self._animation_picture(number)
        if number >= max(1, len(self._pages)):
            return None
        with NativeLines() as lines:
            try:
                if self.is_single:
                    picture = cv2.imdecode(self._content, _GREY)
                else:
                    page = self._pages[number].number
                    pictures = cv2.imdecodemulti(self._content, _GREY, range=(page, page + 1))[1]
                    picture = pictures[0] if pictures else None
            except cv2.error as error:
                raise self._refusal(number, "too large to decode") from error
        if picture is None:
            reason = f"cannot be decoded{f' ({lines.text[0]})' if lines.text else ''}"
            raise self._refusal(number, reason)
        return self._to_luma(number, picture)

    def _animation_picture(self, number: int) -> Luma | None:
        if not self._decoded:
            if not hasattr(cv2, "imdecodeanimation"):
                raise self._end_of_animation(number, "needs a newer OpenCV")
            try:
                with NativeLines():
                    found, animation = cv2.imdecodeanimation(
                        self._content, start=number, count=_ANIMATION_CHUNK
                    )
            except cv2.error as error:
                raise self._end_of_animation(number, "too large to decode") from error
            if not found:
                raise self._end_of_animation(number, "cannot be decoded")
            self._decoded = [
                upright(grey(picture), self._orientation) for picture in animation.frames
            ]
        return self._decoded.pop(0) if self._decoded else None

    def _end_of_animation(self, number: int, reason: str) -> FrameRefused:
        self._is_animated, self._pages, self._next = False, [], 1
        return self._refusal(number, f"its animation {reason}")

    def _to_luma(self, number: int, picture: NDArray[np.generic]) -> Luma:
        if picture.dtype == np.uint8:
            levels = _graymap_maximum(self._content)
            # OpenCV scales graymaps in ASCII (P2) itself
            if levels is None or levels == 255 or self._content[1] == ord("2"):
                return np.ascontiguousarray(picture, np.uint8)
            return np.asarray(cv2.convertScaleAbs(picture.astype(np.uint8), alpha=255 / levels))
        if picture.dtype != np.uint16:
            reason = f"values of type {picture.dtype}; expected whole numbers of 8 or 16 bits"
            raise self._refusal(number, reason)
        deep = picture.astype(np.uint16, copy=False)
        levels = _graymap_maximum(self._content)
        if levels is None:
            luma = self._depth.reduce(deep)
            # OpenCV inverts pages of 8 bits only
            is_inverted = bool(self._pages) and self._pages[number].white_is_zero
            return np.asarray(cv2.bitwise_not(luma)) if is_inverted else luma
        if levels & (levels + 1) == 0:  # all bits set
            return to_eight_bits(deep, levels.bit_length())
        return np.asarray(cv2.convertScaleAbs(deep, alpha=255 / levels))

    def _refusal(self, number: int, reason: str) -> FrameRefused:
        page = "" if self.is_single else f", page {number + 1}"
        return FrameRefused(f"{self.name}{page}: {reason}")


def is_deep_png_or_tiff(path: Path) -> bool:
    """Return whether a file is a PNG with 16 bits, or a TIFF, whose header does not say."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return True
    try:
        with open(path, "rb", opener=open_regular) as file:
            head = file.read(25)
    except OSError:
        return False
    return head.startswith(_PNG) and head[24:25] == b"\x10"


def _read_file(path: Path, name: str) -> Bytes:
    try:
        content = np.frombuffer(read_regular(path), np.uint8)
    except OSError as error:
        raise FrameRefused(f"{name}: {error.strerror}") from error
    if not content.size:
        raise FrameRefused(f"{name}: an empty file")
    return content


def grey(picture: NDArray[np.generic]) -> Luma:
    """Return a picture in 8 bits, grey, BGR or BGRA, as grey levels; transparency is ignored."""
    code = {1: None, 3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[
        picture.shape[2] if picture.ndim == 3 else 1
    ]
    eight_bits = np.ascontiguousarray(picture, np.uint8)
    if code is None:
        return eight_bits.reshape(eight_bits.shape[:2])
    return np.asarray(cv2.cvtColor(eight_bits, code))


def _graymap_maximum(content: Bytes) -> int | None:
    """Return the largest value that the header of a graymap (PGM) states; None for other files."""
    head = content[:512].tobytes()
    if head[:2] not in (b"P2", b"P5"):
        return None
    numbers = re.findall(rb"[0-9]+", re.sub(rb"#[^\n]*", b"", head[2:]))
    return int(numbers[2]) if len(numbers) > 2 and 0 < int(numbers[2]) < 65536 else None


def _is_animated(content: Bytes) -> bool:
    head = content[:64].tobytes()
    if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X":
        return bool(head[20] & 0x02) if len(head) > 20 else False
    if head.startswith((b"GIF87a", b"GIF89a")):
        return True
    return head.startswith(_PNG) and _has_animation_chunk(content)


def _has_animation_chunk(content: Bytes) -> bool:
    """Return whether a PNG has the chunk acTL before its first pixels."""
    at = len(_PNG)
    while at + 8 <= content.size:
        length, kind = struct.unpack(">I4s", content[at : at + 8].tobytes())
        if kind in (b"acTL", b"IDAT"):
            return bool(kind == b"acTL")
        at += length + 12
    return False
