"""The contract test of sources, on the camera source over the real picamera2."""

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
    test_a_frame_belongs_to_whoever_read_it,
    test_frames_are_mono_and_in_order,
    test_it_ends_as_declared,
    test_nothing_is_printed,
    test_opening_and_closing_leaves_nothing_open,
)

__all__ = [
    "test_a_frame_belongs_to_whoever_read_it",
    "test_frames_are_mono_and_in_order",
    "test_it_ends_as_declared",
    "test_nothing_is_printed",
    "test_opening_and_closing_leaves_nothing_open",
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
