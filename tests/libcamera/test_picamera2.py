"""picamera2 over Debian's libcamera keeps the contract of the fake picamera2."""

import pytest

from edge.vision.sources.picamera_stack import load_stack
from tests.libcamera import virtual_camera
from tests.support.picamera2_contract import *  # noqa: F403
from tests.support.picamera2_contract import Stack

pytestmark = [
    pytest.mark.libcamera,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's
]


@pytest.fixture
def stack() -> Stack:
    real = load_stack()
    return Stack(real.picamera2, real.libcamera, virtual_camera.SILENT.touch)
