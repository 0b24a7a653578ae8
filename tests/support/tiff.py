"""A minimal writer of TIFF files with several pages, for what OpenCV's own does not write."""

import struct
from collections.abc import Sequence

import numpy as np


def tiff(
    pages: Sequence[np.ndarray],
    kinds: Sequence[int] | None = None,
    order: str = "<",
    *,
    white_is_zero: bool = False,
) -> bytes:
    """Return a TIFF of uncompressed grey pages.

    Args:
        pages: uint8 or uint16, (height, width).
        kinds: NewSubfileType of each page (1: a reduced copy, 4: a mask); 0 by default.
        order: ``<`` little-endian or ``>`` big-endian.
        white_is_zero: what the pages state; their values are written as they are.
    """
    content = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link_at = 4
    for page, kind in zip(pages, kinds or [0] * len(pages), strict=True):
        pixels_at = len(content)
        pixels = page.astype(page.dtype.newbyteorder(order)).tobytes()
        content += pixels + bytes(len(pixels) % 2)
        struct.pack_into(order + "I", content, link_at, len(content))
        tags = [
            (254, 4, kind),
            (256, 4, page.shape[1]),
            (257, 4, page.shape[0]),
            (258, 3, page.dtype.itemsize * 8),
            (259, 3, 1),  # not compressed
            (262, 3, 0 if white_is_zero else 1),
            (273, 4, pixels_at),
            (277, 3, 1),
            (278, 4, page.shape[0]),
            (279, 4, len(pixels)),
        ]
        content += struct.pack(order + "H", len(tags))
        for tag, form, value in tags:
            padded = (order + "HHIHH", (value, 0)) if form == 3 else (order + "HHII", (value,))
            content += struct.pack(padded[0], tag, form, 1, *padded[1])
        link_at = len(content)
        content += bytes(4)
    return bytes(content)
