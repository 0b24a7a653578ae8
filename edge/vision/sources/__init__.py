"""Frame sources: cameras, network streams, files. Pacing and resizing are done elsewhere.

To add a source: a file here, its configuration in ``edge.config``, a ``case`` below, and a line in
``tests/vision/sources/test_contract.py``.
"""

from edge.config import (
    DemoSource,
    ImagesSource,
    PicameraSource,
    SourceConfig,
    StreamSource,
    V4l2Source,
    VideoSource,
    is_file,
)
from edge.vision.sources.source import Source

__all__ = ["Source", "check_decoder", "load_modules", "open_source"]


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
    config: SourceConfig,
    *,
    small_size: tuple[int, int],
    first_index: int = 0,
    resume_index: int = 0,
) -> Source:
    """Return the configured source, not opened yet, with its pictures turned as configured.

    Args:
        config: the source's configuration.
        small_size: width and height of the detector's input, for cameras that scale in hardware.
        first_index: index of its first frame; a reopened source continues the numbering.
        resume_index: first index that is wanted of a file; earlier pictures may be left out.
    """
    if is_file(config) and config.repeat != 1:
        from edge.vision.sources.repeated import Repeated  # noqa: PLC0415

        once = config.model_copy(update={"repeat": 1})
        return Repeated(
            lambda: open_source(once, small_size=small_size), config.repeat, resume_index
        )
    source = _source_of(config, small_size, first_index)
    if config.rotate_deg == 0 and config.flip == "none":
        return source
    from edge.vision.sources.orientation import Oriented  # noqa: PLC0415

    return Oriented(source, config.rotate_deg, config.flip)


def _source_of(config: SourceConfig, small_size: tuple[int, int], first_index: int) -> Source:
    match config:
        case DemoSource():
            from edge.vision.sources.video import DEMO_CLIP, Video  # noqa: PLC0415

            return Video(str(DEMO_CLIP), first_index, rate_hz=config.rate_hz)
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
