"""What the service logs of events."""

import pytest

from edge.hub.event_log import log_event
from edge.protocol.events import InferenceFailed
from edge.protocol.lid_events import Blink, EyesClosed


def test_events_of_eyes_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each blink was a warning."""
    caplog.set_level("DEBUG", logger="affect_edge")
    log_event(Blink(track=1, participant="P07", duration_ms=120, sensor_ns=1))
    log_event(EyesClosed(track=1, closed_s=2.0, sensor_ns=1))
    assert caplog.messages == []
    log_event(InferenceFailed(reason="the network failed"))
    assert caplog.messages == ["inference_failed: the network failed"]
