"""A Raspberry Pi camera (CSI), through the system's picamera2."""

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
"""The exceptions that picamera2 and libcamera raise when the camera fails."""

_STARTUP_FRAMES: Final = 12
"""Frame periods until the first frame: picamera2 discards frames until exposure converges (8
observed)."""

_START_S: Final = 1.0  # for powering the sensor up, in addition to those frames
_SILENT_PERIODS: Final = 3
_WAIT_S: Final = 0.5
"""Longest wait of one ``read``, so that a slow camera does not look like a hung driver."""

_modes_of_camera: dict[str, tuple[SensorMode, ...]] = {}
"""Cache by camera: a query configures the camera once per mode, too slow for each opening."""


class Picamera:
    """The luma of one camera, and the same picture scaled to the detector's input by the ISP.

    ``sensor_ns`` is the kernel's time stamp of the frame. ``index`` includes lost frames, computed
    from the time between two stamps. A frame that takes longer than ``source.read_timeout_s`` and
    three frame periods is a stall; the first frame may take twelve periods more. Every wait has a
    limit, since libcamera can stop delivering frames without an error. Closing may hang in the
    driver: use this in a process that may be killed. See ``edge.vision.sources.Source``.
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
        self._job: Any = None  # the pending capture
        self._requested_ns = 0
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
                with self._tuning_file() as tuning:
                    require_camera(
                        self._stack.picamera2.Picamera2.global_camera_info(), self._config.camera
                    )
                    self._camera = _open(self._stack, self._config.camera, tuning)
                opened.callback(self._free_camera)  # callbacks run in reverse order: this one last
                opened.callback(self._camera.close)
                self._configure()
                self._camera.start()
                opened.callback(self._camera.stop)
                opened.callback(self._cancel_capture)
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
                # releasing the request returns its buffer to the camera: copy the pixels first
                metadata: dict[str, Any] = request.get_metadata()
                luma = self._copy_luma(request, "main", self._size_px)
                small = None
                if self._small_size_px is not None and _same_view(metadata):
                    small = self._copy_luma(request, "lores", self._small_size_px)
            finally:
                request.release()  # queues the buffer in the driver, which may fail
        except _CAMERA_ERRORS as error:
            raise self._stalled("its buffer cannot be read or given back", error) from error
        exposure_us = metadata.get("ExposureTime")
        self._update_time_and_index(metadata)
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
        """Return the next completed request; the caller releases it.

        Raises:
            FrameNotReady: none yet, within the time limit.
            SourceUnavailable: no frame since the camera was opened.
            SourceStalled: no frame within the time limit, or picamera2 failed.
        """
        if self._job is None:
            self._requested_ns = monotonic_ns()
            self._job = self._camera.capture_request(wait=False)
        limit_s = self._first_limit_s if self._clock is None else self._limit_s
        left_s = limit_s - elapsed_ms(self._requested_ns) / 1e3
        try:
            request = self._job.get_result(timeout=max(0.0, min(left_s, _WAIT_S)))
        except TimeoutError as error:
            if elapsed_ms(self._requested_ns) < limit_s * 1e3:
                raise FrameNotReady(f"camera {self._config.camera}: no frame yet") from error
            text = f"no frame for {limit_s:.3g} s; it has to be opened again"
            if self._clock is None:
                raise SourceUnavailable(
                    f"camera {self._config.camera}: it opens, but {text} (check the cable)"
                ) from error
            raise SourceStalled(f"camera {self._config.camera}: {text}") from error
        except (*_CAMERA_ERRORS, self._stack.picamera2.CancelledError) as error:
            self._job = None
            raise self._stalled("the capture failed", error) from error
        self._job = None
        return request

    def _cancel_capture(self) -> None:
        """Cancel the pending capture: otherwise ``stop`` would wait for it without a limit."""
        job, self._job = self._job, None
        if job is None:
            return
        self._camera.cancel_all_and_flush()
        try:
            # it may have completed before, and would then keep a buffer of the camera
            request = job.get_result(timeout=_WAIT_S)
        except (TimeoutError, self._stack.picamera2.CancelledError):
            return
        request.release()

    def _free_camera(self) -> None:
        """Free the camera now: a closed Picamera2 is a reference cycle that holds descriptors."""
        del self._camera
        gc.collect()

    def _stalled(self, what: str, error: BaseException) -> SourceStalled:
        return SourceStalled(
            f"camera {self._config.camera}: {what}: {_causes(error)}; it has to be opened again"
        )

    @contextlib.contextmanager
    def _tuning_file(self) -> Iterator[str | None]:
        """Yield the path of the tuning file for opening the camera; None for the default.

        The environment variable is needed because libcamera reads the file when it enumerates the
        cameras, before Picamera2 receives its argument.
        """
        if self._config.tuning is None:
            yield None
            return
        tuning = load_tuning(self._stack.picamera2, self._config.tuning)
        # in memory, so that a killed worker leaves no file behind
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
        """Configure streams, sensor mode, rate and orientation.

        Raises:
            ConfigError: the camera cannot do what is configured.
        """
        config, camera, libcamera = self._config, self._camera, self._stack.libcamera
        mode = choose_mode(self._sensor_modes(), config)
        mirrored, upside_down = flips(config)
        transform = libcamera.Transform(hflip=mirrored, vflip=upside_down)
        fits = self._small_size[0] <= config.width and self._small_size[1] <= config.height
        # turned by 90 degrees, a picture of another aspect ratio fills the detector's input
        fits = fits and config.rotate_deg in (0, 180)
        camera.configure(
            camera.create_video_configuration(
                main={"size": (config.width, config.height), "format": "YUV420"},
                lores={"size": self._small_size, "format": "YUV420"} if fits else None,
                raw=None,  # its buffers would use up contiguous memory
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
        min_us, max_us, _ = camera.camera_controls["FrameDurationLimits"]
        period_s = min(max(1e6 / config.rate_hz, min_us), max_us) / 1e6
        self._limit_s = max(config.read_timeout_s, _SILENT_PERIODS * period_s)
        self._first_limit_s = _START_S + config.read_timeout_s + _STARTUP_FRAMES * period_s
        self.expected_hz = 1 / period_s
        self.details = self._opening_details(granted)

    def _sensor_modes(self) -> tuple[SensorMode, ...]:
        """Return the sensor modes; none if they cannot be listed, for example for lack of memory.

        Raises:
            SourceUnavailable: they cannot be listed, and one of them is configured.
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

    def _opening_details(self, granted: dict[str, Any]) -> dict[str, object]:
        """Return the details of the event ``camera_opened``."""
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

    def _copy_luma(self, request: Any, stream: str, size: tuple[int, int]) -> Luma:
        """Return a copy of the luma of one stream: the first plane, whose rows may be padded."""
        width, height = size
        with self._stack.picamera2.MappedArray(request, stream, write=False) as mapped:
            luma: Luma = np.array(mapped.array[:height, :width], dtype=np.uint8, order="C")
        return luma

    def _update_time_and_index(self, metadata: dict[str, Any]) -> None:
        """Set the time stamp and index of this frame; the index counts lost frames."""
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
                " did not advance); it has to be opened again"
            )
        else:
            # the sensor may be slower than configured: use the frame's own duration
            period_us = metadata.get("FrameDuration") or 1e6 / self._config.rate_hz
            self._index += max(1, round((stamp_ns - self._last_ns) / (1e3 * period_us)))
        self._last_ns = stamp_ns


def _open(stack: CameraStack, number: int, tuning: str | None) -> Any:
    """Return the open camera; closes all descriptors if it cannot be opened.

    If ``Picamera2(number)`` raises, as for a busy camera, it leaves its wake-up pipe open.
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
    """Return the texts of ``error`` and its causes: picamera2 wraps the informative one."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())[:200] or type(cause).__name__
        if text not in texts:
            texts.append(text)
        cause = cause.__cause__ or cause.__context__
    return ": ".join(texts)


def _same_view(metadata: dict[str, Any]) -> bool:
    """Return whether the small stream shows the same part of the scene as the main one.

    The Pi 5 can crop each stream to its own aspect ratio; boxes would then be displaced.
    """
    crops = metadata.get("ScalerCrops")
    return crops is None or len(crops) < 2 or tuple(crops[0]) == tuple(crops[1])
