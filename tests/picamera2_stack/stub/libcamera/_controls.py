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


AfModeEnum = enum.IntEnum("AfModeEnum", "Manual Auto Continuous", start=0)
AfTriggerEnum = enum.IntEnum("AfTriggerEnum", "Start Cancel", start=0)
AfStateEnum = enum.IntEnum("AfStateEnum", "Idle Scanning Focused Failed", start=0)
draft = SimpleNamespace(
    NoiseReductionModeEnum=enum.IntEnum(
        "NoiseReductionModeEnum", "Off Fast HighQuality Minimal", start=0
    )
)

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
