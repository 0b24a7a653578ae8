"""The Raspberry Pi's camera, against a picamera2 that is as strict as the real one."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fake_picamera2 import Picamera2, Script, install, paint

from edge.clock import monotonic_ns
from edge.config import PicameraSource
from edge.errors import ConfigError, SourceStalled, SourceUnavailable
from edge.sources.picamera import Picamera
from edge.values import Frame, Luma

SMALL = (320, 192)


@contextmanager
def opened(
    script: Script, small: tuple[int, int] = SMALL, **settings: object
) -> Iterator[Picamera]:
    script.start_ns = script.start_ns or monotonic_ns() - 20_000_000
    config = PicameraSource.model_validate({"kind": "picamera", "read_timeout_s": 0.05, **settings})
    with install(script), Picamera(config, small) as source:
        yield source


def painted(number: int, width: int, height: int) -> Luma:
    planes = np.zeros((height * 3 // 2, width), np.uint8)
    return np.asarray(paint(number, width, height, planes))[:height]


@pytest.mark.parametrize("stride", [64, 96, 256])
@pytest.mark.parametrize("size", [(1280, 720), (640, 480)])
def test_luma_and_small_are_copied_out_without_padding(size: tuple[int, int], stride: int) -> None:
    width, height = size
    with opened(Script(stride=stride), width=width, height=height) as source:
        frames = [source.read() for _ in range(7)]  # more than there are buffers
    for number, frame in enumerate(frames):
        assert np.array_equal(frame.luma, painted(number, width, height))
        assert frame.small is not None
        assert np.array_equal(frame.small, painted(number, *SMALL))
        assert frame.exposure_us == 8000


def test_what_is_asked_of_the_camera() -> None:
    script = Script()
    settings = {"rate_hz": 50.0, "exposure_us": 5000, "gain": 2.5, "buffer_count": 5}
    with opened(script, **settings):
        asked = script.configuration
    assert asked["colour_space"].name == "sYCC", "full range: black is 0"
    assert asked["buffer_count"] == 5
    assert asked["raw"] is None
    assert asked["controls"] == {
        "FrameDurationLimits": (20_000, 20_000),
        "ExposureTime": 5000,
        "AnalogueGain": 2.5,
    }
    assert script.calls == ["open", "configure", "start", "stop", "close"]


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
def test_no_small_picture_rather_than_a_wrong_one(
    script: Script, settings: dict[str, object], small: tuple[int, int]
) -> None:
    with opened(script, small, **settings) as source:
        frame = source.read()
    assert frame.small is None
    assert frame.luma.size > 0


def test_the_same_crop_of_both_streams_is_no_objection() -> None:
    crop = (0, 0, 4608, 2592)
    with opened(Script(crops=(crop, crop))) as source:
        assert source.read().small is not None


def test_lost_frames_leave_a_hole_in_the_index() -> None:
    script = Script(faults={2: "lost", 5: "lost", 6: "lost"})
    with opened(script) as source:
        frames = [source.read() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 7]
    assert [frame.sensor_ns for frame in frames] == [
        script.start_ns + number * script.period_ns for number in (0, 1, 3, 4, 7)
    ]


def test_a_sensor_slower_than_asked_loses_nothing() -> None:
    with opened(Script(period_ns=66_666_667), rate_hz=30.0) as source:
        assert [source.read().index for _ in range(4)] == [0, 1, 2, 3]


def test_silence_is_a_stall_and_it_can_be_opened_again() -> None:
    script = Script(faults={3: "stall"})
    with opened(script) as source:
        for _ in range(3):
            source.read()
        with pytest.raises(SourceStalled, match=r"no frame for 0\.05 s"):
            source.read()
    assert script.calls[-2:] == ["stop", "close"]
    with opened(Script()) as source:
        assert source.read().luma.size > 0


def test_the_first_index_is_taken_over() -> None:
    config = PicameraSource(kind="picamera")
    with install(Script(start_ns=monotonic_ns())), Picamera(config, SMALL, 41) as source:
        assert [source.read().index for _ in range(2)] == [41, 42]


def test_the_same_frame_again_is_a_stall() -> None:
    with opened(Script(faults={2: "again"})) as source:
        source.read()
        source.read()
        with pytest.raises(SourceStalled, match="same frame again"):
            source.read()


@pytest.mark.parametrize(("ahead_s", "name"), [(0, "monotonic"), (3600, "boottime")])
def test_the_clock_is_found_out(ahead_s: int, name: str) -> None:
    script = Script(start_ns=monotonic_ns() + ahead_s * 1_000_000_000 - 20_000_000)
    with opened(script) as source:
        frames: list[Frame] = [source.read() for _ in range(2)]
    assert [frame.clock for frame in frames] == [name, name]


@pytest.mark.parametrize(
    ("script", "settings", "said"),
    [
        (Script(cameras=0), {}, "camera 0: 0 connected"),
        (Script(cameras=1), {"camera": 1}, "camera 1: 1 connected"),
        (Script(busy=True), {}, "another program"),
    ],
    ids=["none", "second of one", "busy"],
)
def test_a_camera_that_is_not_there_may_come(
    script: Script, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(SourceUnavailable, match=said) as told, opened(script, **settings):
        pass
    assert "\n" not in str(told.value)
    assert script.held == 0


def test_a_camera_that_cannot_be_configured_is_closed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def configure(self: Picamera2, config: object) -> None:
        raise RuntimeError("Failed to allocate buffers.")

    script = Script()
    monkeypatch.setattr(Picamera2, "configure", configure)
    with pytest.raises(SourceUnavailable, match="allocate buffers"), opened(script):
        pass
    assert script.calls == ["open", "close"]


def test_without_picamera2_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libcamera", None)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with (
        pytest.raises(ConfigError, match="apt install python3-picamera2") as told,
        Picamera(PicameraSource(kind="picamera"), SMALL),
    ):
        pass
    assert "--system-site-packages" in str(told.value)


def test_a_stop_that_hangs_keeps_nobody_but_its_own_thread() -> None:
    """The driver may never return; then only ending the process helps, and that is not ours."""
    hangs = threading.Event()
    left = threading.Event()

    def use() -> None:
        with opened(Script(stop_hangs=hangs)) as source:
            source.read()
        left.set()

    thread = threading.Thread(target=use)
    thread.start()
    assert not left.wait(0.2)
    hangs.set()
    thread.join(5)
    assert left.is_set()


def test_the_fake_starves_whoever_keeps_requests() -> None:
    """The stand-in has the rule that the real camera has: buffers come back or frames stop."""
    with opened(Script(), buffer_count=2) as source:
        held = [source._camera.capture_request(wait=False).get_result(timeout=1) for _ in range(2)]
        with pytest.raises(SourceStalled):
            source.read()
        for request in held:
            request.release()
        with pytest.raises(RuntimeError, match="negative ref_count"):
            held[0].release()
        assert source.read().luma.size > 0
