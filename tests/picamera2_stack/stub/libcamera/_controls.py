"""The controls that picamera2 and the camera source use."""

import enum
from types import SimpleNamespace

from libcamera._libcamera import ControlType


class ControlId:
    """One control; compared by identity, as in the binding."""

    def __init__(self, name: str, kind: ControlType = ControlType.Integer) -> None:
        self.name = name
        self.type = kind

    def __repr__(self) -> str:
        return f"<libcamera.ControlId {self.name}>"


class ControlInfo:
    def __init__(self, least, greatest, default) -> None:
        self.min, self.max, self.default = least, greatest, default


class AfModeEnum(enum.IntEnum):
    Manual = 0
    Auto = 1
    Continuous = 2


class AfTriggerEnum(enum.IntEnum):
    Start = 0
    Cancel = 1


class AfStateEnum(enum.IntEnum):
    Idle = 0
    Scanning = 1
    Focused = 2
    Failed = 3


class _NoiseReductionMode(enum.IntEnum):
    Off = 0
    Fast = 1
    HighQuality = 2
    Minimal = 3


draft = SimpleNamespace(NoiseReductionModeEnum=_NoiseReductionMode)

AfMode = ControlId("AfMode")
AfTrigger = ControlId("AfTrigger")
AnalogueGain = ControlId("AnalogueGain")
AnalogueGainMode = ControlId("AnalogueGainMode")
ExposureTime = ControlId("ExposureTime")
ExposureTimeMode = ControlId("ExposureTimeMode")
FrameDuration = ControlId("FrameDuration")
FrameDurationLimits = ControlId("FrameDurationLimits")
LensPosition = ControlId("LensPosition")
NoiseReductionMode = ControlId("NoiseReductionMode")
ScalerCrop = ControlId("ScalerCrop", ControlType.Rectangle)
SensorTimestamp = ControlId("SensorTimestamp")
