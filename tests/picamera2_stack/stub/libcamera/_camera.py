"""Camera, configuration, requests, and the manager that delivers them."""

import ctypes
import enum
import errno
import os
import signal
import threading
import time
import weakref
from collections import deque
from types import SimpleNamespace
from typing import NoReturn

import numpy as np

from libcamera import _controls as controls
from libcamera import _properties as properties
from libcamera._controls import ControlInfo
from libcamera._libcamera import (
    FrameMetadata,
    Orientation,
    PixelFormat,
    Rectangle,
    SensorConfiguration,
    Size,
    StreamRole,
)
from libcamera._script import log, script
from tests.support.sensors import SENSORS, Mode

PERIOD_MAX_US = 11_767_556
FIRST_FRAME_S = 0.1


def _fail(call: str, error: int) -> NoReturn:
    """Raise as the binding does."""
    raise RuntimeError(f"Failed to {call}: {os.strerror(error)}")


class Request:
    Status = enum.Enum("Status", "Pending Complete Cancelled", start=0)

    def __init__(self, cookie: int) -> None:
        self.cookie = cookie
        self.status = self.Status.Pending
        self.buffers = {}
        self.metadata = {}
        self.is_queued = False

    def add_buffer(self, stream, buffer) -> None:
        if stream in self.buffers:
            _fail("add buffer", errno.EEXIST)
        self.buffers[stream] = buffer

    def set_control(self, control, value) -> None:
        """Set one control; one that the camera lacks is ignored, as by the real binding."""

    def reuse(self) -> None:
        if self.is_queued:
            raise RuntimeError("a queued request cannot be reused")
        self.status = self.Status.Pending
        self.metadata = {}


class StreamConfiguration:
    def __init__(self, role: StreamRole, modes: tuple[Mode, ...]) -> None:
        self.role = role
        self.size = Size(modes[0].width, modes[0].height)
        self.pixel_format = PixelFormat(modes[0].format if role is StreamRole.Raw else "XBGR8888")
        self.stride = 0
        self.frame_size = 0
        self.buffer_count = 4
        self.color_space = None
        self.stream = Stream()
        self.formats = SimpleNamespace(
            pixel_formats=[PixelFormat(name) for name in dict.fromkeys(m.format for m in modes)],
            sizes=lambda pixel_format: [
                Size(m.width, m.height) for m in modes if m.format == str(pixel_format)
            ],
        )


class Stream:
    """A stream; compared by identity."""


class CameraConfiguration:
    Status = enum.Enum("Status", "Valid Adjusted Invalid", start=0)

    def __init__(self, streams: list[StreamConfiguration], modes: tuple[Mode, ...]) -> None:
        self._streams = streams
        self._modes = modes
        self.orientation = Orientation.Rotate0
        self.sensor_config: SensorConfiguration | None = None
        self.mode: Mode | None = None

    def at(self, index: int) -> StreamConfiguration:
        return self._streams[index]

    def __iter__(self):
        return iter(self._streams)

    def validate(self) -> "CameraConfiguration.Status":
        """Adjust the configuration to the hardware; ``Invalid`` if that is not possible."""
        wanted = self.sensor_config
        if wanted is None:
            raise RuntimeError("picamera2 always names a sensor mode")
        for mode in self._modes:
            if (mode.width, mode.height, mode.bit_depth) == (
                wanted.output_size.width,
                wanted.output_size.height,
                wanted.bit_depth,
            ):
                self.mode = mode
                break
        else:
            return self.Status.Invalid
        status = self.Status.Valid
        if self.orientation is not Orientation.Rotate0 and not script()["flips"]:
            self.orientation, status = Orientation.Rotate0, self.Status.Adjusted
        for stream in self._streams:
            name = str(stream.pixel_format)
            if stream.color_space is None or stream.size.width % 2 or stream.size.height % 2:
                return self.Status.Invalid
            padding = int(str(script()["stride"]))
            bytes_per_pixel = {"YUV420": 1, "XBGR8888": 4, "BGR888": 3}.get(name, 2)
            stream.stride = -(-stream.size.width * bytes_per_pixel // padding) * padding
            rows = stream.size.height * 3 // 2 if name == "YUV420" else stream.size.height
            stream.frame_size = stream.stride * rows
        return status


class Camera:
    """One camera: available, acquired, configured or running; each call requires a state."""

    def __init__(self, manager: "CameraManager", sensor: str, number: int) -> None:
        self._manager = weakref.ref(manager)
        self._lock = threading.Lock()
        self._queue: deque[Request] = deque()
        self._state = "available"
        self._stop = threading.Event()
        self._configuration: CameraConfiguration | None = None
        if sensor == "usb":
            self.id = f"/base/axi/pcie@1/usb@{number}-1:1.0-046d:0825"
            self._sensor = None
            self.properties = {properties.Model: "UVC Camera"}
            self.controls = {}
            return
        self.id = f"/base/soc/i2c0mux/i2c@{number}/{sensor.partition('_')[0]}@10"
        self._sensor = SENSORS[sensor]
        self.properties = {
            properties.Model: sensor,
            properties.Location: 2,
            properties.Rotation: 180,
            properties.PixelArraySize: Size(*self._sensor.size),
            properties.ColorFilterArrangement: 0,
        }
        self.controls = self._advertised(self._sensor.modes[0], self._sensor.size)

    def _advertised(self, mode: Mode, picture: tuple[int, int]):
        x, y, width, height = mode.crop
        wide = min(width, height * picture[0] // picture[1])
        high = min(height, width * picture[1] // picture[0])
        visible = Rectangle(x + (width - wide) // 2, y + (height - high) // 2, wide, high)
        advertised = {
            controls.AnalogueGain: ControlInfo(1.0, 16.0, 1.0),
            controls.AnalogueGainMode: ControlInfo(0, 1, 0),
            controls.ExposureTime: ControlInfo(75, PERIOD_MAX_US, 20_000),
            controls.ExposureTimeMode: ControlInfo(0, 1, 0),
            controls.FrameDurationLimits: ControlInfo(
                round(1e6 / mode.rate_max_hz), PERIOD_MAX_US, 33_333
            ),
            controls.NoiseReductionMode: ControlInfo(0, 4, 0),
            controls.ScalerCrop: ControlInfo(
                Rectangle(0, 0, 64, 64), Rectangle(*mode.crop), visible
            ),
        }
        if self._sensor.focuses:
            advertised[controls.AfMode] = ControlInfo(0, 2, 0)
            advertised[controls.AfTrigger] = ControlInfo(0, 1, 0)
            advertised[controls.LensPosition] = ControlInfo(0.0, 15.0, 1.0)
        return advertised

    def _require(self, call: str, *states: str, error: int = errno.EACCES) -> None:
        if self._state not in states:
            _fail(call, error)

    def acquire(self) -> None:
        self._require("acquire camera", "available", error=errno.EBUSY)
        if script()["busy"]:
            log("busy")
            _fail("acquire camera", errno.EBUSY)
        log("acquire")
        if script()["opening_crashes"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        # one call, because the interpreter lets other threads run between two
        ctypes.PyDLL(None).sleep(int(str(script()["opening_holds_lock_s"])))
        while script()["opening_hangs"]:
            time.sleep(0.05)
        self._state = "acquired"

    def release(self) -> None:
        if self._state == "running":
            _fail("release camera", errno.EBUSY)
        log("release")
        self._state = "available"

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        modes = self._sensor.modes
        return CameraConfiguration([StreamConfiguration(role, modes) for role in roles], modes)

    def configure(self, configuration: CameraConfiguration) -> None:
        self._require("configure camera", "acquired", "configured")
        if configuration.mode is None or script()["configuring_fails"]:
            _fail("configure camera", errno.EINVAL)
        picture = configuration.at(0).size
        self.controls = self._advertised(configuration.mode, (picture.width, picture.height))
        self._configuration = configuration
        self._state = "configured"

    def create_request(self, cookie: int) -> Request:
        self._require("create request", "configured", "running", error=errno.ENOMEM)
        return Request(cookie)

    def start(self, values) -> None:
        self._require("start camera", "configured")
        limits = self.controls[controls.FrameDurationLimits]
        wanted_us = values[controls.FrameDurationLimits][1]
        self._period_us = min(max(wanted_us, limits.min), limits.max)
        self._exposure_us = int(values.get(controls.ExposureTime, 8000))
        mode = self._configuration.mode
        log(
            "start",
            mode=[mode.width, mode.height, mode.bit_depth],
            orientation=self._configuration.orientation.name,
            controls={control.name: value for control, value in values.items()},
        )
        self._stop.clear()
        self._state = "running"
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._state != "running":
            return
        log("stop")
        while script()["stop_hangs"]:
            time.sleep(0.05)
        self._stop.set()
        self._thread.join()
        self._state = "configured"
        with self._lock:
            pending, self._queue = self._queue, deque()
        for request in pending:
            request.status = Request.Status.Cancelled
            self._complete(request, FrameMetadata.Status.Cancelled)

    def queue_request(self, request: Request) -> None:
        self._require("queue request", "running")
        if request.status is not Request.Status.Pending or request.is_queued:
            _fail("queue request", errno.EINVAL)
        if script()["requeueing_fails"]:
            _fail("queue request", errno.ENODEV)
        if not request.buffers:
            _fail("queue request", errno.EINVAL)
        request.is_queued = True
        with self._lock:
            self._queue.append(request)

    def _deliver(self) -> None:
        """Fill one queued request per period; without a queued request the frame is lost."""
        due_s = time.monotonic() + FIRST_FRAME_S
        number, is_silent = 0, False
        startup = int(str(script()["startup"]))
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._period_us / 1e6
            is_silent = is_silent or bool(script()["silent"])
            number += 1
            is_early = number <= startup
            if is_silent or (is_early and script()["hides_startup"]):
                continue
            with self._lock:
                request = self._queue.popleft() if self._queue else None
            if request is None:
                continue
            for index, buffer in enumerate(request.buffers.values()):
                _paint(number, self._configuration.at(index), buffer)
            request.status = Request.Status.Complete
            crop = self.controls[controls.ScalerCrop].default
            request.metadata = {
                controls.SensorTimestamp: time.monotonic_ns(),
                controls.ExposureTime: self._exposure_us,
                controls.FrameDuration: self._period_us,
                controls.ScalerCrop: crop,
            }
            if script()["timeless"]:
                del request.metadata[controls.SensorTimestamp]
            status = FrameMetadata.Status.Startup if is_early else FrameMetadata.Status.Success
            self._complete(request, status)

    def _complete(self, request: Request, status: FrameMetadata.Status) -> None:
        for buffer in request.buffers.values():
            buffer.metadata.status = status
        request.is_queued = False
        manager = self._manager()
        if manager is not None:
            manager.deliver(request)


def _paint(number: int, stream: StreamConfiguration, buffer) -> None:
    """Write picture ``number``: a moving ramp in luma, 0xEE in padding and chroma."""
    width, height = stream.size.width, stream.size.height
    picture = np.full((stream.frame_size // stream.stride, stream.stride), 0xEE, np.uint8)
    rows = (np.arange(height) + 7 * number).astype(np.uint8)[:, None]
    picture[:height, :width] = rows + np.arange(width).astype(np.uint8)[None, :]
    os.pwrite(buffer.own_fd, picture.data, buffer.planes[0].offset)


class CameraManager:
    """The cameras found at its creation, and the completed requests."""

    version = "v0.5.2+stub"
    _current: "weakref.ref[CameraManager] | None" = None

    def __init__(self) -> None:
        tuning = os.environ.get("LIBCAMERA_RPI_TUNING_FILE")
        text = ""
        if tuning is not None:
            with open(tuning, encoding="utf-8") as file:
                text = file.read()
        log("look for cameras", tuning=text)
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._ready: list[Request] = []
        found = [str(sensor) for sensor in script()["cameras"]]
        self.cameras = [Camera(self, sensor, number) for number, sensor in enumerate(found)]

    def __del__(self) -> None:
        if hasattr(self, "event_fd"):
            os.close(self.event_fd)

    @classmethod
    def singleton(cls) -> "CameraManager":
        """Return the manager, which lives as long as there is a reference to it."""
        manager = cls._current() if cls._current is not None else None
        if manager is None:
            manager = cls()
            cls._current = weakref.ref(manager)
        return manager

    def deliver(self, request: Request) -> None:
        with self._lock:
            self._ready.append(request)
        os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self) -> list[Request]:
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        with self._lock:
            ready, self._ready = self._ready, []
        return ready
