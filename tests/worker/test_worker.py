"""The worker's threads around a source that does what no camera here would do on command."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from edge.worker import capture as capturing
from edge.worker.threads import Worker

LUMA = np.zeros((48, 64), np.uint8)


class Blind:
    """Stands in for both networks: sees nothing, so that only the threads are tested."""

    input_size = (320, 192)
    info = golden = None

    def detect(self, _frame: Frame, stopwatch: object) -> tuple[Detection, ...]:
        return ()

    def predict(self, *_: object) -> None:
        raise AssertionError("there is no face to read")


class Crowded(Blind):
    """Sees as many faces as it is told, frame by frame; all of them too dark to be read."""

    def __init__(self, *counts: int) -> None:
        self._counts = iter(counts)

    def detect(self, _frame: Frame, stopwatch: object) -> tuple[Detection, ...]:
        return tuple(
            Detection(Box(20.0 * at, 0, 10, 10), np.zeros((5, 2), np.float32), 0.9)
            for at in range(next(self._counts))
        )


class Scripted:
    """A source whose reads are a script: a callable that returns a frame or raises, per read."""

    expected_hz = 1000.0

    def __init__(
        self,
        live: bool,
        reads: Iterator[Callable[[], Frame]],
        *,
        opening: dict[str, object] | None = None,
        entering: Callable[[], object] = lambda: None,
        closing: Callable[[], object] = lambda: None,
    ) -> None:
        self.live = live
        self.opening = opening
        self._reads = reads
        self._entering = entering
        self._closing = closing

    def __enter__(self) -> "Scripted":
        self._entering()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing()

    def read(self) -> Frame:
        return next(self._reads)()


def shown(index: int) -> Callable[[], Frame]:
    return lambda: Frame(LUMA, index, index * 1_000_000, "media", time.monotonic_ns())


def raised(error: Exception) -> Callable[[], Frame]:
    def read() -> Frame:
        raise error

    return read


@contextmanager
def running(
    monkeypatch: pytest.MonkeyPatch,
    source: SourceConfig,
    *openings: Scripted,
    first_index: int = 0,
    stall_s: float = 0.2,
    detector: Blind | None = None,
    source_state: str = "starting",
) -> Iterator[tuple[Link, Worker, list[int]]]:
    """Run a worker in a thread; yield the hub's end, the worker, and each opening's first index."""
    firsts: list[int] = []
    left = iter(openings)

    def open_scripted(_config: object, *, first_index: int, **_: object) -> Scripted:
        firsts.append(first_index)
        return next(left)

    monkeypatch.setattr(capturing, "open_source", open_scripted)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back afterwards
    config = Config(
        device=DeviceConfig(purpose="safety"),
        source=source,
        limits=LimitsConfig(stall_s=stall_s),
    )
    hub, raw = Link.pair()
    end = Link(raw)
    pipeline = Pipeline(detector or Blind(), Blind(), config)  # type: ignore[arg-type]
    worker = Worker(
        end,
        config,
        pipeline,
        lossless=True,
        first_index=first_index,
        source_state=source_state,
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield hub, worker, firsts
    finally:
        worker.stop.set()
        thread.join(10)
        hub.close()
        end.close()
        assert not thread.is_alive()


def reports(hub: Link, until: Callable[[object], bool]) -> list[object]:
    """Return what the worker sends up to the first report that is wanted."""
    got: list[object] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        report = hub.receive(1.0)
        if report is not None:
            got.append(report)
            if until(report):
                return got
    raise AssertionError(f"{len(got)} reports, the last of them {got[-5:]}")


def ended(report: object) -> bool:
    return isinstance(report, Ended | Renew | Failed)


def states(got: list[object]) -> list[str]:
    return [
        report.detail["state"]
        for report in got
        if isinstance(report, EventReport) and report.event == "source_state"
    ]


def refused(got: list[object]) -> list[str]:
    return [
        report.detail["reason"]
        for report in got
        if isinstance(report, EventReport) and report.event == "frame_refused"
    ]


CAMERA = V4l2Source(kind="v4l2")
FILE = VideoSource(kind="video", path="x")


def test_a_read_that_does_not_return_is_a_stall_and_a_picture_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def blocked() -> Frame:
        assert release.wait(20)
        return shown(1)()

    source = Scripted(True, iter([shown(0), blocked, shown(2), raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, source) as (hub, _, _):
        got = reports(hub, lambda report: states([report]) == ["stalled"])
        release.set()
        got += reports(hub, ended)
    assert states(got) == ["running", "stalled", "running"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [0, 1, 2]


def test_a_camera_that_is_opened_again_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Scripted(True, iter([shown(7), shown(8), raised(SourceStalled("silent"))]))
    second = Scripted(True, iter([shown(9), raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, first, second, first_index=7) as (hub, _, firsts):
        got = reports(hub, ended)
    assert firsts == [7, 9]
    assert states(got) == ["running", "stalled", "running"]


def test_a_camera_whose_next_picture_is_not_due_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = [shown(0), *[raised(FrameNotReady("not yet"))] * 3, shown(1), raised(EndOfStream("x"))]
    with running(monkeypatch, CAMERA, Scripted(True, iter(reads))) as (hub, _, _):
        got = reports(hub, ended)
    assert states(got) == ["running"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [0, 1]


def test_short_reads_do_not_hide_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[Callable[[], Frame]]:
        yield shown(0)
        while True:
            yield not_ready

    def not_ready() -> Frame:
        time.sleep(0.01)  # a camera waits
        raise FrameNotReady("not yet")

    with running(monkeypatch, CAMERA, Scripted(True, endless())) as (hub, _, _):
        reports(hub, lambda report: states([report]) == ["stalled"])


def test_a_stall_is_reported_before_the_source_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = threading.Event()
    source = Scripted(
        True, iter([shown(0), raised(SourceStalled("silent"))]), closing=lambda: reported.wait(20)
    )
    second = Scripted(True, iter([raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, source, second) as (hub, _, _):
        reports(hub, lambda report: states([report]) == ["stalled"])
        reported.set()
        reports(hub, ended)


@pytest.mark.parametrize("last", [SourceStalled("silent"), EndOfStream("x")])
def test_closing_counts_as_busy(monkeypatch: pytest.MonkeyPatch, last: Exception) -> None:
    closed = threading.Event()
    source = Scripted(True, iter([shown(0), raised(last)]), closing=lambda: closed.wait(20))
    second = Scripted(True, iter([raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, source, second) as (hub, _, _):
        reports(
            hub,
            lambda report: isinstance(report, Heartbeat) and report.busy_s.get("capture", 0) > 0.6,
        )
        closed.set()
        reports(hub, ended)


def test_an_opening_that_does_not_return_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "OPENING_S", 0.1)
    release = threading.Event()
    source = Scripted(
        True, iter([shown(0), raised(EndOfStream("x"))]), entering=lambda: release.wait(20)
    )
    with running(monkeypatch, CAMERA, source) as (hub, _, _):
        got = reports(hub, lambda report: states([report]) == ["absent"])
        release.set()
        got += reports(hub, ended)
    assert states(got) == ["absent", "running"]


def camera(model: str) -> dict[str, object]:
    """Return what a source says of the camera that it opened."""
    return CameraOpened(
        camera=0, model=model, sensor_mode="640x480", bit_depth=10, rate_hz=30.0,
        picamera2="0.3.38", libcamera="0.5",
    ).model_dump()  # fmt: skip


def test_what_was_opened_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    openings = [
        Scripted(True, iter([shown(0), raised(SourceStalled("silent"))]), opening=camera("a")),
        Scripted(True, iter([shown(1), raised(SourceStalled("silent"))]), opening=camera("a")),
        Scripted(True, iter([raised(EndOfStream("x"))]), opening=camera("b")),
    ]
    with running(monkeypatch, CAMERA, *openings) as (hub, _, _):
        got = reports(hub, ended)
    told = [r.detail for r in got if isinstance(r, EventReport) and r.event == "camera_opened"]
    assert told == [camera("a"), camera("b")]


@pytest.mark.parametrize("new_process", [True, False])
def test_a_new_process_is_asked_for_after_some_tries(
    monkeypatch: pytest.MonkeyPatch, new_process: bool
) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    gone = SourceUnavailable("camera 0: 0 connected", new_process=new_process)
    tries = [Scripted(True, iter([raised(gone)])) for _ in range(capturing.RENEW_AFTER_TRIES)]
    last = Scripted(True, iter([raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last) as (hub, _, firsts):
        got = reports(hub, ended)
    assert states(got) == ["absent"]
    assert len(firsts) == len(tries) + (not new_process)
    assert got[-1] == (Renew(reason="camera 0: 0 connected") if new_process else Ended())


def test_frames_between_them_put_off_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    gone = SourceUnavailable("gone", new_process=True)
    tries = [
        Scripted(True, iter([shown(at), raised(gone)]))
        for at in range(2 * capturing.RENEW_AFTER_TRIES)
    ]
    last = Scripted(True, iter([raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last) as (hub, _, _):
        got = reports(hub, ended)
    assert got[-1] == Ended()


def test_what_the_hub_knows_already_is_not_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "FIRST_RETRY_S", 0.001)
    tries = [Scripted(True, iter([raised(SourceUnavailable("gone"))])) for _ in range(3)]
    last = Scripted(True, iter([shown(0), raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, *tries, last, source_state="absent") as (hub, _, _):
        got = reports(hub, ended)
    assert states(got) == ["running"]


def test_a_camera_whose_pictures_are_all_refused_is_told_once_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def torn() -> Frame:
        time.sleep(0.005)  # a camera has a rate
        raise FrameRefused("torn")

    def endless() -> Iterator[Callable[[], Frame]]:
        yield shown(0)
        while True:
            yield torn

    second = Scripted(True, iter([raised(EndOfStream("x"))]))
    with running(monkeypatch, CAMERA, Scripted(True, endless()), second) as (hub, _, firsts):
        got = reports(hub, ended)
    assert refused(got) == ["torn"]
    assert states(got) == ["running", "stalled"]
    assert firsts[1] > 1, "refused pictures are counted"


def test_a_crowd_too_large_for_a_message_is_told_when_it_comes_and_when_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = (48, 50, 49, 48, 37, 50, 36, 48, 49)
    source = Scripted(False, iter([*map(shown, range(len(counts))), raised(EndOfStream("x"))]))
    with running(monkeypatch, FILE, source, detector=Crowded(*counts)) as (hub, _, _):
        got = reports(hub, ended)
    told = [
        (report.detail["index"], report.detail["left_out"], report.detail["kept"])
        for report in got
        if isinstance(report, EventReport) and report.event == "faces_left_out"
    ]
    # not over at 48 and 37, which a face more would undo, but at 36
    assert told == [(1, 2, 48), (6, 0, 36), (8, 1, 48)]


def test_a_file_taken_up_again_tells_no_refusal_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [shown(0), raised(FrameRefused("b")), shown(2), raised(FrameRefused("d")), shown(4),
             raised(FrameRefused("f")), raised(EndOfStream("x"))]  # fmt: skip
    with running(monkeypatch, FILE, Scripted(False, iter(reads)), first_index=3) as (hub, _, first):
        got = reports(hub, ended)
    assert first == [0], "a file is read from its beginning, and skipped through"
    assert refused(got) == ["d", "f"]
    assert [report.index for report in got if isinstance(report, FrameReport)] == [4]
    beats = [report.captured for report in got if hasattr(report, "captured")]
    assert beats[-1] == 6
