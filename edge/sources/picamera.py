"""The Raspberry Pi's own camera, through the picamera2 of the system."""

import contextlib
from types import TracebackType
from typing import Any, Self

import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.config import PicameraSource
from edge.errors import SourceStalled, SourceUnavailable
from edge.sources.picamera_stack import load_stack
from edge.sources.stamps import clock_of
from edge.values import ClockName, Frame, Luma


class Picamera:
    """The luma of one camera, and the same picture scaled to the detector's input by its ISP.

    ``sensor_ns`` is the kernel's time stamp of the frame, ``index`` counts frames that were lost
    between two stamps. Every wait has a limit, since the stack below can fall silent for ever.
    Leaving the ``with`` may hang in the driver: this belongs in a process that may be killed.
    See ``edge.sources.Source``.
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
        self.expected_hz: float | None = config.rate_hz

    def __enter__(self) -> Self:
        """Open, configure and start the camera.

        Raises:
            ConfigError: picamera2 cannot be imported, or is too old.
            SourceUnavailable: no such camera is connected, or another program holds it.
        """
        stack = load_stack()
        picamera2 = stack.picamera2
        self._mapped = picamera2.MappedArray
        number = self._config.camera
        with contextlib.ExitStack() as opened:
            try:
                count = len(picamera2.Picamera2.global_camera_info())
                if count <= number:
                    raise SourceUnavailable(
                        f"camera {number}: {count} connected; expected more than source.camera"
                        " (check the cable, and 'rpicam-hello --list-cameras')"
                    )
                self._camera = picamera2.Picamera2(number)
                opened.callback(self._camera.close)
                self._camera.configure(self._configuration(stack.libcamera.ColorSpace.Sycc()))
                self._small_size_px = self._granted_small_size()
                self._camera.start()
            except (RuntimeError, OSError, ValueError) as error:
                raise SourceUnavailable(
                    f"camera {number}: {error}; is another program using it?"
                ) from error
            self._opened = opened.pop_all()
        self._opened.callback(self._camera.stop)  # before close: callbacks run in reverse
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def read(self) -> Frame:
        """Return the next frame; see ``Source.read``."""
        limit_s = self._config.read_timeout_s
        job = self._camera.capture_request(wait=False)
        try:
            request = job.get_result(timeout=limit_s)
        except TimeoutError as error:
            raise SourceStalled(
                f"camera {self._config.camera}: no frame for {limit_s:g} s"
                " (source.read_timeout_s); it has to be opened again"
            ) from error
        began_ns = monotonic_ns()
        try:
            # the buffer goes back to the camera with the request: pixels are copied out before
            metadata: dict[str, Any] = request.get_metadata()
            luma = self._copied(
                request, "main", self._camera.camera_configuration()["main"]["size"]
            )
            small = None
            if self._small_size_px is not None and _same_view(metadata):
                small = self._copied(request, "lores", self._small_size_px)
        finally:
            request.release()
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

    def _configuration(self, full_range: Any) -> Any:
        """Return what to ask of picamera2: luma of 0..255, one period, no raw stream."""
        config = self._config
        period_us = round(1e6 / config.rate_hz)
        controls: dict[str, Any] = {"FrameDurationLimits": (period_us, period_us)}
        if config.exposure_us is not None:
            controls["ExposureTime"] = config.exposure_us
        if config.gain is not None:
            controls["AnalogueGain"] = config.gain
        fits = self._small_size[0] <= config.width and self._small_size[1] <= config.height
        return self._camera.create_video_configuration(
            main={"size": (config.width, config.height), "format": "YUV420"},
            lores={"size": self._small_size, "format": "YUV420"} if fits else None,
            raw=None,  # its buffers would only eat the contiguous memory
            colour_space=full_range,
            buffer_count=config.buffer_count,
            controls=controls,
            display=None,
            encode=None,
        )

    def _granted_small_size(self) -> tuple[int, int] | None:
        """Return the size of the small stream where the hardware took it as asked."""
        lores = self._camera.camera_configuration().get("lores")
        if lores is None or tuple(lores["size"]) != self._small_size:
            return None
        return self._small_size

    def _copied(self, request: Any, stream: str, size: tuple[int, int]) -> Luma:
        """Return the luma of one stream: YUV420 puts it first, rows padded to the stride."""
        width, height = size
        with self._mapped(request, stream, write=False) as mapped:
            luma: Luma = np.array(mapped.array[:height, :width], dtype=np.uint8, order="C")
        return luma

    def _advance(self, metadata: dict[str, Any]) -> None:
        """Take over the frame's time, and count the frames lost since the last one."""
        stamp_ns = int(metadata["SensorTimestamp"])
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


def _same_view(metadata: dict[str, Any]) -> bool:
    """Return whether the small stream shows what the main one does.

    The Pi 5 can crop each stream on its own, to its own aspect; boxes would then be displaced.
    """
    crops = metadata.get("ScalerCrops")
    return crops is None or len(crops) < 2 or tuple(crops[0]) == tuple(crops[1])
