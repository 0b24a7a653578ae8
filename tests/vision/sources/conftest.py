"""Fixtures of the tests of sources."""

import cv2
import pytest

from tests.support.fake_capture import Device


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A Video4Linux camera that OpenCV opens in place of a real one."""
    made = Device()
    monkeypatch.setattr(cv2, "VideoCapture", made.open)
    return made
