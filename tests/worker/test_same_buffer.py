"""A camera whose driver gives the same buffer again and again, and says that all is well.

OpenCV's ``read`` returns true after an unplugged cable (opencv#14044) and on a timeout
(opencv#10927): only a new time and a changed picture are news.
"""

import time

import cv2
import pytest

from edge.config import V4l2Source
from edge.link import EventReport, FrameReport
from edge.vision.sources.v4l2 import V4l2
from edge.vision.values import Luma
from tests.support.fake_capture import START_MS, Device, picture
from tests.worker.test_worker import reports, running, states

CONFIG = V4l2Source(kind="v4l2", path="/dev/null", width=64, height=48)
STUCK_FROM = 20
PERIOD_MS = 33.3


def painted(number: int, width: int, height: int) -> Luma:
    time.sleep(0.001)  # the capture thread does not fill the link
    return picture(min(number, STUCK_FROM), width, height)


@pytest.mark.parametrize("times_advance", [True, False])
def test_the_same_buffer_is_a_stall_within_2_s(
    monkeypatch: pytest.MonkeyPatch, times_advance: bool
) -> None:
    device = Device(painter=painted)
    if not times_advance:
        device.stamp_ms = lambda number: START_MS + PERIOD_MS * min(number, STUCK_FROM)
    monkeypatch.setattr(cv2, "VideoCapture", device.open)
    openings = [V4l2(CONFIG, 0) for _ in range(2)]
    with running(monkeypatch, CONFIG, *openings, stall_s=2.0) as (hub, worker, _):  # type: ignore[arg-type]
        got = reports(hub, lambda report: states([report]) == ["stalled"])
        worker.stop.set()
    published = [report.index for report in got if isinstance(report, FrameReport)]
    frozen = [each.detail for each in got if isinstance(each, EventReport)
              and each.event == "picture_state"]  # fmt: skip
    if times_advance:
        assert [each["state"] for each in frozen] == ["frozen"]
        # by the camera's own times: what it delivered in 2 s and one period at most
        assert max(published) - STUCK_FROM <= 2000 / PERIOD_MS + 1
    else:
        assert frozen == []
        assert max(published) <= STUCK_FROM
