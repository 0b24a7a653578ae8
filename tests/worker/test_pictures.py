"""What the capture stage makes of a camera that freezes, goes dark, or of a file that is still."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge.errors import EndOfStream
from edge.link import EventReport, FrameReport
from edge.vision import picture_state
from edge.vision.picture import PictureMeasures, measure
from edge.vision.values import Frame, Luma
from edge.worker import capture as capturing
from tests.support.waiting import HANG_S
from tests.worker.test_worker import (
    CAMERA,
    FILE,
    ScriptedSource,
    is_last,
    raises,
    reports,
    running,
    states,
)

RAMP = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) * 2
BLACK = np.zeros((48, 64), np.uint8)
END = raises(EndOfStream("x"))


def changing(number: int) -> Luma:
    """Return a picture with the noise of a sensor."""
    noisy: Luma = RAMP + np.random.default_rng(number).integers(0, 3, RAMP.shape, np.uint8)
    return noisy


def gives(index: int, luma: Luma) -> Callable[[], Frame]:
    """Return a read of a camera with 10 frames per second, in a hurry."""

    def read() -> Frame:
        time.sleep(0.002)
        return Frame(luma, index, index * 100_000_000, "media", time.monotonic_ns())

    return read


def pictures(got: list[object]) -> list[tuple[str, int]]:
    return [
        (report.detail["state"], report.detail["index"])
        for report in got
        if isinstance(report, EventReport) and report.event == "picture_state"
    ]


def published(got: list[object]) -> list[int]:
    return [report.index for report in got if isinstance(report, FrameReport)]


def test_frozen_camera_stalls_is_reopened_and_publishes_nothing_until_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network camera did so for ever, with new times and equal boxes."""
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    frozen = changing(4)
    numbers = itertools.count()

    def endless() -> Iterator[Callable[[], Frame]]:
        return (gives(number, frozen if number > 3 else changing(number)) for number in numbers)

    def recovers() -> Iterator[Callable[[], Frame]]:
        yield from itertools.islice(endless(), 5)
        yield from (gives(next(numbers), changing(100 + at)) for at in range(3))
        yield END

    opened_s: list[float] = []

    def opening(reads: Iterator[Callable[[], Frame]]) -> ScriptedSource:
        return ScriptedSource(True, reads, entering=lambda: opened_s.append(time.monotonic()))

    openings = [*(opening(endless()) for _ in range(3)), opening(recovers())]
    with running(monkeypatch, CAMERA, *openings, stall_s=0.25) as (hub, _, firsts):
        got = reports(hub, is_last)
    assert pictures(got) == [("frozen", 5), ("normal", firsts[-1] + 5)]
    assert states(got) == ["running", "stalled", "running"]
    # three equal pictures are not enough, and those after the next one are no news
    assert published(got) == [0, 1, 2, 3, 4, 5, 6, 7, *(firsts[-1] + 5 + at for at in range(3))]
    assert firsts[1] == 9
    # it is read on between two openings, and those come at growing intervals, or later
    assert firsts[3] - firsts[2] > 3
    assert opened_s[2] - opened_s[1] >= 0.5
    assert opened_s[3] - opened_s[2] >= 1.0


@pytest.mark.parametrize("level", [0, 255])
def test_covered_lens_is_reported_and_not_reopened(
    monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """The picture of a sensor at the end of its range may be equal for ever."""
    uniform = np.full((48, 64), level, np.uint8)
    reads = [gives(index, changing(index)) for index in range(10)]
    reads += [gives(index, uniform.copy()) for index in range(10, 60)]
    reads += [gives(index, changing(index)) for index in range(60, 80)]
    source = ScriptedSource(True, iter([*reads, END]))
    with running(monkeypatch, CAMERA, source, stall_s=2.0) as (hub, _, firsts):
        got = reports(hub, is_last)
    assert pictures(got) == [("flat" if level else "dark", 10), ("normal", 60)]
    assert states(got) == ["running"]
    assert firsts == [0]
    assert published(got) == list(range(80))


def test_still_file_is_reported_and_published_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [gives(index, RAMP.copy()) for index in range(60)]
    source = ScriptedSource(False, iter([*reads, END]))
    with running(monkeypatch, FILE, source) as (hub, _, firsts):
        got = reports(hub, is_last)
    assert pictures(got) == [("still", 1)]
    assert states(got) == ["running"]
    assert firsts == [0]
    assert published(got) == list(range(60))


def test_a_new_worker_ends_what_the_one_before_it_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = [gives(index, changing(index)) for index in range(20)]
    source = ScriptedSource(True, iter([*reads, END]))
    with running(monkeypatch, CAMERA, source, picture_state="dark") as (hub, _, _):
        assert pictures(reports(hub, is_last)) == [("normal", 0)]
    dark = ScriptedSource(True, iter([*[gives(at, BLACK) for at in range(60)], END]))
    with running(monkeypatch, CAMERA, dark, picture_state="dark") as (hub, _, _):
        assert pictures(reports(hub, is_last)) == []


def test_no_result_waits_for_what_the_picture_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    has_result, waits = threading.Event(), []

    def after_the_result(luma: Luma) -> PictureMeasures | None:
        waits.append(has_result.wait(HANG_S))
        return measure(luma)

    monkeypatch.setattr(picture_state, "measure", after_the_result)
    source = ScriptedSource(True, iter([*(gives(at, changing(at)) for at in range(12)), END]))
    with running(monkeypatch, CAMERA, source) as (hub, _, _):
        reports(hub, lambda report: isinstance(report, FrameReport))
        has_result.set()
        reports(hub, is_last)
    assert waits == [True] * 3  # of the frames 0, 5 and 10
