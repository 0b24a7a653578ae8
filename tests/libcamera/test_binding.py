"""Debian's libcamera keeps the contract that the stub in ``tests/picamera2_stack`` keeps."""

from typing import Any

import libcamera
import pytest

from tests.libcamera.contract import *  # noqa: F403
from tests.libcamera.contract import Configure

pytestmark = pytest.mark.libcamera


def test_it_is_debians() -> None:
    assert libcamera.__file__.startswith("/usr/lib/python3/")


@pytest.fixture
def configure() -> Configure:
    def configured(camera: Any) -> Any:
        configuration = camera.generate_configuration([libcamera.StreamRole.VideoRecording])
        configuration.at(0).size = libcamera.Size(640, 480)
        assert configuration.validate() == libcamera.CameraConfiguration.Status.Valid
        camera.configure(configuration)
        return configuration

    return configured
