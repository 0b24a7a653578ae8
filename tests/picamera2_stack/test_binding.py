"""The stub keeps the contract of libcamera's binding, as Debian's libcamera does."""

from typing import Any

import libcamera
import pytest

from tests.libcamera.contract import *  # noqa: F403
from tests.libcamera.contract import Configure
from tests.picamera2_stack.hardware import Hardware

pytestmark = pytest.mark.picamera2


@pytest.fixture(autouse=True)
def _camera(hardware: Hardware) -> None:
    hardware.set(startup=2)


@pytest.fixture
def configure() -> Configure:
    def configured(camera: Any) -> Any:
        configuration = camera.generate_configuration([libcamera.StreamRole.VideoRecording])
        sensor = libcamera.SensorConfiguration()
        sensor.bit_depth, sensor.output_size = 10, libcamera.Size(1640, 1232)
        configuration.sensor_config = sensor
        stream = configuration.at(0)
        stream.size = libcamera.Size(640, 480)
        stream.pixel_format = libcamera.PixelFormat("YUV420")
        stream.color_space = libcamera.ColorSpace.Sycc()
        assert configuration.validate() == libcamera.CameraConfiguration.Status.Valid
        camera.configure(configuration)
        return configuration

    return configured
