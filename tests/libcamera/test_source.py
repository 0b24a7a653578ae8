"""The contract of sources, run over the camera source with the real picamera2 and libcamera."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge.config import PicameraSource
from edge.errors import FrameNotReady, SourceStalled, SourceUnavailable
from edge.vision.sources import Source
from edge.vision.values import Frame
from tests.libcamera import virtual_camera
from tests.vision.sources.test_contract import (
    Kind,
    by_config,
    test_closing_leaves_no_descriptor_open,
    test_frames_are_mono_and_in_order,
    test_frames_do_not_share_memory,
    test_nothing_is_printed,
    test_source_ends_with_the_documented_error,
)

__all__ = [
    "test_closing_leaves_no_descriptor_open",
    "test_frames_are_mono_and_in_order",
    "test_frames_do_not_share_memory",
    "test_nothing_is_printed",
    "test_source_ends_with_the_documented_error",
]

pytestmark = [
    pytest.mark.libcamera,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's
]


@contextmanager
def opened(first: int = 0, **settings: Any) -> Iterator[Source]:
    """Open the source at a rate that is lower than the camera's: none is lost on a busy machine."""
    virtual_camera.SILENT.unlink(missing_ok=True)
    config = PicameraSource.model_validate(
        {"kind": "picamera", "rate_hz": 7.0, "read_timeout_s": 0.43, **settings}
    )
    with by_config(config)(first) as source:
        yield source


@pytest.fixture
def kind() -> Kind:
    return Kind(
        opened, live=True, end=SourceStalled, silence=virtual_camera.SILENT.touch, openings=8
    )


def read(source: Source) -> Frame:
    """Read until a frame is there, as the capture stage does."""
    while True:
        with contextlib.suppress(FrameNotReady):
            return source.read()


def test_the_camera_is_reported_as_libcamera_names_it() -> None:
    with opened(read_timeout_s=5.0) as source:  # a busy machine needs time for the first picture
        assert read(source).luma.shape == (720, 1280)
        assert source.details is not None
        assert source.details["model"] == "Virtual Test Camera"
        assert str(source.details["libcamera"]).startswith("v0.")


def test_a_size_that_libcamera_does_not_grant_gives_no_second_picture() -> None:
    """The virtual camera has no 320x192: what comes instead is not taken for it."""
    with opened(width=640, height=480, read_timeout_s=5.0) as source:
        frame = read(source)
    assert frame.luma.shape == (480, 640)
    assert frame.small is None


def test_a_stall_ends_in_time_and_the_camera_opens_again() -> None:
    with opened() as source:
        last = read(source)
        virtual_camera.SILENT.touch()
        began = time.monotonic()
        with contextlib.suppress(SourceStalled):
            for _ in range(10):  # some frames may be on their way
                last = read(source)
        with pytest.raises(SourceStalled, match=r"no frame for 0\.43 s"):
            read(source)
    assert time.monotonic() - began < 5.0
    with opened(last.index + 1) as source:
        frame = read(source)
        assert frame.index == last.index + 1
        assert frame.sensor_ns > last.sensor_ns


def test_a_camera_that_is_in_use_is_said_to_be() -> None:
    with opened(), pytest.raises(SourceUnavailable, match="Device or resource busy"), opened():
        pass
