"""Settings of a Pi camera: sensor mode, orientation, controls, tuning file.

Pure functions of the configuration and of what picamera2 reports; nothing here opens a camera.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.config import PicameraSource
from edge.errors import ConfigError, SourceUnavailable

Size = tuple[int, int]
Rectangle = tuple[int, int, int, int]

_RATE_TOLERANCE: Final = 0.99  # drivers report 29.97 for a mode that is meant for 30
_FLIPS: Final = {
    "none": (False, False),
    "hflip": (True, False),
    "vflip": (False, True),
    "rotate180": (True, True),
}


@dataclass(frozen=True, slots=True)
class SensorMode:
    """One readout mode of the sensor.

    Attributes:
        size: width and height of the picture from the sensor, pixels.
        bit_depth: bits per pixel.
        rate_max_hz: highest frame rate.
        crop: the part of the sensor that is read out: x, y, width, height, sensor pixels.
    """

    size: Size
    bit_depth: int
    rate_max_hz: float
    crop: Rectangle

    @property
    def name(self) -> str:
        """The size as ``source.sensor`` spells it."""
        return f"{self.size[0]}x{self.size[1]}"


def modes_of(sensor_modes: Iterable[Mapping[str, Any]]) -> tuple[SensorMode, ...]:
    """Return the raw formats of ``Picamera2.sensor_modes``."""
    return tuple(
        SensorMode(tuple(m["size"]), m["bit_depth"], m["fps"], tuple(m["crop_limits"]))
        for m in sensor_modes
        if "size" in m
    )


def choose_mode(modes: tuple[SensorMode, ...], config: PicameraSource) -> SensorMode | None:
    """Return the sensor mode to request; None if the camera lists none.

    For ``source.sensor = "auto"`` libcamera would choose the mode whose size is closest to the
    picture's, which on many sensors is a centre crop. This function prefers the widest view, among
    the modes that sustain ``rate_hz`` and are not smaller than the picture; then the fewest pixels;
    then the highest bit depth.

    Raises:
        ConfigError: the camera has no mode of the configured size.
    """
    if config.sensor != "auto":
        named = [mode for mode in modes if mode.name == config.sensor]
        if not named:
            names = ", ".join(dict.fromkeys(mode.name for mode in modes)) or "none listed"
            raise ConfigError(
                f"source.sensor {config.sensor!r}: camera {config.camera} has no such mode;"
                f' expected "auto" or one of its modes: {names}'
            )
        return max(named, key=lambda mode: mode.bit_depth)
    picture = (config.width, config.height)
    fast = [m for m in modes if m.rate_max_hz >= _RATE_TOLERANCE * config.rate_hz]
    large = [m for m in fast if m.size[0] >= picture[0] and m.size[1] >= picture[1]]
    if not fast:
        return max(modes, key=lambda m: m.rate_max_hz, default=None)
    return max(large or fast, key=lambda m: _preference(m, picture, upscaled=not large))


def _preference(mode: SensorMode, picture: Size, *, upscaled: bool) -> tuple[int, int, int]:
    _, _, width, height = centre_crop(mode.crop, picture)
    pixels = mode.size[0] * mode.size[1]
    # if every mode is smaller than the picture, more pixels are better
    return width * height, pixels if upscaled else -pixels, mode.bit_depth


def centre_crop(crop: Rectangle, picture: Size) -> Rectangle:
    """Return the largest part in the centre of ``crop`` with the aspect ratio of ``picture``."""
    x, y, width, height = crop
    fitted_width = min(width, height * picture[0] // picture[1])
    fitted_height = min(height, width * picture[1] // picture[0])
    return (
        x + (width - fitted_width) // 2,
        y + (height - fitted_height) // 2,
        fitted_width,
        fitted_height,
    )


def flips(config: PicameraSource) -> tuple[bool, bool]:
    """Return whether ``source.transform`` flips horizontally, and vertically."""
    return _FLIPS[config.transform]


def controls_of(
    config: PicameraSource, advertised: Mapping[str, tuple[Any, Any, Any]], libcamera: Any
) -> dict[str, Any]:
    """Return the controls for starting the camera.

    Args:
        config: the source's configuration.
        advertised: ``Picamera2.camera_controls``: name -> minimum, maximum and default.
        libcamera: the module, for its enumerations.

    Raises:
        ConfigError: the camera lacks a control, or cannot focus at that distance.
    """
    period_us = round(1e6 / config.rate_hz)
    requested: dict[str, tuple[str, Any]] = {
        "FrameDurationLimits": ("rate_hz", (period_us, period_us))
    }
    if config.exposure_us is not None:
        requested["ExposureTime"] = ("exposure_us", config.exposure_us)
    if config.gain is not None:
        requested["AnalogueGain"] = ("gain", config.gain)
    if config.focus is not None:
        modes = libcamera.controls.AfModeEnum
        if config.focus == "auto":
            requested["AfMode"] = ("focus", modes.Auto)
            requested["AfTrigger"] = ("focus", libcamera.controls.AfTriggerEnum.Start)
        elif config.focus == "continuous":
            requested["AfMode"] = ("focus", modes.Continuous)
        else:
            requested["AfMode"] = ("focus", modes.Manual)
            requested["LensPosition"] = ("focus", config.focus)
    for name, (key, value) in requested.items():
        if name not in advertised:
            remedy = "use a camera with a focus motor" if key == "focus" else "use another camera"
            raise ConfigError(
                f"source.{key}: camera {config.camera} does not have the control {name};"
                f" {remedy}, or remove source.{key}"
            )
        if name == "LensPosition" and not advertised[name][0] <= value <= advertised[name][1]:
            low, high, _ = advertised[name]
            raise ConfigError(
                f"source.focus {value:g}: camera {config.camera} focuses from {low:g} to"
                f" {high:g} dioptres; expected a value in that range"
            )
    return {name: value for name, (_, value) in requested.items()}


def load_tuning(picamera2: Any, name: str) -> dict[str, Any]:
    """Return the content of a tuning file: a path, or the name of one of libcamera's files.

    Raises:
        ConfigError: there is no such file, or it is not a tuning file.
    """
    folder, file = os.path.split(name)
    try:
        tuning = picamera2.Picamera2.load_tuning_file(file, dir=folder or None)
    except RecursionError as error:  # a subclass of RuntimeError
        raise ConfigError(
            f"source.tuning {name!r}: cannot be read as JSON (nested too deeply); expected a tuning"
            " file of libcamera"
        ) from error
    except RuntimeError as error:
        raise ConfigError(
            f"source.tuning {name!r}: no such tuning file; expected a path, or the name of a file"
            " of libcamera such as imx219_noir.json (ls /usr/share/libcamera/ipa/rpi/*/)"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"source.tuning {name!r}: cannot be read as JSON ({error}); expected a tuning file"
            " of libcamera"
        ) from error
    if not isinstance(tuning, dict) or not (
        "algorithms" in tuning or any(key.startswith("rpi.") for key in tuning)
    ):
        raise ConfigError(
            f"source.tuning {name!r}: JSON without tuning; expected a tuning file of libcamera,"
            ' with the key "algorithms" or keys that begin with "rpi."'
        )
    return tuning


def require_camera(infos: Iterable[Mapping[str, Any]], number: int) -> None:
    """Check that Pi camera ``number`` is connected.

    Args:
        infos: ``Picamera2.global_camera_info()``, Pi cameras before USB cameras.
        number: index of the camera, from 0.

    Raises:
        SourceUnavailable: it is not.
    """
    ids = [str(info["Id"]) for info in infos]
    usb = sum("/usb" in each for each in ids)
    count = len(ids) - usb
    if number < count:
        return
    if usb and not count:
        raise SourceUnavailable(
            f"camera {number}: no Pi camera is connected, only {usb} USB; for a USB camera use"
            ' source.kind = "v4l2" and source.path = "/dev/videoN"; for a Pi camera check the'
            " cable",
            new_process=True,
        )
    found = (
        f"camera {number} does not exist: {count} connected, numbers begin at 0"
        if count
        else f"camera {number} does not exist: no Pi camera is connected"
    )
    lower = f"set source.camera to {count - 1} or less, or " if count else ""
    raise SourceUnavailable(
        f"{found}; {lower}check the cable and 'rpicam-hello --list-cameras'", new_process=True
    )
