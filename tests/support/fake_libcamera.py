"""The part of libcamera that the fake picamera2 needs: value types and modes of two sensors."""

from enum import Enum
from typing import Any

FULL = {"imx708_noir": (4608, 2592), "imx219": (3280, 2464)}


def _mode(
    size: tuple[int, int], bit_depth: int, fps: float, crop_limits: tuple[int, int, int, int]
) -> dict[str, Any]:
    return {"size": size, "bit_depth": bit_depth, "fps": fps, "crop_limits": crop_limits}


MODES = {
    "imx708_noir": [
        _mode((1536, 864), 10, 120.13, (768, 432, 3072, 1728)),
        _mode((2304, 1296), 10, 56.03, (0, 0, 4608, 2592)),
        _mode((4608, 2592), 10, 14.35, (0, 0, 4608, 2592)),
    ],
    "imx219": [
        _mode((640, 480), 10, 206.65, (1000, 752, 1280, 960)),
        _mode((1640, 1232), 10, 41.85, (0, 0, 3280, 2464)),
        _mode((1920, 1080), 10, 47.57, (680, 692, 1920, 1080)),
        _mode((3280, 2464), 10, 21.19, (0, 0, 3280, 2464)),
        _mode((1640, 1232), 8, 83.7, (0, 0, 3280, 2464)),
    ],
}


class ColorSpace:
    """libcamera.ColorSpace: its name only."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def Sycc(cls) -> "ColorSpace":  # noqa: N802  (libcamera's name)
        return cls("sYCC")


class Transform:
    """libcamera.Transform."""

    def __init__(self, hflip: int = 0, vflip: int = 0) -> None:
        self.hflip, self.vflip = int(hflip), int(vflip)


class AfModeEnum(Enum):
    Manual = 0
    Auto = 1
    Continuous = 2


class AfTriggerEnum(Enum):
    Start = 0
