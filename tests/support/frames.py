"""Frames for tests of detectors and networks."""

from edge.vision.values import Frame, Luma


def frame_of(luma: Luma, small: Luma | None = None) -> Frame:
    """Return a frame of read-only pictures: code that writes to them raises an error."""
    for picture in (luma, small):
        if picture is not None:
            picture.flags.writeable = False
    return Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0, small=small)
