"""A libcamera without a camera, for the real picamera2.

It has the part of libcamera's Python binding that picamera2 uses, with the errors of the real one.
A thread delivers frames at the requested rate, through an event descriptor, into real memory.
``tests/picamera2_stack/hardware.py`` writes a script with the behaviour of the hardware, and reads
the log of the calls.
"""

# ruff: noqa: F401, F403  (picamera2 uses the names; the real package imports them by star, too)

import sys

from libcamera import _controls as controls
from libcamera import _dma_heap, _libcamera
from libcamera import _properties as properties
from libcamera._camera import Camera, CameraConfiguration, CameraManager, Request
from libcamera._libcamera import *

# picamera2's allocator takes memory from the kernel's DMA heap, which needs a Raspberry Pi
sys.modules["picamera2.dma_heap"] = _dma_heap
