"""Turns and mirrors the pictures of a source whose camera is mounted upside down or on its side."""

from dataclasses import replace
from typing import Final, Self

import cv2
import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.vision.sources.source import Source
from edge.vision.values import Frame, Luma

_ROTATIONS: Final = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_FLIPS: Final = {"horizontal": 1, "vertical": 0}


def turned(picture: Luma, rotate_deg: int, flip: str) -> Luma:
    """Return a picture rotated clockwise, then flipped.

    Args:
        picture: uint8 (height, width).
        rotate_deg: 0, 90, 180 or 270.
        flip: ``none``, ``horizontal`` or ``vertical``.

    Returns:
        uint8, contiguous; (width, height) for 90 and 270 degrees.
    """
    if rotate_deg:
        picture = np.asarray(cv2.rotate(picture, _ROTATIONS[rotate_deg]))
    if flip != "none":
        picture = np.asarray(cv2.flip(picture, _FLIPS[flip]))
    return picture


class Oriented:
    """A source whose frames are turned; everything else is that of the source.

    The time for it counts as capture. Frames turned by 90 or 270 degrees have no small picture. See
    ``edge.vision.sources.Source``.
    """

    def __init__(self, source: Source, rotate_deg: int, flip: str) -> None:
        self._source = source
        self._rotate_deg = rotate_deg
        self._flip = flip

    @property
    def live(self) -> bool:
        """See ``edge.vision.sources.Source``."""
        return self._source.live

    @property
    def expected_hz(self) -> float | None:
        """See ``edge.vision.sources.Source``."""
        return self._source.expected_hz

    @property
    def details(self) -> dict[str, object] | None:
        """See ``edge.vision.sources.Source``."""
        return self._source.details

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._source.__exit__(*error)

    def read(self) -> Frame:
        """Return the next frame, turned; see ``edge.vision.sources.Source``."""
        frame = self._source.read()
        began_ns = monotonic_ns()
        small = frame.small if self._rotate_deg in (0, 180) else None
        return replace(
            frame,
            luma=turned(frame.luma, self._rotate_deg, self._flip),
            small=None if small is None else turned(small, self._rotate_deg, self._flip),
            captured_ns=monotonic_ns(),
            capture_ms=frame.capture_ms + elapsed_ms(began_ns),
        )
