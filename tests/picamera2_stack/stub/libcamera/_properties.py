"""The camera properties that picamera2 and the camera source read."""

import enum
from types import SimpleNamespace

from libcamera._controls import ControlId
from libcamera._libcamera import ControlType

draft = SimpleNamespace(
    ColorFilterArrangementEnum=enum.IntEnum("ColorFilterArrangementEnum", {"RGGB": 0, "MONO": 5})
)

ColorFilterArrangement = ControlId("ColorFilterArrangement")
Location = ControlId("Location")
Model = ControlId("Model")
PixelArraySize = ControlId("PixelArraySize", ControlType.Size)
Rotation = ControlId("Rotation")
