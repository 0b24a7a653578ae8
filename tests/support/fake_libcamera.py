"""The part of libcamera that the fake picamera2 needs: values, and the modes of two sensors."""

from enum import Enum
from typing import Any

FULL = {"imx708_noir": (4608, 2592), "imx219": (3280, 2464)}
MODES: dict[str, list[dict[str, Any]]] = {
    "imx708_noir": [
        {
            "size": (1536, 864),
            "bit_depth": 10,
            "fps": 120.13,
            "crop_limits": (768, 432, 3072, 1728),
        },
        {"size": (2304, 1296), "bit_depth": 10, "fps": 56.03, "crop_limits": (0, 0, 4608, 2592)},
        {"size": (4608, 2592), "bit_depth": 10, "fps": 14.35, "crop_limits": (0, 0, 4608, 2592)},
    ],
    "imx219": [
        {"size": (640, 480), "bit_depth": 10, "fps": 206.65, "crop_limits": (1000, 752, 1280, 960)},
        {"size": (1640, 1232), "bit_depth": 10, "fps": 41.85, "crop_limits": (0, 0, 3280, 2464)},
        {
            "size": (1920, 1080),
            "bit_depth": 10,
            "fps": 47.57,
            "crop_limits": (680, 692, 1920, 1080),
        },
        {"size": (3280, 2464), "bit_depth": 10, "fps": 21.19, "crop_limits": (0, 0, 3280, 2464)},
        {"size": (1640, 1232), "bit_depth": 8, "fps": 83.7, "crop_limits": (0, 0, 3280, 2464)},
    ],
}


class ColorSpace:
    """libcamera.ColorSpace, as far as its name goes."""

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
