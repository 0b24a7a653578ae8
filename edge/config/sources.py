"""The ``[source]`` section: one model per kind of camera or file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeGuard, get_args

from pydantic import Field, field_validator

from edge.config.redact import redact
from edge.config.section import Bits, Pixels, Rate, Section, Wait, WallTime, matching, no_address

Repeats = Annotated[int, Field(ge=0, le=10**9)]
"""How often a file is read; 0: until the daemon is stopped."""

LocalPath = Annotated[str, Field(min_length=1), no_address]

Rotation = Literal[0, 90, 180, 270]
"""Degrees clockwise by which every picture of a source is turned, before anything else."""

Flip = Literal["none", "horizontal", "vertical"]
"""How it is mirrored after that; ``horizontal`` exchanges left and right."""


class SourceSection(Section):
    """What every kind of source has."""

    kind: str

    def describe(self) -> str:
        """Return kind and place; of a camera's address only scheme, host and port."""
        return " ".join([self.kind, *self._place()])

    def _place(self) -> tuple[str, ...]:
        return ()


class DemoSource(SourceSection):
    """The bundled clip of a real face; it needs no hardware."""

    kind: Literal["demo"] = "demo"
    rate_hz: Rate | None = None
    paced: bool = True
    repeat: Repeats = 1
    rotate_deg: Rotation = 0
    flip: Flip = "none"


class ImagesSource(SourceSection):
    """A folder of pictures, read in the order of their names."""

    kind: Literal["images"]
    path: LocalPath
    rate_hz: Rate = 0.5
    paced: bool = True
    repeat: Repeats = 1
    bits: Bits | None = None
    recorded_at: WallTime | None = None
    rotate_deg: Rotation = 0
    flip: Flip = "none"

    def _place(self) -> tuple[str, ...]:
        return (redact(self.path),)


class VideoSource(SourceSection):
    """A video file, read from beginning to end."""

    kind: Literal["video"]
    path: LocalPath
    rate_hz: Rate | None = None
    paced: bool = True
    repeat: Repeats = 1
    recorded_at: WallTime | None = None
    rotate_deg: Rotation = 0
    flip: Flip = "none"

    def _place(self) -> tuple[str, ...]:
        return (redact(self.path),)


class V4l2Source(SourceSection):
    """A Video4Linux camera, such as a USB camera."""

    kind: Literal["v4l2"]
    path: LocalPath = "/dev/video0"
    width: Pixels = 1280
    height: Pixels = 720
    rate_hz: Rate = 30.0
    bits: Bits | None = None
    rotate_deg: Rotation = 0
    flip: Flip = "none"

    def _place(self) -> tuple[str, ...]:
        return (redact(self.path),)


class StreamSource(SourceSection):
    """A network camera: RTSP or HTTP."""

    kind: Literal["stream"]
    url: Annotated[
        str, matching(r"(rtsps?|https?)://\S+", "rtsp://, rtsps://, http:// or https:// and a host")
    ]
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: Wait = 3.0
    read_timeout_s: Wait = 1.5
    rate_hz: Rate | None = None
    rotate_deg: Rotation = 0
    flip: Flip = "none"

    def _place(self) -> tuple[str, ...]:
        return (redact(self.url),)


class PicameraSource(SourceSection):
    """A Raspberry Pi camera, through the system's picamera2."""

    kind: Literal["picamera"]
    camera: int = Field(0, ge=0, le=7)
    width: Pixels = 1280
    height: Pixels = 720
    # a stall is declared after three periods; below 0.5 Hz the watchdog would act first
    rate_hz: float = Field(30.0, ge=0.5, le=1000)
    sensor: Annotated[
        str, matching(r"auto|\d{2,5}x\d{2,5}", '"auto" or WIDTHxHEIGHT such as "1640x1232"')
    ] = "auto"
    transform: Literal["none", "rotate180", "hflip", "vflip"] = "none"
    exposure_us: int | None = Field(None, gt=0, le=1_000_000)
    gain: float | None = Field(None, gt=0, le=64)
    focus: float | str | None = None
    tuning: str | None = Field(None, min_length=1)
    buffer_count: int = Field(4, ge=2, le=12)
    read_timeout_s: Wait = 1.0
    rotate_deg: Rotation = 0
    flip: Flip = "none"

    @field_validator("focus", mode="before")
    @classmethod
    def _mode_or_distance(cls, value: Any) -> Any:
        """Accept a focus mode, or dioptres: 1 / distance in metres, 0 for infinity."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value in (None, "auto", "continuous") or (number and 0 <= value <= 32):
            return value
        raise ValueError('expected "auto", "continuous", or dioptres from 0 to 32')

    def _place(self) -> tuple[str, ...]:
        return (str(self.camera),)


FileSource = DemoSource | ImagesSource | VideoSource
CameraSource = V4l2Source | StreamSource | PicameraSource
SourceConfig = Annotated[
    FileSource | CameraSource,
    Field(discriminator="kind"),
]


SOURCES: Mapping[str, type[SourceSection]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for model in (*get_args(FileSource), *get_args(CameraSource))
}
"""Kind of source -> its section."""


def is_file(source: SourceConfig) -> TypeGuard[FileSource]:
    """Return whether ``source`` is a file, folder or clip: it ends and can be read at any pace."""
    return isinstance(source, FileSource)
