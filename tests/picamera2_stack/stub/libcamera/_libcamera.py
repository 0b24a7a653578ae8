"""The value types of libcamera."""

import enum
import os
from types import SimpleNamespace

StreamRole = enum.Enum("StreamRole", "Raw StillCapture VideoRecording Viewfinder", start=0)
ControlType = enum.Enum("ControlType", {"Null": 0, "Integer": 4, "Rectangle": 8, "Size": 9})
Orientation = enum.Enum(
    "Orientation",
    "Rotate0 Rotate0Mirror Rotate180 Rotate180Mirror"
    " Rotate90Mirror Rotate270 Rotate270Mirror Rotate90",
)


class Transform:
    def __init__(self, other: "Transform | None" = None, *, hflip=0, vflip=0, transpose=0) -> None:
        if other is not None:
            hflip, vflip, transpose = other.hflip, other.vflip, other.transpose
        self.hflip, self.vflip, self.transpose = bool(hflip), bool(vflip), bool(transpose)

    def __str__(self) -> str:
        return f"<libcamera.Transform {self.hflip} {self.vflip} {self.transpose}>"

    def __hash__(self) -> int:
        return hash((self.hflip, self.vflip, self.transpose))


def _preset(primaries: str, transfer_function: str, encoding: enum.Enum, range_: enum.Enum):
    """Return a static method that makes this colour space."""
    return staticmethod(lambda: ColorSpace(primaries, transfer_function, encoding, range_))


class ColorSpace:
    YcbcrEncoding = enum.Enum("YcbcrEncoding", "Null Rec601 Rec709", start=0)
    Range = enum.Enum("Range", "Full Limited", start=0)

    Sycc = _preset("Rec709", "Srgb", YcbcrEncoding.Rec601, Range.Full)
    Smpte170m = _preset("Smpte170m", "Rec709", YcbcrEncoding.Rec601, Range.Limited)
    Rec709 = _preset("Rec709", "Rec709", YcbcrEncoding.Rec709, Range.Limited)
    Raw = _preset("Raw", "Linear", YcbcrEncoding.Null, Range.Full)

    def __init__(self, *values) -> None:
        if len(values) == 1:  # a copy
            (other,) = values
            values = (other.primaries, other.transferFunction, other.ycbcrEncoding, other.range)
        self.primaries, self.transferFunction, self.ycbcrEncoding, self.range = values

    def __str__(self) -> str:
        return f"{self.primaries}/{self.transferFunction}"

    def __hash__(self) -> int:
        return hash(str(self))


class Size:
    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = width, height


class Rectangle:
    def __init__(self, x: int, y: int, width: int, height: int) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height


class PixelFormat:
    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return self._name


class SensorConfiguration:
    def __init__(self) -> None:
        self.bit_depth = 0
        self.output_size = Size()


class FrameMetadata:
    Status = enum.Enum("Status", "Success Error Cancelled Startup", start=0)


class FrameBuffer:
    """Memory of one stream; keeps a copy of the descriptor, as libcamera does."""

    class Plane:
        def __init__(self) -> None:
            self.fd = -1
            self.offset = 0
            self.length = 0

    def __init__(self, planes: list["FrameBuffer.Plane"]) -> None:
        if len(planes) != 1:
            raise RuntimeError("one plane is expected")
        self.planes = planes
        self.metadata = SimpleNamespace(status=FrameMetadata.Status.Success)
        self.own_fd = os.dup(planes[0].fd)

    def __del__(self) -> None:
        if hasattr(self, "own_fd"):
            os.close(self.own_fd)
