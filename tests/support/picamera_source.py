"""The camera source over the fake picamera2."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import pytest

from edge.clock import monotonic_ns
from edge.config import PicameraSource
from edge.errors import AffectEdgeError, FrameNotReady
from edge.vision.sources.picamera import Picamera
from edge.vision.values import Frame
from tests.support.fake_picamera2 import Script, install

Error = TypeVar("Error", bound=AffectEdgeError)

SMALL = (320, 192)
"""Size of the detector's picture."""


@contextlib.contextmanager
def opened(
    script: Script, small: tuple[int, int] = SMALL, **settings: object
) -> Iterator[Picamera]:
    """Open the source with ``settings`` of ``[source]`` on the scripted camera."""
    script.start_ns = script.start_ns or monotonic_ns() - 20_000_000
    config = PicameraSource.model_validate({"kind": "picamera", "read_timeout_s": 0.05, **settings})
    with install(script), Picamera(config, small) as source:
        yield source


def read(source: Picamera) -> Frame:
    """Read until a frame is there, as the capture stage does."""
    while True:
        with contextlib.suppress(FrameNotReady):
            return source.read()


def refused(kind: type[Error], message: str, script: Script, settings: dict[str, object]) -> Error:
    """Return the error of opening the source; fail unless it is one line and the camera closed."""
    with pytest.raises(kind, match=message) as caught, opened(script, **settings):
        pass
    assert "\n" not in str(caught.value)
    assert script.open_count == 0
    return caught.value
