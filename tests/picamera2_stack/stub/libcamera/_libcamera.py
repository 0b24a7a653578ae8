"""The value types of libcamera."""

import enum
import os
from types import SimpleNamespace


class StreamRole(enum.Enum):
    Raw = 0
    StillCapture = 1
    VideoRecording = 2
    Viewfinder = 3


class ControlType(enum.Enum):
    Null = 0
    Integer = 4
    Rectangle = 8
    Size = 9


class Orientation(enum.Enum):
    Rotate0 = 1
    Rotate0Mirror = 2
    Rotate180 = 3
    Rotate180Mirror = 4
    Rotate90Mirror = 5
    Rotate270 = 6
    Rotate270Mirror = 7
    Rotate90 = 8


class Transform:
    def __init__(self, other: "Transform | None" = None, *, hflip=0, vflip=0, transpose=0) -> None:
        if other is not None:
            hflip, vflip, transpose = other.hflip, other.vflip, other.transpose
        self.hflip, self.vflip, self.transpose = bool(hflip), bool(vflip), bool(transpose)

    def __str__(self) -> str:
        return f"<libcamera.Transform {self.hflip} {self.vflip} {self.transpose}>"

    def __hash__(self) -> int:
        return hash((self.hflip, self.vflip, self.transpose))


class ColorSpace:
    class YcbcrEncoding(enum.Enum):
        Null = 0
        Rec601 = 1
        Rec709 = 2

    class Range(enum.Enum):
        Full = 0
        Limited = 1

    def __init__(self, *values) -> None:
        if len(values) == 1:  # a copy
            (other,) = values
            values = (other.primaries, other.transferFunction, other.ycbcrEncoding, other.range)
        self.primaries, self.transferFunction, self.ycbcrEncoding, self.range = values

    @classmethod
    def Sycc(cls) -> "ColorSpace":  # noqa: N802
        return cls("Rec709", "Srgb", cls.YcbcrEncoding.Rec601, cls.Range.Full)

    @classmethod
    def Smpte170m(cls) -> "ColorSpace":  # noqa: N802
        return cls("Smpte170m", "Rec709", cls.YcbcrEncoding.Rec601, cls.Range.Limited)

    @classmethod
    def Rec709(cls) -> "ColorSpace":  # noqa: N802
        return cls("Rec709", "Rec709", cls.YcbcrEncoding.Rec709, cls.Range.Limited)

    @classmethod
    def Raw(cls) -> "ColorSpace":  # noqa: N802
        return cls("Raw", "Linear", cls.YcbcrEncoding.Null, cls.Range.Full)

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
    class Status(enum.Enum):
        Success = 0
        Error = 1
        Cancelled = 2
        Startup = 3


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
