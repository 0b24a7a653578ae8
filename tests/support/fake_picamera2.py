"""A fake picamera2 without a camera, as strict as the real one.

Misuse that makes the real stack hang, crash or return garbage is an error here: an unknown key, a
lores stream larger than main, a capture before start or after stop, a second release of a request,
a stop during an unfinished capture (the real one waits for it for ever).
There are as many buffers as were configured. They are overwritten with ``POISON`` when the mapping
ends or the request is released; without released requests the next capture gets no buffer. A
camera that cannot be opened leaves its wake-up pipe open, as the real one does.
tests/picamera2_stack runs the source over the real picamera2.

``install`` makes ``import picamera2`` return this fake. Frames come as fast as they are requested,
with the time stamps of the script.
"""

import contextlib
import json
import os
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_libcamera import (
    MODES,
    AfModeEnum,
    AfTriggerEnum,
    ColorSpace,
    Transform,
)
from tests.support.frames import paint
from tests.support.sensors import SENSORS

POISON = 0xA5
YUV = ("YUV420", "YVU420", "NV12", "NV21")


@dataclass
class Script:
    """Behaviour of the hardware, and a record of the calls.

    Attributes:
        cameras: number of connected Pi cameras.
        usb: number of USB cameras, listed after them.
        busy: whether another program uses them.
        model: of the sensor; its modes are in ``MODES``.
        startup: frames that are discarded after a start.
        flips: whether the sensor can mirror its pictures.
        start_ns: time stamp of frame 0.
        period_ns: time between two frames.
        faults: frame number -> "stall" (it never comes), "late" (it comes after the time-out),
            "lost" (it is skipped), "again" (same time stamp as the frame before), "broken" (the
            capture raises), "unqueued" (its buffer cannot be returned), "timeless" (no time stamp).
        align: the hardware reduces widths to a multiple of this.
        stride: rows are padded to a multiple of this.
        crops: metadata ScalerCrops; None if the camera does not report them.
        stop_hangs: ``stop`` waits for this event.
        modes_fail: error text of listing the sensor modes; empty for no error.
        tuning: content of the tuning file when the cameras were listed.
        configuration: the last one passed to ``configure``.
        calls: names of the calls, in order.
        open_count: number of cameras that are open.
    """

    cameras: int = 1
    usb: int = 0
    busy: bool = False
    model: str = "imx708_noir"
    startup: int = 0
    flips: bool = True
    start_ns: int = 0
    period_ns: int = 33_333_333
    faults: dict[int, str] = field(default_factory=dict)
    align: int = 2
    stride: int = 64
    crops: tuple[tuple[int, ...], ...] | None = None
    stop_hangs: threading.Event | None = None
    modes_fail: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    tuning: str | None = None
    calls: list[str] = field(default_factory=list)
    open_count: int = 0


class CancelledError(Exception):
    """Raised by a cancelled job; derived from Exception alone, as in picamera2."""


class CompletedRequest:
    """Buffers and metadata of a frame; released exactly once."""

    def __init__(
        self,
        camera: "Picamera2",
        buffers: dict[str, Any],
        metadata: dict[str, Any],
        *,
        can_queue: bool,
    ):
        self._camera = camera
        self._metadata = metadata
        self._can_queue = can_queue
        self.buffers: dict[str, Any] | None = buffers
        self.config = camera.camera_configuration()

    def get_metadata(self) -> dict[str, Any]:
        assert self.buffers is not None, "metadata of a released request"
        return dict(self._metadata)

    def release(self) -> None:
        if self.buffers is None:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        for buffer in self.buffers.values():
            buffer.fill(POISON)
        self._camera.recycle(self.buffers)
        self.buffers = None
        if not self._can_queue:
            raise RuntimeError("Failed to queue request: No such device")


class MappedArray:
    """The pixels of one stream inside ``with``; afterwards views of it hold ``POISON``."""

    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None:
        assert request.buffers is not None, "mapping a released request"
        if stream not in request.buffers:
            raise KeyError(stream)
        assert reshape, "without reshape the array has one dimension"
        assert not write, "mapped for writing, which flushes the cache"
        self._buffer = request.buffers[stream]
        self.array: Any = None

    def __enter__(self) -> "MappedArray":
        self.array = self._buffer.copy()
        return self

    def __exit__(self, *_: object) -> None:
        self.array.fill(POISON)
        self.array = None


class Job:
    """A requested capture; its result arrives or the wait times out."""

    def __init__(self, camera: "Picamera2") -> None:
        self._camera = camera
        self._request: CompletedRequest | None = None
        self._is_cancelled = False

    def get_result(self, timeout: float | None = None) -> CompletedRequest:
        assert timeout is not None, "waits for ever if the camera stops delivering"
        if self._is_cancelled:
            raise CancelledError
        self._request = self._request or self._camera.next_request()
        if self._request is None:
            threading.Event().wait(timeout)
            raise TimeoutError
        if self._camera.is_late:
            self._camera.is_late = False
            threading.Event().wait(timeout)
            self._camera.jobs.remove(self)  # done, but its result was not fetched
            raise TimeoutError
        if self in self._camera.jobs:
            self._camera.jobs.remove(self)
        return self._request

    def cancel(self) -> None:
        self._is_cancelled = True


class Picamera2:
    """One open camera."""

    script: Script

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        script = Picamera2.script
        path = os.environ.get("LIBCAMERA_RPI_TUNING_FILE")
        script.tuning = Path(path).read_text("utf-8") if path else None
        own = [{"Model": script.model, "Id": f"/base/i2c@{i}"} for i in range(script.cameras)]
        return own + [{"Model": "webcam", "Id": f"/base/usb@{i}"} for i in range(script.usb)]

    @staticmethod
    def load_tuning_file(tuning_file: str, dir: str | None = None) -> Any:
        path = Path(dir or "/nowhere", tuning_file)
        if not path.is_file():
            raise RuntimeError("Tuning file not found")
        return json.loads(path.read_text("utf-8"))

    def __init__(self, camera_num: int = 0, tuning: str | None = None) -> None:
        script = self.script
        script.calls.append("open")
        if tuning is None:
            os.environ.pop("LIBCAMERA_RPI_TUNING_FILE", None)
        self.notifyme_r, self.notifyme_w = os.pipe2(os.O_NONBLOCK)
        self.notifymeread = os.fdopen(self.notifyme_r, "rb")
        if camera_num >= script.cameras:
            raise RuntimeError(f"No camera number {camera_num} found")
        if script.busy:
            try:
                raise RuntimeError("Failed to acquire camera: Device or resource busy")
            except RuntimeError as error:
                raise RuntimeError("Camera __init__ sequence did not complete.") from error
        script.open_count += 1
        assert script.open_count == 1, "opened a second time before it was closed"
        self._state = "open"
        self._config: dict[str, Any] | None = None
        self._free: list[dict[str, Any]] = []
        self._number = -1
        self.jobs: list[Job] = []
        self.is_late = False
        self.camera_manager = types.SimpleNamespace(version="v0.5.2")
        self.camera_properties = {
            "Model": script.model,
            "PixelArraySize": SENSORS[script.model].size,
        }

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        if self.script.modes_fail:
            raise OSError(12, self.script.modes_fail)
        return MODES[self.script.model]

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        mode = self._mode()
        controls: dict[str, tuple[Any, Any, Any]] = {
            "FrameDurationLimits": (round(1e6 / mode["fps"]), 11_000_000, 33_333),
            "ScalerCrop": ((0, 0, 64, 64), mode["crop_limits"], mode["crop_limits"]),
            "ExposureTime": (1, 11_000_000, 20_000),
            "AnalogueGain": (1.0, 16.0, 1.0),
        }
        if self.script.model.startswith("imx708"):
            controls |= {
                "AfMode": (0, 2, 0),
                "AfTrigger": (0, 1, 0),
                "LensPosition": (0.0, 15.0, 1.0),
            }
        return controls

    def _mode(self) -> dict[str, Any]:
        sensor = (self._config or {}).get("sensor") or {}
        for mode in MODES[self.script.model]:
            if (mode["size"], mode["bit_depth"]) == (
                sensor.get("output_size"),
                sensor.get("bit_depth"),
            ):
                return mode
        return MODES[self.script.model][0]

    def create_video_configuration(  # noqa: PLR0917  (as in picamera2)
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        raw: dict[str, Any] | None = None,
        transform: Any = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
        sensor: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        for stream in (main, lores):
            if stream is not None and set(stream) - {"format", "size"}:
                raise ValueError("Bad key: valid stream configuration keys are format, size")
        config = {"main": dict(main), "lores": dict(lores) if lores else None, "raw": raw}
        config |= {"colour_space": colour_space, "buffer_count": buffer_count, "queue": queue}
        config |= {"sensor": sensor, "transform": transform}
        config |= {"controls": dict(controls or {}), "display": display, "encode": encode}
        return config

    def configure(self, config: dict[str, Any]) -> None:
        self.script.calls.append("configure")
        if self._state == "started":
            raise RuntimeError("Camera must be stopped before configuring")
        if not isinstance(config["colour_space"], ColorSpace):
            raise RuntimeError("Colour space has incorrect type")
        if not 1 <= config["buffer_count"] <= 32:
            raise RuntimeError("Invalid camera configuration")
        if not isinstance(config["transform"], Transform):
            raise RuntimeError("Transform has incorrect type")
        if not self.script.flips:
            config["transform"] = Transform()
        if unknown := set(config["controls"]) - set(self.camera_controls):
            raise RuntimeError(f"Control {unknown.pop()} is not advertised by libcamera")
        low_us, high_us = config["controls"]["FrameDurationLimits"]
        assert isinstance(low_us, int), "frame durations are whole microseconds"
        assert 0 < low_us <= high_us, "an empty range of frame durations"
        self._align_streams(config["main"], config["lores"])
        self._config = self.script.configuration = config
        self._state = "configured"

    def _align_streams(self, main: dict[str, Any], lores: dict[str, Any] | None) -> None:
        for name, stream in (("main", main), ("lores", lores)):
            if stream is None:
                continue
            width, height = stream["size"]
            stream["size"] = (width - width % 2, height - height % 2)
            if stream["format"] not in (*YUV, "RGB888", "BGR888", "XBGR8888", "XRGB8888"):
                raise RuntimeError(f"Bad format {stream['format']} in stream {name}")
        if lores is not None:
            if lores["size"][0] > main["size"][0] or lores["size"][1] > main["size"][1]:
                raise RuntimeError("lores stream dimensions may not exceed main stream")
            if lores["format"] not in YUV:
                raise RuntimeError("lores stream must be YUV")
        for stream in filter(None, (main, lores)):
            width, height = stream["size"]
            width, padding = width - width % self.script.align, self.script.stride
            stream |= {"size": (width, height), "stride": -(-width // padding) * padding}

    def camera_configuration(self) -> dict[str, Any]:
        assert self._config is not None, "not configured yet"
        return self._config

    def start(self) -> None:
        self.script.calls.append("start")
        if self._state != "configured" or self._config is None:
            raise RuntimeError("Camera has not been configured")
        streams = {name: self._config[name] for name in ("main", "lores") if self._config[name]}
        self._free = [
            {
                name: np.full((s["size"][1] * 3 // 2, s["stride"]), POISON, np.uint8)
                for name, s in streams.items()
            }
            for _ in range(self._config["buffer_count"])
        ]
        self._state = "started"
        self._startup = self.script.startup

    def capture_request(self, wait: bool | float | None = None) -> Job:
        assert self._state == "started", f"capture while {self._state}"
        assert wait is False, "a wait without time-out hangs if the camera stops delivering"
        self.jobs.append(Job(self))
        return self.jobs[-1]

    def next_request(self) -> CompletedRequest | None:
        """Return the next frame; None if there is none."""
        if not self._free:
            return None  # every buffer is in a request that was not released
        if self._startup:
            self._startup -= 1
            return None
        script = self.script
        self._number += 1
        while script.faults.get(self._number) == "lost":
            self._number += 1
        fault = script.faults.get(self._number)
        if fault == "stall":
            self._number -= 1
            return None
        if fault == "broken":
            self.jobs.clear()
            raise RuntimeError("failed to find buffer")
        self.is_late = fault == "late"
        buffers = self._free.pop(0)
        for stream, buffer in buffers.items():
            buffer[:] = paint(self._number, *self.camera_configuration()[stream]["size"], buffer)
        tick = self._number - (fault == "again")
        metadata = {
            "SensorTimestamp": script.start_ns + tick * script.period_ns,
            "ExposureTime": 8000,
            "FrameDuration": script.period_ns // 1000,
        }
        if fault == "timeless":
            del metadata["SensorTimestamp"]
        if script.crops is not None:
            metadata["ScalerCrops"] = script.crops
        return CompletedRequest(self, buffers, metadata, can_queue=fault != "unqueued")

    def cancel_all_and_flush(self) -> None:
        self.script.calls.append("flush")
        for job in self.jobs:
            job.cancel()
        self.jobs.clear()

    def recycle(self, buffers: dict[str, Any]) -> None:
        """Return buffers to the camera."""
        self._free.append(buffers)

    def stop(self) -> None:
        self.script.calls.append("stop")
        assert not self.jobs, "waits for ever for an unfinished capture"
        if self.script.stop_hangs is not None:
            self.script.stop_hangs.wait()
        self._state = "stopped"

    def close(self) -> None:
        self.script.calls.append("close")
        assert self._state != "started", "closed while running"
        if self._config is not None and self._free:
            assert len(self._free) == self._config["buffer_count"], "requests never released"
        self.script.open_count -= 1
        self.notifymeread.close()
        os.close(self.notifyme_w)
        self._state = "closed"


@contextlib.contextmanager
def install(script: Script) -> Iterator[Script]:
    """Make ``import picamera2`` and ``import libcamera`` return this fake with ``script``."""
    Picamera2.script = script
    picamera2, libcamera = types.ModuleType("picamera2"), types.ModuleType("libcamera")
    job = types.ModuleType("picamera2.job")
    picamera2.Picamera2, picamera2.MappedArray = Picamera2, MappedArray  # type: ignore[attr-defined]
    picamera2.CancelledError = CancelledError  # type: ignore[attr-defined]
    picamera2.job, job.Job = job, Job  # type: ignore[attr-defined]
    libcamera.ColorSpace, libcamera.Transform = ColorSpace, Transform  # type: ignore[attr-defined]
    libcamera.controls = types.SimpleNamespace(  # type: ignore[attr-defined]
        AfModeEnum=AfModeEnum, AfTriggerEnum=AfTriggerEnum
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIBCAMERA_RPI_TUNING_FILE", raising=False)
        patch.setitem(sys.modules, "picamera2", picamera2)
        patch.setitem(sys.modules, "picamera2.job", job)
        patch.setitem(sys.modules, "libcamera", libcamera)
        yield script
