"""What the camera source relies on in picamera2.

Run over the fake in ``tests/vision/sources``, over the real picamera2 with the stub of libcamera in
``tests/picamera2_stack``, and over both real ones in ``tests/libcamera``: what the fake promises is
what was seen.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

BUFFERS = 4
SIZE = (640, 480)


@dataclass
class Stack:
    """The modules, and how its camera falls silent.

    Attributes:
        picamera2: the module.
        libcamera: the module.
        silence: makes the camera deliver no more frames.
    """

    picamera2: Any
    libcamera: Any
    silence: Callable[[], None]


@pytest.fixture
def camera(stack: Stack) -> Iterator[Any]:
    """A camera that delivers frames; closed in the end as the camera source closes it."""
    opened = stack.picamera2.Picamera2(0)
    configuration = opened.create_video_configuration(
        main={"size": SIZE, "format": "YUV420"},
        raw=None,
        transform=stack.libcamera.Transform(),
        colour_space=stack.libcamera.ColorSpace.Sycc(),
        buffer_count=BUFFERS,
        controls={"FrameDurationLimits": (33_333, 33_333)},
        display=None,
        encode=None,
    )
    opened.configure(configuration)
    opened.start()
    yield opened
    opened.cancel_all_and_flush()
    opened.stop()
    opened.close()


def captured(camera: Any) -> Any:
    """Return the next request."""
    return camera.capture_request(wait=False).get_result(timeout=10.0)


def test_a_camera_is_listed_with_model_and_address(stack: Stack) -> None:
    (info,) = stack.picamera2.Picamera2.global_camera_info()
    assert isinstance(info["Model"], str)
    assert isinstance(info["Id"], str)
    assert "/usb" not in info["Id"], "what tells a Pi camera from one of USB"


def test_a_camera_that_cannot_be_opened_leaves_its_pipe_open(stack: Stack) -> None:
    camera: Any = object.__new__(stack.picamera2.Picamera2)
    with pytest.raises((LookupError, RuntimeError)):  # which of them depends on the version
        camera.__init__(7)
    assert not camera.notifymeread.closed
    camera.notifymeread.close()
    os.close(camera.notifyme_w)


def test_the_configuration_says_what_was_granted(stack: Stack, camera: Any) -> None:
    main = camera.camera_configuration()["main"]
    assert tuple(main["size"]) == SIZE
    assert main["stride"] >= SIZE[0]
    assert camera.camera_configuration()["transform"].hflip == 0
    least, greatest, _ = camera.camera_controls["FrameDurationLimits"]
    assert 0 < least <= greatest
    assert isinstance(camera.camera_properties["Model"], str)
    with pytest.raises(RuntimeError, match="stopped before configuring"):
        camera.configure(camera.camera_configuration())


def test_a_request_has_its_time_and_the_luma_first(stack: Stack, camera: Any) -> None:
    stamps = []
    for _ in range(3 * BUFFERS):
        request = captured(camera)
        stamps.append(request.get_metadata()["SensorTimestamp"])
        with stack.picamera2.MappedArray(request, "main", write=False) as mapped:
            assert mapped.array.dtype == np.uint8
            assert mapped.array.ndim == 2
            rows, columns = mapped.array.shape
            assert rows == SIZE[1] * 3 // 2
            assert columns >= SIZE[0]
        request.release()
    assert all(type(stamp) is int for stamp in stamps)
    assert stamps == sorted(set(stamps)), "each later than the one before"


def test_requests_that_are_kept_take_the_buffers_away(stack: Stack, camera: Any) -> None:
    kept = [captured(camera)]
    with contextlib.suppress(TimeoutError):
        while len(kept) <= BUFFERS:
            job = camera.capture_request(wait=False)
            kept.append(job.get_result(timeout=1.0))
    assert len(kept) <= BUFFERS
    for request in kept:
        request.release()
    job.get_result(timeout=10.0).release()


def test_a_silent_camera_is_a_time_out_and_no_error(stack: Stack, camera: Any) -> None:
    captured(camera).release()
    stack.silence()
    job = camera.capture_request(wait=False)
    with contextlib.suppress(TimeoutError):
        for _ in range(3 * BUFFERS):  # some frames may be on their way
            job.get_result(timeout=0.3).release()
            job = camera.capture_request(wait=False)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        job.get_result(timeout=0.3)
    assert 0.25 < time.monotonic() - began < 5.0
    camera.cancel_all_and_flush()
    with pytest.raises(stack.picamera2.CancelledError):
        job.get_result(timeout=1.0)
