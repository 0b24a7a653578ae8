"""Tries the tuning file of a Pi camera without a camera."""

from typing import Any

from edge.errors import ConfigError
from edge.vision.sources.picamera_setup import load_tuning


def try_tuning(picamera2: Any, name: str) -> None:
    """Load the tuning file ``name`` as the camera source does, and look whether it is one.

    Raises:
        ConfigError: it cannot be loaded, or libcamera could not use what is in it.
    """
    try:
        tuning = load_tuning(picamera2, name)
    except RecursionError as error:
        raise ConfigError(_TOO_DEEP.format(name)) from error
    except ConfigError as error:
        if isinstance(error.__cause__, RecursionError):
            raise ConfigError(_TOO_DEEP.format(name)) from error
        raise
    if "algorithms" not in tuning and not any(key.startswith("rpi.") for key in tuning):
        raise ConfigError(
            f"source.tuning {name!r}: JSON without tuning; expected a tuning file of libcamera,"
            ' with the key "algorithms" or keys that begin with "rpi."'
        )


_TOO_DEEP = (
    "source.tuning {!r}: cannot be read as JSON (nested too deeply); expected a tuning file of"
    " libcamera"
)
