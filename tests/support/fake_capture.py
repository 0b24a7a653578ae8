"""A fake ``cv2.VideoCapture`` for a Video4Linux device, with the faults of real ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.clock import monotonic_ns
from edge.vision.values import Luma


def picture(number: int, width: int, height: int) -> Luma:
    """Return the picture with this number: random noise."""
    return np.random.default_rng(number).integers(16, 236, (height, width), np.uint8)


@dataclass
class Device:
    """A camera and its behaviour.

    Attributes:
        rates_hz: the rate that it reaches in each of its formats; the first is its default.
        opens: whether it can be opened.
        painter: returns the picture with a number; with a deep format, 16 bits per pixel.
        stamp_ms: returns the time stamp of the picture with a number; 0 for none.
        broken: numbers of the pictures whose bytes are garbage.
        fails_at: number of the picture for which ``grab`` returns false.
    """

    rates_hz: dict[str, float] = field(default_factory=lambda: {"GREY": 30.0})
    opens: bool = True
    painter: Callable[[int, int, int], NDArray[Any]] = picture
    stamp_ms: Callable[[int], float] = lambda number: START_MS + number * 33.3
    broken: frozenset[int] = frozenset()
    fails_at: int | None = None
    released: int = 0

    def open(self, path: str, backend: int, parameters: list[int]) -> "Capture":
        """Replace ``cv2.VideoCapture(path, backend, parameters)``."""
        assert backend == cv2.CAP_V4L2, f"{path} opened with another backend"
        assert not parameters
        return Capture(self)


START_MS = monotonic_ns() / 1e6


class Capture:
    """An open capture of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._number = -1
        self._settings: dict[int, float] = {cv2.CAP_PROP_CONVERT_RGB: 1.0}
        if len(default := next(iter(device.rates_hz))) == 4:
            self._settings[cv2.CAP_PROP_FOURCC] = float(cv2.VideoWriter.fourcc(*default))

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        return self._device.opens

    def set(self, key: int, value: float) -> bool:
        if key == cv2.CAP_PROP_FOURCC and name_of(value) not in self._device.rates_hz:
            return False
        self._settings[key] = value
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self._device.stamp_ms(self._number)
        if key == cv2.CAP_PROP_FPS:
            return self._device.rates_hz.get(self.format, 0.0)
        return self._settings.get(key, 0.0)

    @property
    def format(self) -> str:
        """The four letters of the current format."""
        return name_of(self._settings.get(cv2.CAP_PROP_FOURCC, 0.0))

    def grab(self) -> bool:
        self._number += 1
        return self._number != self._device.fails_at

    def retrieve(self) -> tuple[bool, Any]:
        width = int(self._settings[cv2.CAP_PROP_FRAME_WIDTH])
        height = int(self._settings[cv2.CAP_PROP_FRAME_HEIGHT])
        luma = self._device.painter(self._number, width, height)
        if self._settings[cv2.CAP_PROP_CONVERT_RGB]:
            if luma.dtype == np.uint16:  # OpenCV keeps the upper byte
                luma = (luma >> 8).astype(np.uint8)
            return True, cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR)
        if self.format == "YUYV":
            return True, np.dstack([luma, np.full_like(luma, 128)])
        if self.format == "MJPG":
            coded = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
            if self._number in self._device.broken:
                coded[:] = 0
            return True, coded.reshape(1, -1)
        if self._number in self._device.broken:
            return True, luma.astype(np.uint16 if luma.dtype == np.uint8 else np.uint8)
        return True, luma

    def release(self) -> None:
        self._device.released += 1


def name_of(code: float) -> str:
    """Return the four letters of a format code."""
    return int(code).to_bytes(4, "little").decode("ascii", "replace")
