"""Reads the script of the hardware, and writes the log of the calls.

The environment variable ``STUB_LIBCAMERA`` names a JSON file. It is read again when it changes, so
that a test can stop the frames of a running daemon. The log is in the same folder.
"""

import json
import os
import time

_DEFAULTS = {
    "cameras": ["imx219"],  # sensors; "usb" for a USB camera; read once per process
    "busy": False,  # another program uses the camera
    "opening_hangs": False,  # acquiring does not return while this is true
    "opening_holds_lock_s": 0,  # acquiring takes so long and holds Python's lock, as the real one
    "opening_crashes": False,  # acquiring ends the process
    "configuring_fails": False,
    "requeueing_fails": False,  # as when the cable is unplugged
    "timeless": False,  # frames have no SensorTimestamp
    "silent": False,  # no more frames until the camera is started again with false
    "startup": 8,  # frames with the status Startup after a start
    "hides_startup": False,  # start-up frames are not delivered, as by libcamera before 0.4
    "stop_hangs": False,  # stopping does not return while this is true
    "flips": True,  # whether the sensor can mirror its pictures
    "stride": 64,  # rows are padded to a multiple of this
}
_read: dict[str, object] = dict(_DEFAULTS)
_read_as_of: tuple[object, ...] = ()


def script() -> dict[str, object]:
    """Return the current settings."""
    global _read, _read_as_of
    path = os.environ.get("STUB_LIBCAMERA")
    if path is None:
        return _read
    status = os.stat(path)
    as_of = (
        path,
        status.st_ino,
        status.st_mtime_ns,
    )  # the file is replaced, never changed in place
    if as_of != _read_as_of:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
        if unknown := set(settings) - set(_DEFAULTS):
            raise RuntimeError(f"the script has unknown settings: {unknown}")
        _read, _read_as_of = {**_DEFAULTS, **settings}, as_of
    return _read


def log(what: str, **detail: object) -> None:
    """Append a line to the log: JSON with the monotonic time."""
    path = os.environ.get("STUB_LIBCAMERA")
    if path is not None:
        line = json.dumps({"what": what, "at_ns": time.monotonic_ns(), **detail}) + "\n"
        with open(path + ".log", "a", encoding="utf-8") as file:
            file.write(line)
