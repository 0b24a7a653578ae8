"""A picamera2 without a camera, as strict as the real one.

What the real stack punishes with a hang, garbage or a crash is an error here: an unknown key, a
lores stream larger than main, capturing before start or after stop, a request released twice.
Pixels live in as many buffers as were configured; they are poisoned as soon as the mapping is left
or the request released, and a request that is never released starves the next capture.

``install`` puts it where ``import picamera2`` looks. Frames come as fast as they are asked for,
their time stamps as the script says.
"""

import contextlib
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

POISON = 0xA5
YUV = ("YUV420", "YVU420", "NV12", "NV21")


@dataclass
class Script:
    """What the hardware does, and a record of what was done to it.

    Attributes:
        cameras: how many are connected.
        busy: whether another program holds them.
        start_ns: time stamp of frame 0.
        period_ns: time between two frames.
        faults: frame number -> "stall" (it never comes), "lost" (nor anybody sees it), "again"
            (time stands still).
        align: widths are cut to a multiple of this by the hardware.
        stride: rows are padded to a multiple of this.
        crops: metadata ScalerCrops, where the camera reports them.
        stop_hangs: ``stop`` waits for this event.
        calls: names of the calls, in order.
    """

    cameras: int = 1
    busy: bool = False
    start_ns: int = 0
    period_ns: int = 33_333_333
    faults: dict[int, str] = field(default_factory=dict)
    align: int = 2
    stride: int = 64
    crops: tuple[tuple[int, ...], ...] | None = None
    stop_hangs: threading.Event | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    held: int = 0


class ColorSpace:
    """libcamera.ColorSpace, as far as its name goes."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def Sycc(cls) -> "ColorSpace":  # noqa: N802  (libcamera's name)
        return cls("sYCC")


class CompletedRequest:
    """A frame's buffers and metadata, to be given back exactly once."""

    def __init__(self, camera: "Picamera2", buffers: dict[str, Any], metadata: dict[str, Any]):
        self._camera = camera
        self._metadata = metadata
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


class MappedArray:
    """The pixels of one stream while inside the ``with``; views taken from it rot afterwards."""

    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None:
        assert request.buffers is not None, "mapping a released request"
        if stream not in request.buffers:
            raise KeyError(stream)
        assert reshape, "one dimension only"
        assert not write, "mapped for writing: costs a flush of the cache"
        self._buffer = request.buffers[stream]
        self.array: Any = None

    def __enter__(self) -> "MappedArray":
        self.array = self._buffer.copy()
        return self

    def __exit__(self, *_: object) -> None:
        self.array.fill(POISON)
        self.array = None


class Job:
    """A capture that was asked for; its result comes, or the wait runs out."""

    def __init__(self, camera: "Picamera2") -> None:
        self._camera = camera

    def get_result(self, timeout: float | None = None) -> CompletedRequest:
        assert timeout is not None, "waits for ever when the camera falls silent"
        request = self._camera.next_request()
        if request is None:
            threading.Event().wait(timeout)
            raise TimeoutError
        return request


class Picamera2:
    """One open camera."""

    script: Script

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        return [{"Model": "imx708_noir", "Id": str(i)} for i in range(Picamera2.script.cameras)]

    def __init__(self, camera_num: int = 0) -> None:
        script = self.script
        script.calls.append("open")
        if camera_num >= script.cameras:
            raise IndexError("list index out of range")
        if script.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        script.held += 1
        assert script.held == 1, "opened a second time before it was closed"
        self._state = "open"
        self._config: dict[str, Any] | None = None
        self._free: list[dict[str, Any]] = []
        self._number = -1

    def create_video_configuration(  # noqa: PLR0917  (as in picamera2)
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        raw: dict[str, Any] | None = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
    ) -> dict[str, Any]:
        for stream in (main, lores):
            if stream is not None and set(stream) - {"format", "size"}:
                raise ValueError("Bad key: valid stream configuration keys are format, size")
        config = {"main": dict(main), "lores": dict(lores) if lores else None, "raw": raw}
        config |= {"colour_space": colour_space, "buffer_count": buffer_count, "queue": queue}
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
        known = {"FrameDurationLimits", "ExposureTime", "AnalogueGain", "AeEnable"}
        if unknown := set(config["controls"]) - known:
            raise RuntimeError(f"Control {unknown.pop()} is not advertised by libcamera")
        low_us, high_us = config["controls"]["FrameDurationLimits"]
        assert isinstance(low_us, int), "frame durations are whole microseconds"
        assert 0 < low_us <= high_us, "an empty range of frame durations"
        main, lores = config["main"], config["lores"]
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
        self._config = self.script.configuration = config
        self._state = "configured"

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

    def capture_request(self, wait: bool | float | None = None) -> Job:
        assert self._state == "started", f"capture while {self._state}"
        assert wait is False, "a wait without a limit hangs when the camera falls silent"
        return Job(self)

    def next_request(self) -> CompletedRequest | None:
        """Return the next frame that comes out of the pipeline; None when it is silent."""
        if not self._free:
            return None  # every buffer is held by somebody: nothing left to fill
        script = self.script
        self._number += 1
        while script.faults.get(self._number) == "lost":
            self._number += 1
        fault = script.faults.get(self._number)
        if fault == "stall":
            self._number -= 1
            return None
        buffers = self._free.pop(0)
        for stream, buffer in buffers.items():
            buffer[:] = paint(self._number, *self.camera_configuration()[stream]["size"], buffer)
        moment = self._number - (fault == "again")
        metadata = {
            "SensorTimestamp": script.start_ns + moment * script.period_ns,
            "ExposureTime": 8000,
            "FrameDuration": script.period_ns // 1000,
        }
        if script.crops is not None:
            metadata["ScalerCrops"] = script.crops
        return CompletedRequest(self, buffers, metadata)

    def cancel_all_and_flush(self) -> None:
        self.script.calls.append("flush")

    def recycle(self, buffers: dict[str, Any]) -> None:
        """Take buffers back into the pipeline."""
        self._free.append(buffers)

    def stop(self) -> None:
        self.script.calls.append("stop")
        if self.script.stop_hangs is not None:
            self.script.stop_hangs.wait()
        self._state = "stopped"

    def close(self) -> None:
        self.script.calls.append("close")
        assert self._state != "started", "closed while running"
        if self._config is not None and self._free:
            assert len(self._free) == self._config["buffer_count"], "requests never released"
        self.script.held -= 1
        self._state = "closed"


def paint(number: int, width: int, height: int, buffer: Any) -> Any:
    """Return the planes of frame ``number``: a luma ramp, garbage in padding and chroma."""
    planes = np.full_like(buffer, 0xEE)
    rows, columns = np.mgrid[0:height, 0:width]
    planes[:height, :width] = (rows + columns + 7 * number) % 256
    return planes


@contextlib.contextmanager
def install(script: Script) -> Iterator[Script]:
    """Make ``import picamera2`` and ``import libcamera`` give this fake, driven by ``script``."""
    Picamera2.script = script
    picamera2, libcamera = types.ModuleType("picamera2"), types.ModuleType("libcamera")
    job = types.ModuleType("picamera2.job")
    picamera2.Picamera2, picamera2.MappedArray = Picamera2, MappedArray  # type: ignore[attr-defined]
    picamera2.job, job.Job = job, Job  # type: ignore[attr-defined]
    libcamera.ColorSpace = ColorSpace  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "picamera2", picamera2)
        patch.setitem(sys.modules, "picamera2.job", job)
        patch.setitem(sys.modules, "libcamera", libcamera)
        yield script
