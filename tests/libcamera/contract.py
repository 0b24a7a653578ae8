"""What picamera2 and the camera source rely on in libcamera's Python binding.

Run over Debian's libcamera and its virtual camera here, and over the stub in
``tests/picamera2_stack``, which must behave as the real one.
"""

import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import libcamera
import pytest

START_US = 33_333


@dataclass
class Opened:
    """One camera with buffers.

    Attributes:
        manager: of the process.
        camera: acquired and configured.
        requests: with a buffer each, not queued.
        new_buffer: makes another buffer.
    """

    manager: Any
    camera: Any
    requests: list[Any]
    new_buffer: Callable[[], Any]

    def start(self) -> None:
        """Start with the control that picamera2 always gives."""
        limits = libcamera.controls.FrameDurationLimits
        self.camera.start({limits: (START_US, START_US)})

    def queue(self) -> None:
        """Queue every request."""
        for request in self.requests:
            self.camera.queue_request(request)

    def is_ready(self, timeout_s: float) -> bool:
        """Wait for the manager's descriptor; whether it can be read."""
        poll = select.poll()
        poll.register(self.manager.event_fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1e3))

    def completed(self, count: int, timeout_s: float = 10.0) -> list[Any]:
        """Return at least ``count`` requests that have come back; fail after a while."""
        deadline, found = time.monotonic() + timeout_s, []
        while len(found) < count:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{len(found)} of {count} requests came back"
            if self.is_ready(left_s):
                found += self.manager.get_ready_requests()
        return found


Configure = Callable[[Any], Any]
"""Configures an acquired camera; returns the configuration."""


@pytest.fixture
def manager() -> Any:
    return libcamera.CameraManager.singleton()


@pytest.fixture
def camera(manager: Any) -> Iterator[Any]:
    """A camera that nobody has acquired, before and after."""
    (camera,) = manager.cameras
    yield camera
    camera.stop()
    camera.release()
    manager.get_ready_requests()


@pytest.fixture
def opened(manager: Any, camera: Any, configure: Configure) -> Iterator[Opened]:
    camera.acquire()
    configuration = configure(camera).at(0)
    descriptors = []

    def new_buffer() -> Any:
        descriptors.append(os.memfd_create("buffer"))
        os.ftruncate(descriptors[-1], configuration.frame_size)
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = descriptors[-1], 0, configuration.frame_size
        return libcamera.FrameBuffer([plane])

    requests = []
    for cookie in range(4):
        requests.append(camera.create_request(cookie))
        requests[-1].add_buffer(configuration.stream, new_buffer())
    yield Opened(manager, camera, requests, new_buffer)
    for descriptor in descriptors:
        os.close(descriptor)


def refused(call: Callable[[], object], text: str) -> None:
    """Check that libcamera refuses a call with this error."""
    with pytest.raises(RuntimeError, match=f"^{text}$"):
        call()


def test_there_is_one_manager_with_a_descriptor(manager: Any) -> None:
    assert libcamera.CameraManager.singleton() is manager
    assert isinstance(manager.event_fd, int)
    assert manager.version.startswith("v0.")
    assert manager.get_ready_requests() == [], "returns at once when there is none"


def test_a_camera_names_itself_and_its_controls(camera: Any) -> None:
    assert isinstance(camera.id, str)
    assert isinstance(camera.properties[libcamera.properties.Model], str)
    limits = camera.controls[libcamera.controls.FrameDurationLimits]
    assert 0 < limits.min <= limits.max
    assert {control.name for control in camera.controls} >= {"FrameDurationLimits"}


def test_a_call_in_the_wrong_state_is_refused(camera: Any, configure: Configure) -> None:
    """With the text of the system's error, on which the daemon's messages are built."""
    refused(lambda: configure(camera), "Failed to configure camera: Permission denied")
    refused(lambda: camera.start({}), "Failed to start camera: Permission denied")
    camera.acquire()
    refused(camera.acquire, "Failed to acquire camera: Device or resource busy")
    refused(lambda: camera.start({}), "Failed to start camera: Permission denied")
    refused(lambda: camera.create_request(0), "Failed to create request: Cannot allocate memory")
    configure(camera)
    configure(camera)  # again, as picamera2 does to list the sensor's modes
    camera.stop()  # one that does not run
    camera.release()
    camera.release()
    camera.acquire()


def test_a_running_camera_is_neither_configured_nor_released(
    opened: Opened, configure: Configure
) -> None:
    request = opened.requests[0]
    queue = lambda: opened.camera.queue_request(request)  # noqa: E731
    refused(queue, "Failed to queue request: Permission denied")
    opened.start()
    refused(lambda: configure(opened.camera), "Failed to configure camera: Permission denied")
    refused(opened.camera.release, "Failed to release camera: Device or resource busy")
    opened.camera.stop()
    refused(queue, "Failed to queue request: Permission denied")
    opened.start()
    opened.queue()
    opened.completed(4)


def test_a_request_goes_round(opened: Opened) -> None:
    pending, complete = libcamera.Request.Status.Pending, libcamera.Request.Status.Complete
    opened.start()
    for _ in range(3):
        assert {request.status for request in opened.requests} == {pending}
        opened.queue()
        requests = opened.completed(4)
        assert [request.cookie for request in requests] == [0, 1, 2, 3], "in order"
        assert {request.status for request in requests} == {complete}
        for request in requests:
            (buffer,) = request.buffers.values()
            assert buffer.metadata.status != libcamera.FrameMetadata.Status.Cancelled
            again = lambda: opened.camera.queue_request(request)  # noqa: E731, B023
            refused(again, "Failed to queue request: Invalid argument")
            request.reuse()
            assert dict(request.metadata) == {}
            assert len(request.buffers) == 1, "reuse keeps the buffer"


def test_a_request_needs_one_buffer_for_a_stream(opened: Opened) -> None:
    ((stream, _),) = opened.requests[0].buffers.items()
    add = lambda: opened.requests[0].add_buffer(stream, opened.new_buffer())  # noqa: E731
    refused(add, "Failed to add buffer: File exists")
    opened.start()
    empty = opened.camera.create_request(9)
    refused(lambda: opened.camera.queue_request(empty), "Failed to queue request: Invalid argument")


def test_the_time_stamp_is_of_the_monotonic_clock(opened: Opened) -> None:
    opened.start()
    stamps = []
    began_ns = time.monotonic_ns()
    opened.queue()
    while len(stamps) < 12:
        for request in opened.completed(1):
            stamps.append(request.metadata[libcamera.controls.SensorTimestamp])
            request.reuse()
            opened.camera.queue_request(request)
    assert stamps == sorted(set(stamps)), "each later than the one before"
    assert began_ns <= stamps[0]
    assert stamps[-1] <= time.monotonic_ns()


def test_without_a_queued_request_the_camera_is_silent(opened: Opened) -> None:
    """Nothing says so: only a limit of time finds a stall."""
    opened.start()
    opened.queue()
    opened.completed(4)
    assert not opened.is_ready(0.3)
    assert opened.manager.get_ready_requests() == []
    for request in opened.requests:
        request.reuse()
    opened.queue()
    opened.completed(4)


def test_stopping_gives_every_request_back(opened: Opened) -> None:
    ended = {libcamera.Request.Status.Complete, libcamera.Request.Status.Cancelled}
    for _ in range(2):
        opened.start()
        opened.queue()
        opened.camera.stop()
        requests = opened.completed(4)
        assert len(requests) == 4
        assert {request.status for request in requests} <= ended
        assert not opened.is_ready(0.1)
        for request in requests:
            request.reuse()


def test_a_control_that_the_camera_lacks_is_ignored(opened: Opened) -> None:
    """The binding raises nothing: picamera2 and the source check controls themselves."""
    opened.requests[0].set_control(libcamera.controls.AfMode, 1)
    limits, focus = libcamera.controls.FrameDurationLimits, libcamera.controls.AfMode
    opened.camera.start({limits: (START_US, START_US), focus: 1})
    opened.queue()
    opened.completed(4)


def test_closing_leaves_no_descriptor_open(manager: Any, camera: Any, configure: Configure) -> None:
    counts = []
    for _ in range(5):
        camera.acquire()
        stream = configure(camera).at(0)
        descriptor = os.memfd_create("buffer")
        os.ftruncate(descriptor, stream.frame_size)
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = descriptor, 0, stream.frame_size
        one = camera.create_request(0)
        one.add_buffer(stream.stream, libcamera.FrameBuffer([plane]))
        os.close(descriptor)  # libcamera keeps one of its own
        camera.start({libcamera.controls.FrameDurationLimits: (START_US, START_US)})
        camera.queue_request(one)
        Opened(manager, camera, [one], lambda: None).completed(1)
        camera.stop()
        camera.release()
        del one, plane, stream
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[1], counts
