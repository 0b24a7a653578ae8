"""Reads what the hardware is to do, and writes down what was done to it.

The environment variable ``STUB_LIBCAMERA`` names a JSON file; it is read again when it changes, so
that a test can make the camera of a running daemon fall silent. The log is beside it.
"""

import json
import os
import time

_DEFAULTS = {
    "cameras": ["imx219"],  # by sensor; "usb" for a USB camera; looked at once a process
    "busy": False,  # another program holds the camera
    "opening_hangs": False,  # acquiring does not return while this is true
    "opening_holds_lock_s": 0,  # acquiring takes so long and keeps Python's lock, as the real one
    "opening_crashes": False,  # acquiring ends the process
    "configuring_fails": False,
    "requeueing_fails": False,  # as when the cable comes off
    "timeless": False,  # frames have no SensorTimestamp
    "silent": False,  # no more frames, until the camera is started again without this
    "startup": 8,  # frames with the status Startup after a start
    "hides_startup": False,  # they are not delivered at all, as by libcamera before 0.4
    "stop_hangs": False,  # stopping does not return while this is true
    "flips": True,  # whether the sensor can mirror its pictures
    "stride": 64,  # rows are padded to a multiple of this
}
_read: dict[str, object] = dict(_DEFAULTS)
_read_as_of: tuple[object, ...] = ()


def script() -> dict[str, object]:
    """Return the settings now in force."""
    global _read, _read_as_of
    path = os.environ.get("STUB_LIBCAMERA")
    if path is None:
        return _read
    status = os.stat(path)
    as_of = (path, status.st_ino, status.st_mtime_ns)  # it is replaced, never written in place
    if as_of != _read_as_of:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
        if unknown := set(settings) - set(_DEFAULTS):
            raise RuntimeError(f"the script has unknown settings: {unknown}")
        _read, _read_as_of = {**_DEFAULTS, **settings}, as_of
    return _read


def log(what: str, **detail: object) -> None:
    """Append a line to the log of what was done: JSON with the monotonic time."""
    path = os.environ.get("STUB_LIBCAMERA")
    if path is not None:
        line = json.dumps({"what": what, "at_ns": time.monotonic_ns(), **detail}) + "\n"
        with open(path + ".log", "a", encoding="utf-8") as file:
            file.write(line)
