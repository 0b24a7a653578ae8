"""What OpenCV before 4.13 does not decode, refused by name.

Its FFmpeg scales every picture as if it had the size of the first one: after a change of size it
returns garbage or the same picture for ever, and reports success. No property shows the change; the
packets of H.264 do. Such an OpenCV is needed beside tflite-runtime, which works with NumPy 1 only
(docs/platforms.md).
"""

import re
from typing import Any, Final

import cv2

from edge.errors import ConfigError
from edge.vision.sources.h264 import PictureFormat, parse_header

_FIXED: Final = (4, 13)
_AHEAD: Final = 64
"""Packets that are looked at before the first picture: more than a decoder holds back."""

_EXPECTED: Final = (
    "OpenCV 4.13 or newer, which needs NumPy 2: install affect-edge[litert] in an environment"
    " without tflite-runtime"
)


def garbles_size_changes() -> bool:
    """Return whether this OpenCV garbles pictures after a change of size."""
    version = tuple(int(number) for number in re.findall(r"\d+", cv2.__version__)[:2])
    return version < _FIXED


def refuse_stream() -> None:
    """Check that this OpenCV can decode a network camera, which may change its size at any time.

    Raises:
        ConfigError: it cannot.
    """
    if garbles_size_changes():
        raise ConfigError(
            f"source.kind stream: OpenCV {cv2.__version__} garbles the pictures of network cameras"
            f" after a change of size; expected {_EXPECTED}"
        )


class SizeGuard:
    """Reads the packets of a video file ahead of its decoder, and refuses a change of size.

    Costs a second pass over the file, without decoding. Not thread-safe.
    """

    def __init__(self, packets: Any, path: str, header: PictureFormat | None) -> None:
        """Look at the first packets.

        Args:
            packets: a ``cv2.VideoCapture`` of the file that delivers packets.
            path: of the file, for messages.
            header: of the stream, from the decoder.

        Raises:
            ConfigError: the file is not H.264, or changes its size.
        """
        if header is None:
            raise ConfigError(
                f"source.path {path!r}: OpenCV {cv2.__version__} garbles pictures after a change of"
                " size, which only H.264 shows beforehand; expected H.264 (convert: ffmpeg -i IN"
                f" -c:v libx264 OUT), or {_EXPECTED}"
            )
        self._path, self._geometry = path, header.geometry
        self._packets = packets
        for _ in range(_AHEAD):
            self.advance()

    def advance(self) -> None:
        """Look at one more packet; call once per picture.

        Raises:
            ConfigError: it begins pictures of another size.
        """
        if not self._packets.grab():
            return
        found, packet = self._packets.retrieve()
        header = parse_header(packet.tobytes()) if found and packet is not None else None
        if header is not None and header.geometry != self._geometry:
            raise ConfigError(
                f"source.path {self._path!r}: its pictures change their size, and OpenCV"
                f" {cv2.__version__} garbles them; expected one size (convert: ffmpeg -i IN -vf"
                f" scale=WIDTH:HEIGHT OUT), or {_EXPECTED}"
            )

    def close(self) -> None:
        """Close the file."""
        self._packets.release()
