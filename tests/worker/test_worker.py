"""The worker's threads with a scripted source that fails on demand, as no camera can."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from edge.config import Config, DeviceConfig, LimitsConfig, SourceConfig, V4l2Source, VideoSource
from edge.errors import (
    EndOfStream,
    FrameNotReady,
    FrameRefused,
    SourceStalled,
    SourceUnavailable,
)
from edge.link import Ended, EventReport, Failed, FrameReport, Heartbeat, Link, Renew
from edge.protocol.events import CameraOpened
from edge.vision.pipeline import Pipeline
from edge.vision.values import Box, Detection, Frame
from edge.vocabulary import PictureState
from edge.worker import capture as capturing
from edge.worker.threads import Worker
from tests.support.waiting import HANG_S

LUMA = np.zeros((48, 64), np.uint8)


class NoFaces:
    """Replaces both networks and finds no face, so that only the threads are tested."""

    input_size = (320, 192)
    info = golden = None

    def detect(self, _frame: Frame, stopwatch: object) -> tuple[Detection, ...]:
        return ()

    def predict(self, *_: object) -> None:
        raise AssertionError("there is no face to classify")


class ManyFaces(NoFaces):
    """Finds a given number of faces in each frame; all of them are too dark to be classified."""

    def __init__(self, *counts: int) -> None:
        self._counts = iter(counts)

    def detect(self, _frame: Frame, stopwatch: object) -> tuple[Detection, ...]:
        return tuple(
            Detection(Box(20.0 * at, 0, 10, 10), np.zeros((5, 2), np.float32), 0.9)
            for at in range(next(self._counts))
        )


@dataclass
class ScriptedSource:
    """A source with one callable for each read, which returns a frame or raises."""

    expected_hz: ClassVar = 1000.0
    live: bool
    reads: Iterator[Callable[[], Frame]]
    details: dict[str, object] | None = None
    entering: Callable[[], object] = lambda: None
    closing: Callable[[], object] = lambda: None

    def __enter__(self) -> "ScriptedSource":
        self.entering()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing()

    def read(self) -> Frame:
        return next(self.reads)()


def gives_frame(index: int) -> Callable[[], Frame]:
    return lambda: Frame(LUMA, index, index * 1_000_000, "media", time.monotonic_ns())


def raises(error: Exception) -> Callable[[], Frame]:
    def read() -> Frame:
        raise error

    return read


@contextmanager
def running(
    monkeypatch: pytest.MonkeyPatch,
    source: SourceConfig,
    *openings: ScriptedSource,
    first_index: int = 0,
    stall_s: float = 0.2,
    detector: NoFaces | None = None,
    pipeline: Pipeline | None = None,
    lossless: bool = True,
    source_state: str = "starting",
    picture_state: PictureState = "normal",
) -> Iterator[tuple[Link, Worker, list[int]]]:
    """Run a worker in a thread; yield the hub's end, the worker, and each opening's first index.

    Each of ``openings`` is what opening the source returns, in order.
    """
    first_indexes: list[int] = []
    remaining = iter(openings)

    def open_scripted(_config: object, *, first_index: int, **_: object) -> ScriptedSource:
        first_indexes.append(first_index)
        return next(remaining)

    monkeypatch.setattr(capturing, "open_source", open_scripted)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back afterwards
    config = Config(
        device=DeviceConfig(purpose="safety"),
        source=source,
        limits=LimitsConfig(stall_s=stall_s),
    )
    hub, raw = Link.pair()
    end = Link(raw)
    pipeline = pipeline or Pipeline(detector or NoFaces(), NoFaces(), config)  # type: ignore[arg-type]
    worker = Worker(
        end,
        config,
        pipeline,
        lossless=lossless,
        first_index=first_index,
        source_state=source_state,
        picture_state=picture_state,
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield hub, worker, first_indexes
    finally:
        worker.stop.set()
        thread.join(HANG_S)
        hub.close()
        end.close()
        assert not thread.is_alive()


def reports(hub: Link, until: Callable[[object], bool]) -> list[object]:
    """Return the worker's reports up to the first one for which ``until`` is true."""
    got: list[object] = []
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        report = hub.receive(1.0)
        if report is not None:
            got.append(report)
            if until(report):
                return got
    raise AssertionError(f"{len(got)} reports, the last of them {got[-5:]}")


def is_last(report: object) -> bool:
    return isinstance(report, Ended | Renew | Failed)


def states(got: list[object]) -> list[str]:
    return [
        report.detail["state"]
        for report in got
        if isinstance(report, EventReport) and report.event == "source_state"
    ]


def refusals(got: list[object]) -> list[str]:
    return [
        report.detail["reason"]
        for report in got
        if isinstance(report, EventReport) and report.event == "frame_refused"
    ]


CAMERA = V4l2Source(kind="v4l2")
FILE = VideoSource(kind="video", path="x")


def test_a_read_that_does_not_return_is_a_stall_until_the_next_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def blocked() -> Frame:
        assert release.wait(HANG_S)
        return gives_frame(1)()

    source = ScriptedSource(
        True, iter([gives_frame(0), blocked, gives_frame(2), raises(EndOfStream("x"))])
    )
    with running(monkeypatch, CAMERA, source) as (hub, _, _):
        got = reports(hub, lambda report: states([report]) == ["stalled"])
        release.set()
        got += reports(hub, is_last)
    assert states(got) == ["running", "stalled", "running"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [0, 1, 2]


def test_frame_numbers_continue_after_a_camera_is_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ScriptedSource(
        True, iter([gives_frame(7), gives_frame(8), raises(SourceStalled("silent"))])
    )
    second = ScriptedSource(True, iter([gives_frame(9), raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, first, second, first_index=7) as (hub, _, first_indexes):
        got = reports(hub, is_last)
    assert first_indexes == [7, 9]
    assert states(got) == ["running", "stalled", "running"]


def test_a_camera_without_a_new_frame_yet_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = [
        gives_frame(0),
        *[raises(FrameNotReady("not yet"))] * 3,
        gives_frame(1),
        raises(EndOfStream("x")),
    ]
    with running(monkeypatch, CAMERA, ScriptedSource(True, iter(reads))) as (hub, _, _):
        got = reports(hub, is_last)
    assert states(got) == ["running"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [0, 1]


def test_reads_without_a_frame_do_not_hide_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[Callable[[], Frame]]:
        yield gives_frame(0)
        while True:
            yield not_ready

    def not_ready() -> Frame:
        time.sleep(0.01)  # a camera waits
        raise FrameNotReady("not yet")

    with running(monkeypatch, CAMERA, ScriptedSource(True, endless())) as (hub, _, _):
        reports(hub, lambda report: states([report]) == ["stalled"])


def test_a_stall_is_reported_before_the_source_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = threading.Event()
    source = ScriptedSource(
        True,
        iter([gives_frame(0), raises(SourceStalled("silent"))]),
        closing=lambda: reported.wait(HANG_S),
    )
    second = ScriptedSource(True, iter([raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, source, second) as (hub, _, _):
        reports(hub, lambda report: states([report]) == ["stalled"])
        reported.set()
        reports(hub, is_last)


@pytest.mark.parametrize("last", [SourceStalled("silent"), EndOfStream("x")])
def test_closing_counts_as_busy(monkeypatch: pytest.MonkeyPatch, last: Exception) -> None:
    closed = threading.Event()
    source = ScriptedSource(
        True, iter([gives_frame(0), raises(last)]), closing=lambda: closed.wait(HANG_S)
    )
    second = ScriptedSource(True, iter([raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, source, second) as (hub, _, _):
        reports(
            hub,
            lambda report: isinstance(report, Heartbeat) and report.busy_s.get("capture", 0) > 0.6,
        )
        closed.set()
        reports(hub, is_last)


def test_a_source_whose_opening_does_not_return_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "OPENING_S", 0.1)
    release = threading.Event()
    source = ScriptedSource(
        True,
        iter([gives_frame(0), raises(EndOfStream("x"))]),
        entering=lambda: release.wait(HANG_S),
    )
    with running(monkeypatch, CAMERA, source) as (hub, _, _):
        got = reports(hub, lambda report: states([report]) == ["absent"])
        release.set()
        got += reports(hub, is_last)
    assert states(got) == ["absent", "running"]


def camera(model: str) -> dict[str, object]:
    """Return the detail of ``camera_opened`` for a camera model."""
    return CameraOpened(
        camera=0, model=model, sensor_mode="640x480", bit_depth=10, rate_hz=30.0,
        picamera2="0.3.38", libcamera="0.5",
    ).model_dump()  # fmt: skip


def test_reopening_the_same_camera_is_not_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    openings = [
        ScriptedSource(
            True, iter([gives_frame(0), raises(SourceStalled("silent"))]), details=camera("a")
        ),
        ScriptedSource(
            True, iter([gives_frame(1), raises(SourceStalled("silent"))]), details=camera("a")
        ),
        ScriptedSource(True, iter([raises(EndOfStream("x"))]), details=camera("b")),
    ]
    with running(monkeypatch, CAMERA, *openings) as (hub, _, _):
        got = reports(hub, is_last)
    opened = [r.detail for r in got if isinstance(r, EventReport) and r.event == "camera_opened"]
    assert opened == [camera("a"), camera("b")]


@pytest.mark.parametrize("new_process", [True, False])
def test_the_worker_asks_for_a_new_process_after_some_tries(
    monkeypatch: pytest.MonkeyPatch, new_process: bool
) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    gone = SourceUnavailable("camera 0: 0 connected", new_process=new_process)
    tries = [ScriptedSource(True, iter([raises(gone)])) for _ in range(capturing.RENEW_AFTER_TRIES)]
    last = ScriptedSource(True, iter([raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last) as (hub, _, first_indexes):
        got = reports(hub, is_last)
    assert states(got) == ["absent"]
    assert len(first_indexes) == len(tries) + (not new_process)
    assert got[-1] == (Renew(reason="camera 0: 0 connected") if new_process else Ended())


def test_a_frame_resets_the_tries_before_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    gone = SourceUnavailable("gone", new_process=True)
    tries = [
        ScriptedSource(True, iter([gives_frame(at), raises(gone)]))
        for at in range(2 * capturing.RENEW_AFTER_TRIES)
    ]
    last = ScriptedSource(True, iter([raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last) as (hub, _, _):
        got = reports(hub, is_last)
    assert got[-1] == Ended()


def test_a_source_state_known_to_the_hub_is_not_reported_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    tries = [ScriptedSource(True, iter([raises(SourceUnavailable("gone"))])) for _ in range(3)]
    last = ScriptedSource(True, iter([gives_frame(0), raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last, source_state="absent") as (hub, _, _):
        got = reports(hub, is_last)
    assert states(got) == ["running"]


def test_a_camera_that_gives_only_unreadable_pictures_is_reported_once_and_reopened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def torn() -> Frame:
        time.sleep(0.005)  # a camera has a rate
        raise FrameRefused("torn")

    def endless() -> Iterator[Callable[[], Frame]]:
        yield gives_frame(0)
        while True:
            yield torn

    second = ScriptedSource(True, iter([raises(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, ScriptedSource(True, endless()), second) as (
        hub,
        _,
        first_indexes,
    ):
        got = reports(hub, is_last)
    assert refusals(got) == ["torn"]
    assert states(got) == ["running", "stalled"]
    assert first_indexes[1] > 1, "refused pictures are counted"


def test_left_out_faces_are_reported_when_they_begin_and_when_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = (48, 50, 49, 48, 37, 50, 36, 48, 49)
    source = ScriptedSource(
        False, iter([*map(gives_frame, range(len(counts))), raises(EndOfStream("x"))])
    )
    with running(monkeypatch, FILE, source, detector=ManyFaces(*counts)) as (hub, _, _):
        got = reports(hub, is_last)
    left_out = [
        (report.detail["index"], report.detail["left_out"], report.detail["kept"])
        for report in got
        if isinstance(report, EventReport) and report.event == "faces_left_out"
    ]
    # it does not end at 48 or 37 faces, but at 36: three quarters of 48
    assert left_out == [(1, 2, 48), (6, 0, 36), (8, 1, 48)]


def test_a_file_continued_by_the_next_worker_reports_each_refusal_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = [
        *(gives_frame(0), raises(FrameRefused("b"))),
        *(gives_frame(2), raises(FrameRefused("d"))),
        *(gives_frame(4), raises(FrameRefused("f"))),
        raises(EndOfStream("x")),
    ]
    with running(monkeypatch, FILE, ScriptedSource(False, iter(reads)), first_index=3) as (
        hub,
        _,
        first_indexes,
    ):
        got = reports(hub, is_last)
    assert first_indexes == [0], "a file is opened at its beginning and skipped up to first_index"
    assert refusals(got) == ["d", "f"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [4]
    beats = [report.captured for report in got if hasattr(report, "captured")]
    assert beats[-1] == 6
