"""Asks a Video4Linux device what it is and which pixel formats it offers.

OpenCV reports only that it cannot open a device, not why. Numbers are those of
``linux/videodev2.h``.
"""

import fcntl
import os
import struct
from contextlib import suppress
from typing import Final

_QUERYCAP: Final = 0x80685600
_ENUM_FMT: Final = 0xC0405602
_CAPABILITY: Final = struct.Struct("=16s32s32s3I12x")
_FORMAT: Final = struct.Struct("=3I32s5I")
_CAPTURE_TYPES: Final = {1: 0x00000001, 9: 0x00001000}
"""Buffer types of single and multiple planes, and the capability bit of each."""
_HAS_DEVICE_CAPS: Final = 0x80000000
_FORMATS_MAX: Final = 64

DECODABLE: Final = frozenset(
    (
        *("GREY", "Y10", "Y12", "Y16"),
        *("YUYV", "UYVY", "NV12", "NV21", "YV12", "YU12", "411P"),
        *("BGR3", "RGB3", "XR24", "AR24"),
        *("BA81", "GBRG", "GRBG"),  # Bayer patterns, of 8 bits alone, and not RGGB
        *("MJPG", "JPEG", "S910"),
    )
)
"""The pixel formats that OpenCV converts, without the blanks at their ends."""


def offered_formats(path: str) -> list[str] | None:
    """Return the pixel formats in which a device delivers pictures, such as "YUYV".

    Empty for a device that delivers none, such as the metadata node of a USB camera. None if it
    cannot be asked: it is no Video4Linux device, or another program keeps it from being opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
        *_, of_all_nodes, of_this_node = _CAPABILITY.unpack(answer)
        capabilities = of_this_node if of_all_nodes & _HAS_DEVICE_CAPS else of_all_nodes
        names: list[str] = []
        for buffer_type, bit in _CAPTURE_TYPES.items():
            if capabilities & bit:
                names += _formats_of(descriptor, buffer_type)
        return names
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _formats_of(descriptor: int, buffer_type: int) -> list[str]:
    names: list[str] = []
    with suppress(OSError):  # EINVAL after the last one
        for index in range(_FORMATS_MAX):
            request = _FORMAT.pack(index, buffer_type, 0, b"", 0, 0, 0, 0, 0)
            code = _FORMAT.unpack(fcntl.ioctl(descriptor, _ENUM_FMT, request))[4]
            names.append((code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace"))
    return [name.strip() for name in names]
