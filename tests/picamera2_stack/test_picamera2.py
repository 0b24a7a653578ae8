"""picamera2 over the stub of libcamera keeps the contract of the fake picamera2."""

import pytest

from edge.vision.sources.picamera_stack import load_stack
from tests.picamera2_stack.hardware import Hardware
from tests.support.picamera2_contract import *  # noqa: F403
from tests.support.picamera2_contract import Stack

pytestmark = [
    pytest.mark.picamera2,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's
]


@pytest.fixture
def stack(hardware: Hardware) -> Stack:
    hardware.set(startup=2)
    real = load_stack()
    return Stack(real.picamera2, real.libcamera, lambda: hardware.set(silent=True))
