"""The Raspberry Pi's own camera, through the picamera2 of the system."""

import contextlib
import gc
import json
import os
from collections.abc import Iterator
from typing import Any, Final, Self

import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.config import PicameraSource
from edge.errors import ConfigError, FrameNotReady, SourceStalled, SourceUnavailable
from edge.vision.sources.picamera_setup import (
    SensorMode,
    centre_crop,
    choose_mode,
    controls_of,
    flips,
    load_tuning,
    modes_of,
    require_camera,
)
from edge.vision.sources.picamera_stack import CameraStack, load_stack
from edge.vision.sources.stamps import clock_of
from edge.vision.values import Frame, Luma
from edge.vocabulary import ClockName

_CAMERA_ERRORS: Final = (RuntimeError, OSError, ValueError, LookupError)
"""What picamera2 and libcamera raise when the camera does not do what was asked."""

_STARTUP_FRAMES: Final = 12
"""Periods until the first frame: picamera2 discards frames while exposure settles, seen: 8."""

_START_S: Final = 1.0  # powering the sensor up, beside those frames
_SILENT_PERIODS: Final = 3
_WAIT_S: Final = 0.5
"""One ``read`` waits no longer, so that a slow camera does not look like a hung driver."""

_modes_of_camera: dict[str, tuple[SensorMode, ...]] = {}
"""By camera; asking configures the camera once per mode, too slow to do at each opening."""


class Picamera:
    """The luma of one camera, and the same picture scaled to the detector's input by its ISP.

    ``sensor_ns`` is the kernel's time stamp of the frame, ``index`` counts frames that were lost
    between two stamps. A frame that takes longer than ``source.read_timeout_s`` and three periods
    is a stall; the first one may take twelve periods more. Every wait has a limit, since the stack
    below can fall silent for ever. Leaving the ``with`` may hang in the driver: this belongs in a
    process that may be killed. See ``edge.vision.sources.Source``.
    """

    live = True

    def __init__(
        self, config: PicameraSource, small_size: tuple[int, int], first_index: int = 0
    ) -> None:
        self._config = config
        self._small_size = small_size
        self._index = first_index - 1
        self._last_ns = 0
        self._clock: ClockName | None = None
        self._job: Any = None  # the capture that has been asked for and not been received
        self._asked_ns = 0
        self.expected_hz: float | None = config.rate_hz
        self.details: dict[str, object] | None = None

    def __enter__(self) -> Self:
        """Open, configure and start the camera.

        Raises:
            ConfigError: picamera2 cannot be used, or the camera cannot do what is configured.
            SourceUnavailable: no such camera is connected, or another program holds it.
        """
        self._stack = load_stack()
        try:
            with contextlib.ExitStack() as opened:
                with self._tuned() as tuning:
                    require_camera(
                        self._stack.picamera2.Picamera2.global_camera_info(), self._config.camera
                    )
                    self._camera = _open(self._stack, self._config.camera, tuning)
                opened.callback(self._forget)  # callbacks run in reverse: this one last
                opened.callback(self._camera.close)
                self._configure()
                self._camera.start()
                opened.callback(self._camera.stop)
                opened.callback(self._give_up_capture)
                self._opened = opened.pop_all()
        except _CAMERA_ERRORS as error:
            raise SourceUnavailable(
                f"camera {self._config.camera}: {_causes(error)}; check the cable, and whether"
                " another program is using it",
                new_process=True,
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._opened.close()
        except _CAMERA_ERRORS as failure:
            raise SourceStalled(
                f"camera {self._config.camera}: closing it failed: {_causes(failure)}"
            ) from failure

    def read(self) -> Frame:
        """Return the next frame; see ``Source.read``."""
        request = self._next_request()
        began_ns = monotonic_ns()
        try:
            try:
                # the buffer goes back to the camera with the request: pixels are copied out before
                metadata: dict[str, Any] = request.get_metadata()
                luma = self._copied(request, "main", self._size_px)
                small = None
                if self._small_size_px is not None and _same_view(metadata):
                    small = self._copied(request, "lores", self._small_size_px)
            finally:
                request.release()  # which hands the buffer to the driver, and fails where that does
        except _CAMERA_ERRORS as error:
            raise self._failed("its buffer cannot be read or given back", error) from error
        exposure_us = metadata.get("ExposureTime")
        self._advance(metadata)
        return Frame(
            luma,
            index=self._index,
            sensor_ns=self._last_ns,
            clock=self._clock or "monotonic",
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(began_ns),
            exposure_us=None if exposure_us is None else int(exposure_us),
            small=small,
        )

    def _next_request(self) -> Any:
        """Return the next completed request, to be released.

        Raises:
            FrameNotReady: none yet, and it is not late.
            SourceUnavailable: since it was opened, the camera has not delivered any frame.
            SourceStalled: the camera fell silent, or picamera2 failed.
        """
        if self._job is None:
            self._asked_ns = monotonic_ns()
            self._job = self._camera.capture_request(wait=False)
        limit_s = self._first_limit_s if self._clock is None else self._limit_s
        left_s = limit_s - elapsed_ms(self._asked_ns) / 1e3
        try:
            request = self._job.get_result(timeout=max(0.0, min(left_s, _WAIT_S)))
        except TimeoutError as error:
            if elapsed_ms(self._asked_ns) < limit_s * 1e3:
                raise FrameNotReady(f"camera {self._config.camera}: no frame yet") from error
            text = f"no frame for {limit_s:.3g} s; it has to be opened again"
            if self._clock is None:
                raise SourceUnavailable(
                    f"camera {self._config.camera}: it opens, but {text} (check the cable)"
                ) from error
            raise SourceStalled(f"camera {self._config.camera}: {text}") from error
        except (*_CAMERA_ERRORS, self._stack.picamera2.CancelledError) as error:
            self._job = None
            raise self._failed("the capture failed", error) from error
        self._job = None
        return request

    def _give_up_capture(self) -> None:
        """Withdraw the capture that never completed: ``stop`` would wait behind it for ever."""
        job, self._job = self._job, None
        if job is None:
            return
        self._camera.cancel_all_and_flush()
        try:
            # it may have completed before that, and would then keep a buffer of the camera
            request = job.get_result(timeout=_WAIT_S)
        except (TimeoutError, self._stack.picamera2.CancelledError):
            return
        request.release()

    def _forget(self) -> None:
        """Free the camera now: a closed Picamera2 is a cycle of objects that holds descriptors."""
        del self._camera
        gc.collect()

    def _failed(self, what: str, error: BaseException) -> SourceStalled:
        return SourceStalled(
            f"camera {self._config.camera}: {what}: {_causes(error)}; it has to be opened again"
        )

    @contextlib.contextmanager
    def _tuned(self) -> Iterator[str | None]:
        """Yield the path of the tuning file to open the camera with; None for the default.

        libcamera reads the file when it looks for cameras, so that Picamera2's own argument
        comes too late for whoever asks which cameras there are.
        """
        if self._config.tuning is None:
            yield None
            return
        tuning = load_tuning(self._stack.picamera2, self._config.tuning)
        # in memory: a worker that is killed while libcamera hangs leaves nothing behind
        with open(os.memfd_create("tuning"), "w", encoding="utf-8") as file:
            json.dump(tuning, file)
            file.flush()
            path = f"/proc/self/fd/{file.fileno()}"
            os.environ["LIBCAMERA_RPI_TUNING_FILE"] = path
            try:
                yield path
            finally:
                os.environ.pop("LIBCAMERA_RPI_TUNING_FILE", None)

    def _configure(self) -> None:
        """Agree with the camera on streams, sensor mode, rate and orientation.

        Raises:
            ConfigError: it cannot do what is configured.
        """
        config, camera, libcamera = self._config, self._camera, self._stack.libcamera
        mode = choose_mode(self._sensor_modes(), config)
        mirrored, upside_down = flips(config)
        transform = libcamera.Transform(hflip=mirrored, vflip=upside_down)
        fits = self._small_size[0] <= config.width and self._small_size[1] <= config.height
        camera.configure(
            camera.create_video_configuration(
                main={"size": (config.width, config.height), "format": "YUV420"},
                lores={"size": self._small_size, "format": "YUV420"} if fits else None,
                raw=None,  # its buffers would only eat the contiguous memory
                sensor=mode and {"output_size": mode.size, "bit_depth": mode.bit_depth},
                transform=transform,
                colour_space=libcamera.ColorSpace.Sycc(),  # full range: luma of 0..255
                buffer_count=config.buffer_count,
                controls=controls_of(config, camera.camera_controls, libcamera),
                display=None,
                encode=None,
            )
        )
        granted = camera.camera_configuration()
        if (granted["transform"].hflip, granted["transform"].vflip) != (mirrored, upside_down):
            raise ConfigError(
                f"source.transform {config.transform!r}: camera {config.camera} cannot flip its"
                ' pictures this way; expected "none"'
            )
        self._size_px = granted["main"]["size"]
        self._small_size_px = None
        if fits and tuple(granted["lores"]["size"]) == self._small_size:
            self._small_size_px = self._small_size
        least_us, most_us, _ = camera.camera_controls["FrameDurationLimits"]
        period_s = min(max(1e6 / config.rate_hz, least_us), most_us) / 1e6
        self._limit_s = max(config.read_timeout_s, _SILENT_PERIODS * period_s)
        self._first_limit_s = _START_S + config.read_timeout_s + _STARTUP_FRAMES * period_s
        self.expected_hz = 1 / period_s
        self.details = self._description(granted)

    def _sensor_modes(self) -> tuple[SensorMode, ...]:
        """Return the modes of the camera; none where it cannot tell, which it may lack memory for.

        Raises:
            ConfigError: it cannot tell, and one of them is configured.
        """
        identity = f"{self._camera.camera_properties.get('Model')} {self._config.camera}"
        try:
            if identity not in _modes_of_camera:
                _modes_of_camera[identity] = modes_of(self._camera.sensor_modes)
        except _CAMERA_ERRORS as error:
            if self._config.sensor == "auto":
                return ()
            raise SourceUnavailable(
                f"source.sensor {self._config.sensor!r}: the modes of camera"
                f' {self._config.camera} cannot be listed ({_causes(error)}); "auto" needs no list'
            ) from error
        return _modes_of_camera[identity]

    def _description(self, granted: dict[str, Any]) -> dict[str, object]:
        """Return what the record should hold about the opened camera, shares of the sensor's."""
        properties, controls = self._camera.camera_properties, self._camera.camera_controls
        sensor = granted.get("sensor") or {}
        detail: dict[str, object] = {
            "camera": self._config.camera,
            "model": str(properties.get("Model", "unknown")),
            "sensor_mode": "x".join(map(str, sensor.get("output_size", ()))) or "unknown",
            "bit_depth": sensor.get("bit_depth"),
            "rate_hz": round(self.expected_hz or 0.0, 3),
            "picamera2": self._stack.picamera2_version,
            "libcamera": str(getattr(self._camera.camera_manager, "version", "unknown")),
        }
        full = properties.get("PixelArraySize")
        if full and "ScalerCrop" in controls:
            _, _, width, height = centre_crop(controls["ScalerCrop"][1], self._size_px)
            detail["seen_width"] = round(width / full[0], 3)
            detail["seen_height"] = round(height / full[1], 3)
        return detail

    def _copied(self, request: Any, stream: str, size: tuple[int, int]) -> Luma:
        """Return the luma of one stream: YUV420 puts it first, rows padded to the stride."""
        width, height = size
        with self._stack.picamera2.MappedArray(request, stream, write=False) as mapped:
            luma: Luma = np.array(mapped.array[:height, :width], dtype=np.uint8, order="C")
        return luma

    def _advance(self, metadata: dict[str, Any]) -> None:
        """Take over the frame's time, and count the frames lost since the last one."""
        stamp = metadata.get("SensorTimestamp")
        if stamp is None:
            raise SourceStalled(
                f"camera {self._config.camera}: a frame without its time (SensorTimestamp); it has"
                " to be opened again"
            )
        stamp_ns = int(stamp)
        if self._clock is None:
            self._clock = clock_of(stamp_ns)
            self._index += 1
        elif stamp_ns <= self._last_ns:
            raise SourceStalled(
                f"camera {self._config.camera}: the same frame again (sensor time {stamp_ns} ns"
                " did not move); it has to be opened again"
            )
        else:
            # the sensor may be slower than asked; it says how long this frame took
            period_us = metadata.get("FrameDuration") or 1e6 / self._config.rate_hz
            self._index += max(1, round((stamp_ns - self._last_ns) / (1e3 * period_us)))
        self._last_ns = stamp_ns


def _open(stack: CameraStack, number: int, tuning: str | None) -> Any:
    """Return the open camera; one that cannot be opened leaves no descriptor behind.

    Where ``Picamera2(number)`` raises, as for a busy camera, it leaves its wake-up pipe open.
    """
    camera: Any = object.__new__(stack.picamera2.Picamera2)
    try:
        camera.__init__(number, tuning=tuning)
    except BaseException:
        if hasattr(camera, "notifymeread"):
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
        raise
    return camera


def _causes(error: BaseException) -> str:
    """Return the text of ``error`` and of what caused it: picamera2 hides the cause in there."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())[:200] or type(cause).__name__
        if text not in texts:
            texts.append(text)
        cause = cause.__cause__ or cause.__context__
    return ": ".join(texts)


def _same_view(metadata: dict[str, Any]) -> bool:
    """Return whether the small stream shows what the main one does.

    The Pi 5 can crop each stream on its own, to its own aspect; boxes would then be displaced.
    """
    crops = metadata.get("ScalerCrops")
    return crops is None or len(crops) < 2 or tuple(crops[0]) == tuple(crops[1])
