"""Frame sources: cameras, network streams, files. Pacing and resizing are done elsewhere.

To add a source: a file here, its configuration in ``edge.config``, a ``case`` below, and a line in
``tests/vision/sources/test_contract.py``.
"""

from typing import Protocol, Self

from edge.config import (
    DemoSource,
    ImagesSource,
    PicameraSource,
    SourceConfig,
    StreamSource,
    V4l2Source,
    VideoSource,
)
from edge.vision.values import Frame


class Source(Protocol):
    """Delivers one frame per call. Opened, used and closed by one thread, as a context manager.

    A source that is not live ends, and its times are on the clock ``media``, from 0 on. The times
    of a live source are on the clock ``monotonic`` or ``boottime``. It may stall, and has no end.
    """

    @property
    def live(self) -> bool:
        """Whether it delivers frames in real time and can stall; files are not live."""

    @property
    def expected_hz(self) -> float | None:
        """Nominal frame rate, Hz; None if unknown."""

    @property
    def details(self) -> dict[str, object] | None:
        """Details for the event ``camera_opened`` or ``folder_opened``; None if there are none."""

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            ConfigError: the configured source can never be opened.
            SourceUnavailable: it is not available now.
        """

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def read(self) -> Frame:
        """Return the next frame; waits no longer than its own time limit.

        Raises:
            EndOfStream: a file was read to its end.
            SourceStalled: a live source delivers no new frame; open it again.
            FrameRefused: this frame cannot be decoded; the next one may be.
            FrameNotReady: a slow live source has no frame yet; call again.
        """


def check_decoder(config: SourceConfig) -> None:
    """Check that the installed OpenCV can decode the source. Opens nothing.

    Raises:
        ConfigError: it cannot.
    """
    if isinstance(config, StreamSource):
        from edge.vision.sources.old_opencv import refuse_stream  # noqa: PLC0415

        refuse_stream()


def load_modules(config: SourceConfig) -> None:
    """Import the system's packages that the source needs; slow when the SD card is not cached.

    After this, opening the source takes only as long as the camera needs. Opens no camera.

    Raises:
        ConfigError: a package cannot be imported, or cannot decode the source.
    """
    check_decoder(config)
    if isinstance(config, PicameraSource):
        from edge.vision.sources.picamera_stack import load_stack  # noqa: PLC0415

        load_stack()


def open_source(
    config: SourceConfig, *, small_size: tuple[int, int], first_index: int = 0
) -> Source:
    """Return the configured source, not opened yet, with its pictures turned as configured.

    Args:
        config: the source's configuration.
        small_size: width and height of the detector's input, for cameras that scale in hardware.
        first_index: index of its first frame; a reopened source continues the numbering.
    """
    source = _source_of(config, small_size, first_index)
    if config.rotate_deg == 0 and config.flip == "none":
        return source
    from edge.vision.sources.orientation import Oriented  # noqa: PLC0415

    return Oriented(source, config.rotate_deg, config.flip)


def _source_of(config: SourceConfig, small_size: tuple[int, int], first_index: int) -> Source:
    match config:
        case DemoSource():
            from edge.vision.sources.video import DEMO_CLIP, Video  # noqa: PLC0415

            return Video(str(DEMO_CLIP), first_index)
        case ImagesSource():
            from edge.vision.sources.images import Images  # noqa: PLC0415

            return Images(config.path, config.rate_hz, first_index, config.bits)
        case VideoSource():
            from edge.vision.sources.video import Video  # noqa: PLC0415

            return Video(config.path, first_index, rate_hz=config.rate_hz)
        case V4l2Source():
            from edge.vision.sources.v4l2 import V4l2  # noqa: PLC0415

            return V4l2(config, first_index)
        case StreamSource():
            from edge.vision.sources.stream import Stream  # noqa: PLC0415

            return Stream(config, first_index)
        case PicameraSource():
            from edge.vision.sources.picamera import Picamera  # noqa: PLC0415

            return Picamera(config, small_size, first_index)
