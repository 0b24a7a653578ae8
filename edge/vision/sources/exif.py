"""Turns the pictures of an animation by the orientation in its EXIF block.

OpenCV does so for still pictures only. Formats: PNG (chunk ``eXIf``), WebP (chunk ``EXIF``), EXIF
2.3 (tag 0x0112).
"""

import struct
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from edge.vision.values import Luma

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ORIENTATION: Final = 0x0112
_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}


def orientation(content: bytes) -> int:
    """Return the orientation of a PNG or WebP file, 1 to 8; 1 (upright) if it states none."""
    for kind, start, length in _chunks(content):
        if kind in (b"eXIf", b"EXIF"):
            block = content[start : start + length].removeprefix(b"Exif\0\0")
            try:
                return _orientation_of_block(block)
            except struct.error:  # damaged
                return 1
    return 1


def upright(picture: Luma, stated: int) -> Luma:
    """Return a picture, uint8 (height, width), turned and mirrored by its stated orientation."""
    if stated in (5, 6, 7, 8):
        picture = np.asarray(cv2.transpose(picture))
    mirrored = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    if stated in mirrored:
        picture = np.asarray(cv2.flip(picture, mirrored[stated]))
    return np.ascontiguousarray(picture)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of each chunk of a PNG or WebP file; nothing for others."""
    if content.startswith(_PNG):
        at, form, padding = len(_PNG), ">I4s", 4  # a checksum follows
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        at, form, padding = 12, "<4sI", 0
    else:
        return
    while at + 8 <= len(content):
        first, second = struct.unpack_from(form, content, at)
        kind, length = (second, first) if form == ">I4s" else (first, second)
        yield kind, at + 8, length
        # chunks of WebP have an even length
        at += 8 + length + (padding or length % 2)


def _orientation_of_block(block: bytes) -> int:
    order = _BYTE_ORDERS.get(block[:2])
    if order is None:
        return 1
    (at,) = struct.unpack_from(order + "I", block, 4)
    (entries,) = struct.unpack_from(order + "H", block, at)
    for each in range(at + 2, at + 2 + 12 * entries, 12):
        if struct.unpack_from(order + "H", block, each) == (_ORIENTATION,):
            (value,) = struct.unpack_from(order + "H", block, each + 8)
            return value if 1 <= value <= 8 else 1
    return 1
