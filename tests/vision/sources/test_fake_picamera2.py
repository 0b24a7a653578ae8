"""The fake picamera2 behaves as the real one."""

from collections.abc import Iterator

import pytest

from edge.vision.sources.picamera_stack import load_stack
from tests.support.fake_picamera2 import Script, install
from tests.support.picamera2_contract import *  # noqa: F403
from tests.support.picamera2_contract import Stack


@pytest.fixture
def stack() -> Iterator[Stack]:
    script = Script()
    with install(script):
        real = load_stack()

        def silence() -> None:
            script.faults = dict.fromkeys(range(1000), "stall")

        yield Stack(real.picamera2, real.libcamera, silence)
