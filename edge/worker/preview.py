"""Small pictures for the hub, twice a second, only while the preview is open.

The detect thread keeps a reference to its newest frame; the worker's main thread makes the picture
with the next heartbeat, so that no stage waits for it. While the preview is closed nothing is kept.
"""

import base64
from typing import Final

import cv2

from edge.link import PreviewPicture
from edge.vision.resize import resize_area
from edge.vision.values import Frame

BYTES_MAX: Final = 64 * 1024
"""Of a JPEG; a larger one, such as of noise, is made again with less quality, or left out."""

_QUALITIES: Final = (75, 40, 15, 5)


class PreviewMaker:
    """Makes the pictures. ``offer`` is for the detect thread, the others for the main thread."""

    def __init__(self) -> None:
        self._width_px = 0  # of the pictures; 0: closed
        self._newest: Frame | None = None

    def set_width(self, width_px: int) -> None:
        """Make pictures of this width from now on; 0: none, and forget the newest frame."""
        self._width_px = width_px
        if not width_px:
            self._newest = None

    def offer(self, frame: Frame) -> None:
        """Keep a reference to the newest frame while the preview is open."""
        if self._width_px:
            self._newest = frame

    def take(self) -> PreviewPicture | None:
        """Return the picture of the newest frame; None if there is no new one."""
        frame, self._newest = self._newest, None
        if frame is None or not self._width_px:
            return None
        height, width = frame.luma.shape
        shown = min(self._width_px, width)
        size = (shown, max(1, round(height * shown / width)))
        picture = resize_area(frame.luma, size)
        for quality in _QUALITIES:
            is_made, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if is_made and jpeg.size <= BYTES_MAX:
                return PreviewPicture(
                    index=frame.index,
                    width=size[0],
                    height=size[1],
                    jpeg=base64.b64encode(jpeg.tobytes()).decode("ascii"),
                )
        return None
