"""The Raspberry Pi's camera, against a picamera2 that is as strict as the real one."""

import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge.clock import monotonic_ns
from edge.config import PicameraSource
from edge.errors import ConfigError, FrameNotReady, SourceStalled, SourceUnavailable
from edge.vision.sources import picamera
from edge.vision.sources.picamera import Picamera
from edge.vision.values import Frame, Luma
from tests.support.fake_libcamera import AfModeEnum, AfTriggerEnum
from tests.support.fake_picamera2 import Picamera2, Script, install, paint

SMALL = (320, 192)


@contextmanager
def opened(
    script: Script, small: tuple[int, int] = SMALL, **settings: object
) -> Iterator[Picamera]:
    script.start_ns = script.start_ns or monotonic_ns() - 20_000_000
    config = PicameraSource.model_validate({"kind": "picamera", "read_timeout_s": 0.05, **settings})
    with install(script), Picamera(config, small) as source:
        yield source


def read(source: Picamera) -> Frame:
    """Read as the capture stage does: again, until a frame is there."""
    while True:
        with contextlib.suppress(FrameNotReady):
            return source.read()


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
    assert asked["sensor"] == {"output_size": (2304, 1296), "bit_depth": 10}
    assert (asked["transform"].hflip, asked["transform"].vflip) == (0, 0)
    assert asked["controls"] == {
        "FrameDurationLimits": (20_000, 20_000),
        "ExposureTime": 5000,
        "AnalogueGain": 2.5,
    }
    assert script.calls == ["open", "configure", "start", "stop", "close"]


@pytest.mark.parametrize(
    ("transform", "flips"),
    [("none", (0, 0)), ("hflip", (1, 0)), ("vflip", (0, 1)), ("rotate180", (1, 1))],
)
def test_pictures_of_a_camera_that_hangs_upside_down_are_turned(
    transform: str, flips: tuple[int, int]
) -> None:
    script = Script()
    with opened(script, transform=transform):
        asked = script.configuration["transform"]
        assert (asked.hflip, asked.vflip) == flips


@pytest.mark.parametrize(
    ("focus", "controls"),
    [
        ("auto", {"AfMode": AfModeEnum.Auto, "AfTrigger": AfTriggerEnum.Start}),
        ("continuous", {"AfMode": AfModeEnum.Continuous}),
        (2.5, {"AfMode": AfModeEnum.Manual, "LensPosition": 2.5}),
    ],
)
def test_the_focus_is_set(focus: object, controls: dict[str, object]) -> None:
    script = Script()
    with opened(script, focus=focus):
        asked = script.configuration["controls"]
    assert asked == {"FrameDurationLimits": (33_333, 33_333), **controls}


@pytest.mark.parametrize(
    ("script", "settings", "said"),
    [
        (Script(model="imx219"), {"focus": "auto"}, "source.focus: .* the control AfMode"),
        (Script(), {"focus": 16.0}, "source.focus 16: .* from 0 to 15 dioptres"),
        (Script(flips=False), {"transform": "hflip"}, "source.transform 'hflip': .*cannot flip"),
        (Script(), {"sensor": "640x480"}, "source.sensor '640x480': .*1536x864, 2304x1296, 4608x"),
        (Script(), {"tuning": "imx708_noir.jsom"}, "source.tuning .*no such tuning file"),
        (Script(), {"tuning": __file__}, "source.tuning .*cannot be read as JSON"),
    ],
)
def test_what_the_camera_cannot_do_is_refused_in_one_line(
    script: Script, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as told, opened(script, **settings):
        pass
    assert "\n" not in str(told.value)
    assert script.held == 0


def test_the_tuning_file_is_in_force_when_libcamera_looks_for_cameras(tmp_path: Path) -> None:
    file = tmp_path / "imx708_mine.json"
    file.write_text('{"version": 2.0, "algorithms": []}')
    script = Script()
    for _ in range(2):
        with opened(script, tuning=str(file)):
            assert script.tuning is not None
            assert json.loads(script.tuning) == {"version": 2.0, "algorithms": []}
    with opened(Script()) as source:
        assert source._camera.script.tuning is None


def test_the_tuning_file_is_in_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed while it opens the camera cannot delete anything."""
    file = tmp_path / "imx708_mine.json"
    file.write_text('{"version": 2.0, "algorithms": []}')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    during: list[list[Path]] = []
    looked = Picamera2.global_camera_info

    def look() -> list[dict[str, str]]:
        during.append(list((tmp_path / "temporary").iterdir()))
        return looked()

    monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(look))
    before = len(os.listdir("/proc/self/fd"))
    script = Script()
    with opened(script, tuning=str(file)):
        assert json.loads(script.tuning or "") == {"version": 2.0, "algorithms": []}
    assert during == [[]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_record_tells_what_was_opened() -> None:
    with opened(Script(model="imx219"), rate_hz=25.0) as source:
        assert source.opening == {
            "camera": 0,
            "model": "imx219",
            "sensor_mode": "1640x1232",
            "bit_depth": 10,
            "rate_hz": 25.0,
            "picamera2": "unknown",
            "libcamera": "v0.5.2",
            "seen_width": 1.0,
            "seen_height": 0.749,  # 16:9 of a sensor of 4:3
        }


def test_a_rate_that_the_sensor_does_not_reach_is_not_expected_of_it() -> None:
    with opened(Script(model="imx219"), sensor="3280x2464") as source:
        assert source.expected_hz == pytest.approx(21.19, abs=0.01)
        assert source.opening is not None
        assert source.opening["sensor_mode"] == "3280x2464"


def test_a_camera_whose_modes_cannot_be_listed_opens_without_a_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picamera, "_modes_of_camera", {})
    script = Script(modes_fail="Cannot allocate memory")
    with opened(script):
        assert script.configuration["sensor"] is None
    with (
        pytest.raises(SourceUnavailable, match=r"cannot be listed .*Cannot allocate memory"),
        opened(script, sensor="2304x1296"),
    ):
        pass


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
        with pytest.raises(SourceStalled, match=r"no frame for 0\.1 s"):
            source.read()
    # the capture that never completed is withdrawn first: stop would wait behind it
    assert script.calls[-3:] == ["flush", "stop", "close"]
    with opened(Script()) as source:
        assert source.read().luma.size > 0


def test_a_frame_that_comes_after_the_wait_for_it_goes_back_to_the_camera() -> None:
    script = Script(faults={3: "late"})
    with opened(script) as source:
        for _ in range(3):
            source.read()
        with pytest.raises(SourceStalled):
            source.read()
    assert script.calls[-1] == "close"  # which counts the buffers
    assert script.held == 0


def test_a_camera_that_is_silent_from_the_start_is_absent() -> None:
    with (
        pytest.raises(SourceUnavailable, match=r"it opens, but no frame for 1\.45 s") as told,
        opened(Script(faults={0: "stall"})) as source,
    ):
        read(source)
    assert not told.value.new_process, "another process would hear as little"


def test_start_up_frames_at_a_slow_rate_are_waited_for() -> None:
    with opened(Script(startup=3, period_ns=1_000_000_000), rate_hz=1.0) as source:
        for _ in range(3):  # a read does not wait longer than half a second
            with pytest.raises(FrameNotReady):
                source.read()
        assert [source.read().index for _ in range(2)] == [0, 1]


def test_a_slow_frame_is_no_stall_before_three_periods() -> None:
    script = Script(faults={1: "stall"}, period_ns=500_000_000)
    with opened(script, rate_hz=2.0) as source:
        source.read()
        begun_ns = monotonic_ns()
        with pytest.raises(SourceStalled, match=r"no frame for 1\.5 s"):
            read(source)
        assert monotonic_ns() - begun_ns >= 1_500_000_000


def test_a_stop_while_a_slow_frame_is_awaited_does_not_wait_for_it() -> None:
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


def test_a_buffer_that_cannot_be_given_back_is_a_stall_with_the_cause() -> None:
    with opened(Script(faults={1: "unqueued"})) as source:
        source.read()
        with pytest.raises(SourceStalled, match="given back: Failed to queue request: No such dev"):
            source.read()


def test_a_frame_without_its_time_is_a_stall_and_its_buffer_goes_back() -> None:
    script = Script(faults={1: "timeless"})
    with opened(script) as source:
        source.read()
        with pytest.raises(SourceStalled, match="without its time"):
            source.read()
    assert script.calls[-1] == "close"  # which counts the buffers


def test_a_capture_that_is_cancelled_is_a_stall() -> None:
    with opened(Script(faults={1: "stall"})) as source:
        source.read()
        with pytest.raises(SourceStalled):
            source.read()
        source._camera.cancel_all_and_flush()
        with pytest.raises(SourceStalled, match="the capture failed"):
            source.read()


def test_a_failure_to_close_is_an_error_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Picamera2.close

    def fail(self: Picamera2) -> None:
        close(self)
        raise RuntimeError("Failed to release camera: Device or resource busy")

    monkeypatch.setattr(Picamera2, "close", fail)
    with pytest.raises(SourceStalled, match=r"closing it failed: .* busy"), opened(Script()):
        pass


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
        (Script(cameras=0), {}, "camera 0 does not exist: no Pi camera is connected; check the"),
        (
            Script(cameras=1),
            {"camera": 3},
            "camera 3 does not exist: 1 connected, numbers begin at 0; set source.camera to 0 or",
        ),
        (Script(cameras=1, usb=2), {"camera": 1}, "camera 1 does not exist: 1 connected"),
        (Script(cameras=0, usb=1), {}, 'only 1 USB; .*source.kind = "v4l2".*/dev/videoN'),
        (Script(busy=True), {}, "Device or resource busy.*another program"),
    ],
    ids=["none", "fourth of one", "second is USB", "only USB", "busy"],
)
def test_a_camera_that_is_not_there_may_be_found_by_a_new_process(
    script: Script, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(SourceUnavailable, match=said) as told, opened(script, **settings):
        pass
    assert "\n" not in str(told.value)
    assert told.value.new_process
    assert script.held == 0


def test_no_descriptor_is_left_by_a_thousand_tries_of_a_busy_camera() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with pytest.raises(SourceUnavailable), opened(Script(busy=True)):
            pass
    assert len(os.listdir("/proc/self/fd")) <= before


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
        pytest.raises(ConfigError, match="apt install --no-install-recommends python3-pi") as told,
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
        with pytest.raises(SourceUnavailable):
            read(source)
        for request in held:
            request.release()
        with pytest.raises(RuntimeError, match="negative ref_count"):
            held[0].release()
        assert source.read().luma.size > 0
