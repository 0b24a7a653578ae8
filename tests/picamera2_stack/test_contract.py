"""The contract of sources, run over the camera source with the real picamera2."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge.config import PicameraSource
from edge.errors import SourceStalled
from edge.vision.sources import Source
from tests.picamera2_stack.hardware import Hardware
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
    pytest.mark.picamera2,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's
]


@pytest.fixture
def kind(hardware: Hardware) -> Kind:
    hardware.set(startup=3)

    @contextmanager
    def opened(first: int) -> Iterator[Source]:
        hardware.set(silent=False)
        config = PicameraSource(kind="picamera", read_timeout_s=0.3)
        with by_config(config)(first) as source:
            yield source

    return Kind(
        opened, live=True, end=SourceStalled, silence=lambda: hardware.set(silent=True), openings=8
    )
