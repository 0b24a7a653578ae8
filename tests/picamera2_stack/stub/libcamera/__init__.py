"""A libcamera without a camera, under the real picamera2.

It has the part of libcamera's Python binding that picamera2 uses, and the binding's rules: what
the real one refuses raises here, too. Frames come from a thread at the rate asked for, through an
event descriptor, into real memory. A script file says what the hardware does (``hardware.py``
beside this folder writes it); what was done to the hardware is written down in a log.
"""

import sys

from libcamera import _controls as controls
from libcamera import _dma_heap, _libcamera
from libcamera import _properties as properties
from libcamera._camera import Camera, CameraConfiguration, CameraManager, Request
from libcamera._libcamera import (
    ColorSpace,
    ControlType,
    FrameBuffer,
    FrameMetadata,
    Orientation,
    PixelFormat,
    Rectangle,
    SensorConfiguration,
    Size,
    StreamRole,
    Transform,
)

__all__ = [
    "Camera",
    "CameraConfiguration",
    "CameraManager",
    "ColorSpace",
    "ControlType",
    "FrameBuffer",
    "FrameMetadata",
    "Orientation",
    "PixelFormat",
    "Rectangle",
    "Request",
    "SensorConfiguration",
    "Size",
    "StreamRole",
    "Transform",
    "_libcamera",
    "controls",
    "properties",
]

# picamera2's allocator asks the kernel's DMA heap for memory, which needs a Raspberry Pi
sys.modules["picamera2.dma_heap"] = _dma_heap
