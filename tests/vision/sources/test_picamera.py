"""The Raspberry Pi camera over a picamera2 that is as strict as the real one: frames and faults."""

import threading

import numpy as np
import pytest

from edge.clock import monotonic_ns
from edge.config import PicameraSource
from edge.errors import FrameNotReady, SourceStalled, SourceUnavailable
from edge.vision.sources.picamera import Picamera
from edge.vision.values import Frame, Luma
from tests.support.fake_picamera2 import Picamera2, Script, install
from tests.support.frames import paint
from tests.support.picamera_source import SMALL, opened, read
from tests.support.waiting import HANG_S


def painted(number: int, width: int, height: int) -> Luma:
    planes = np.zeros((height * 3 // 2, width), np.uint8)
    return np.asarray(paint(number, width, height, planes))[:height]


@pytest.mark.parametrize("stride", [64, 96, 256])
@pytest.mark.parametrize("size", [(1280, 720), (640, 480)])
def test_luma_and_small_are_copied_without_padding(size: tuple[int, int], stride: int) -> None:
    width, height = size
    with opened(Script(stride=stride), width=width, height=height) as source:
        frames = [source.read() for _ in range(7)]  # more than there are buffers
    for number, frame in enumerate(frames):
        assert np.array_equal(frame.luma, painted(number, width, height))
        assert frame.small is not None
        assert np.array_equal(frame.small, painted(number, *SMALL))
        assert frame.exposure_us == 8000


def test_the_expected_rate_is_not_above_that_of_the_sensor_mode() -> None:
    with opened(Script(model="imx219"), sensor="3280x2464") as source:
        assert source.expected_hz == pytest.approx(21.19, abs=0.01)
        assert source.details is not None
        assert source.details["sensor_mode"] == "3280x2464"


@pytest.mark.parametrize(
    ("script", "settings", "small"),
    [
        (Script(), {"width": 256, "height": 192}, SMALL),
        (Script(), {}, (321, 193)),
        (Script(align=48), {"width": 1248}, SMALL),
        (Script(crops=((0, 0, 4608, 2592), (144, 0, 4320, 2592))), {}, SMALL),
    ],
    ids=["larger than main", "odd", "adjusted by the hardware", "cropped differently"],
)
def test_there_is_no_small_picture_if_it_would_be_wrong(
    script: Script, settings: dict[str, object], small: tuple[int, int]
) -> None:
    with opened(script, small, **settings) as source:
        frame = source.read()
    assert frame.small is None
    assert frame.luma.size > 0


def test_there_is_a_small_picture_if_both_streams_have_the_same_crop() -> None:
    crop = (0, 0, 4608, 2592)
    with opened(Script(crops=(crop, crop))) as source:
        assert source.read().small is not None


def test_lost_frames_are_skipped_in_the_index() -> None:
    script = Script(faults={2: "lost", 5: "lost", 6: "lost"})
    with opened(script) as source:
        frames = [source.read() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 7]
    assert [frame.sensor_ns for frame in frames] == [
        script.start_ns + number * script.period_ns for number in (0, 1, 3, 4, 7)
    ]


def test_a_slower_sensor_skips_no_index() -> None:
    with opened(Script(period_ns=66_666_667), rate_hz=30.0) as source:
        assert [source.read().index for _ in range(4)] == [0, 1, 2, 3]


def test_a_camera_without_frames_stalls_and_can_be_opened_again() -> None:
    script = Script(faults={3: "stall"})
    with opened(script) as source:
        for _ in range(3):
            source.read()
        with pytest.raises(SourceStalled, match=r"no frame for 0\.1 s"):
            source.read()
    # the unfinished capture is cancelled first, because stop would wait for it
    assert script.calls[-3:] == ["flush", "stop", "close"]
    with opened(Script()) as source:
        assert source.read().luma.size > 0


def test_a_frame_that_comes_after_the_time_out_is_released() -> None:
    script = Script(faults={3: "late"})
    with opened(script) as source:
        for _ in range(3):
            source.read()
        with pytest.raises(SourceStalled):
            source.read()
    assert script.calls[-1] == "close"  # close counts the buffers
    assert script.open_count == 0


def test_a_camera_that_never_delivers_is_absent() -> None:
    with (
        pytest.raises(SourceUnavailable, match=r"it opens, but no frame for 1\.45 s") as caught,
        opened(Script(faults={0: "stall"})) as source,
    ):
        read(source)
    assert not caught.value.new_process, "a new process would not help"


def test_start_up_frames_at_a_low_rate_are_waited_for() -> None:
    with opened(Script(startup=3, period_ns=1_000_000_000), rate_hz=1.0) as source:
        for _ in range(3):  # a read does not wait longer than half a second
            with pytest.raises(FrameNotReady):
                source.read()
        assert [source.read().index for _ in range(2)] == [0, 1]


def test_a_late_frame_is_a_stall_after_three_periods() -> None:
    script = Script(faults={1: "stall"}, period_ns=500_000_000)
    with opened(script, rate_hz=2.0) as source:
        source.read()
        started_ns = monotonic_ns()
        with pytest.raises(SourceStalled, match=r"no frame for 1\.5 s"):
            read(source)
        assert monotonic_ns() - started_ns >= 1_500_000_000


def test_closing_does_not_wait_for_a_late_frame() -> None:
    script = Script(faults={1: "stall"}, period_ns=2_000_000_000)
    with opened(script, rate_hz=0.5) as source:
        source.read()
        with pytest.raises(FrameNotReady):
            source.read()
    assert script.calls[-3:] == ["flush", "stop", "close"]


def test_a_capture_that_fails_is_a_stall_with_the_cause() -> None:
    with opened(Script(faults={1: "broken"})) as source:
        source.read()
        with pytest.raises(SourceStalled, match="failed to find buffer"):
            source.read()


def test_a_buffer_that_cannot_be_returned_is_a_stall_with_the_cause() -> None:
    with opened(Script(faults={1: "unqueued"})) as source:
        source.read()
        with pytest.raises(SourceStalled, match="given back: Failed to queue request: No such dev"):
            source.read()


def test_a_frame_without_time_stamp_is_a_stall_and_is_released() -> None:
    script = Script(faults={1: "timeless"})
    with opened(script) as source:
        source.read()
        with pytest.raises(SourceStalled, match="without its time"):
            source.read()
    assert script.calls[-1] == "close"  # close counts the buffers


def test_a_cancelled_capture_is_a_stall() -> None:
    with opened(Script(faults={1: "stall"})) as source:
        source.read()
        with pytest.raises(SourceStalled):
            source.read()
        source._camera.cancel_all_and_flush()
        with pytest.raises(SourceStalled, match="the capture failed"):
            source.read()


def test_a_failure_to_close_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Picamera2.close

    def fail(self: Picamera2) -> None:
        close(self)
        raise RuntimeError("Failed to release camera: Device or resource busy")

    monkeypatch.setattr(Picamera2, "close", fail)
    with pytest.raises(SourceStalled, match=r"closing it failed: .* busy"), opened(Script()):
        pass


def test_the_first_index_can_be_given() -> None:
    config = PicameraSource(kind="picamera")
    with install(Script(start_ns=monotonic_ns())), Picamera(config, SMALL, 41) as source:
        assert [source.read().index for _ in range(2)] == [41, 42]


def test_a_repeated_frame_is_a_stall() -> None:
    with opened(Script(faults={2: "again"})) as source:
        source.read()
        source.read()
        with pytest.raises(SourceStalled, match="same frame again"):
            source.read()


@pytest.mark.parametrize(("ahead_s", "name"), [(0, "monotonic"), (3600, "boottime")])
def test_the_clock_of_time_stamps_is_detected(ahead_s: int, name: str) -> None:
    script = Script(start_ns=monotonic_ns() + ahead_s * 1_000_000_000 - 20_000_000)
    with opened(script) as source:
        frames: list[Frame] = [source.read() for _ in range(2)]
    assert [frame.clock for frame in frames] == [name, name]


def test_a_stop_that_hangs_blocks_only_its_own_thread() -> None:
    """The driver may never return; only the end of the process helps, which the hub decides."""
    hangs = threading.Event()
    ended = threading.Event()

    def open_and_close() -> None:
        with opened(Script(stop_hangs=hangs)) as source:
            source.read()
        ended.set()

    thread = threading.Thread(target=open_and_close)
    thread.start()
    assert not ended.wait(0.2)
    hangs.set()
    thread.join(HANG_S)
    assert ended.is_set()


def test_the_fake_delivers_nothing_while_all_requests_are_held() -> None:
    """As on a real camera: without released buffers there are no frames."""
    with opened(Script(), buffer_count=2) as source:
        held = [
            source._camera.capture_request(wait=False).get_result(timeout=HANG_S) for _ in range(2)
        ]
        with pytest.raises(SourceUnavailable):
            read(source)
        for request in held:
            request.release()
        with pytest.raises(RuntimeError, match="negative ref_count"):
            held[0].release()
        assert source.read().luma.size > 0
