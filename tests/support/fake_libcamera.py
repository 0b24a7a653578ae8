"""The part of libcamera that the fake picamera2 needs: value types and sensor modes."""

from enum import Enum

from tests.support.sensors import SENSORS

MODES = {
    name: [
        {
            "size": (mode.width, mode.height),
            "bit_depth": mode.bit_depth,
            "fps": mode.rate_max_hz,
            "crop_limits": mode.crop,
        }
        for mode in sensor.modes
    ]
    for name, sensor in SENSORS.items()
}
"""Sensor model -> its modes as ``Picamera2.sensor_modes`` lists them."""


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
