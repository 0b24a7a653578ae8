"""The camera source over the real picamera2, in this process."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import PicameraSource
from edge.errors import ConfigError, FrameNotReady, SourceStalled, SourceUnavailable
from edge.vision.sources import picamera
from edge.vision.sources.picamera import Picamera
from edge.vision.sources.picamera_stack import load_stack
from edge.vision.values import Frame, Luma
from tests.picamera2_stack.hardware import STACK, Hardware

SMALL = (320, 192)

pytestmark = [
    pytest.mark.picamera2,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's
]


@pytest.fixture(autouse=True)
def _camera(hardware: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware.set(startup=2)
    monkeypatch.setattr(picamera, "_modes_of_camera", {})


@contextmanager
def opened(**settings: Any) -> Iterator[Picamera]:
    config = PicameraSource.model_validate({"kind": "picamera", "read_timeout_s": 0.2, **settings})
    with Picamera(config, SMALL) as source:
        yield source


def read(source: Picamera) -> Frame:
    """Read until a frame is there, as the capture stage does."""
    while True:
        with contextlib.suppress(FrameNotReady):
            return source.read()


def read_more(source: Picamera) -> None:
    """Read more frames than the camera can hold in its buffers."""
    for _ in range(10):
        read(source)


def assert_ramp(luma: Luma, small: Luma) -> None:
    """Check that both pictures are the stub's ramp of the same frame, in every pixel."""
    for picture in (luma, small):
        rows, columns = np.indices(picture.shape)
        assert np.array_equal(picture, (picture[0, 0] + rows + columns).astype(np.uint8))
    assert luma[0, 0] == small[0, 0]


def test_the_version_under_test_is_imported() -> None:
    assert STACK is not None
    stack = load_stack()
    assert STACK.name == f"picamera2-{stack.picamera2_version}"
    assert Path(stack.picamera2.__file__).is_relative_to(STACK)


@pytest.mark.parametrize("stride", [64, 192])
def test_luma_and_small_are_copied_without_padding(hardware: Hardware, stride: int) -> None:
    hardware.set(stride=stride)
    with opened(width=648, height=480) as source:
        frames = [read(source) for _ in range(6)]  # more than there are buffers
    for frame in frames:
        assert frame.luma.shape == (480, 648)
        assert frame.small is not None
        assert frame.small.shape == (192, 320)
        assert_ramp(frame.luma, frame.small)
    assert len({int(frame.luma[0, 0]) for frame in frames}) == 6


@pytest.mark.parametrize(
    ("sensor", "mode", "seen_part"),
    [
        ("imx219", [1640, 1232, 10], (1.0, 0.749)),
        ("ov5647", [1296, 972, 10], (1.0, 0.75)),
        ("imx708_noir", [2304, 1296, 10], (1.0, 1.0)),
        ("imx477", [2028, 1520, 12], (1.0, 0.75)),
    ],
)
def test_every_sensor_gives_its_full_width(
    hardware: Hardware, sensor: str, mode: list[int], seen_part: tuple[float, float]
) -> None:
    hardware.set(cameras=[sensor])
    with opened() as source:
        assert read(source).luma.shape == (720, 1280)
        assert source.details is not None
        assert (source.details["seen_width"], source.details["seen_height"]) == seen_part
        assert source.details["model"] == sensor
        assert source.details["libcamera"] == "v0.5.2+stub"
    assert hardware.log("start")[-1]["mode"] == mode


def test_a_named_sensor_mode_is_used(hardware: Hardware) -> None:
    with opened(sensor="1920x1080") as source:
        read(source)
        assert source.details is not None
        assert source.details["seen_width"] == 0.585
    assert hardware.log("start")[-1]["mode"] == [1920, 1080, 10]


@pytest.mark.parametrize(
    ("transform", "orientation"),
    [
        ("none", "Rotate0"),
        ("hflip", "Rotate0Mirror"),
        ("vflip", "Rotate180Mirror"),
        ("rotate180", "Rotate180"),
    ],
)
def test_the_orientation_reaches_the_camera(
    hardware: Hardware, transform: str, orientation: str
) -> None:
    with opened(transform=transform) as source:
        read(source)
    assert hardware.log("start")[-1]["orientation"] == orientation


@pytest.mark.parametrize(
    ("focus", "controls"),
    [
        (None, {}),
        ("auto", {"AfMode": 1, "AfTrigger": 0}),
        ("continuous", {"AfMode": 2}),
        (1.5, {"AfMode": 0, "LensPosition": 1.5}),
    ],
)
def test_the_focus_reaches_the_camera(
    hardware: Hardware, focus: object, controls: dict[str, object]
) -> None:
    hardware.set(cameras=["imx708_noir"])
    with opened(focus=focus, exposure_us=4000, gain=2.0) as source:
        assert read(source).exposure_us == 4000
    started = hardware.log("start")[-1]["controls"]
    assert {name: value for name, value in started.items() if name[:2] in ("Af", "Le")} == controls
    assert (started["ExposureTime"], started["AnalogueGain"]) == (4000, 2.0)


@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        ({}, {"focus": "auto"}, "source.focus: .* the control AfMode"),
        ({"cameras": ["imx708_noir"]}, {"focus": 20.0}, "from 0 to 15 dioptres"),
        ({"flips": False}, {"transform": "rotate180"}, "source.transform 'rotate180'"),
        ({}, {"sensor": "1280x720"}, "640x480, 1640x1232, 1920x1080, 3280x2464"),
        ({}, {"tuning": "imx219_nior.json"}, "no such tuning file"),
    ],
)
def test_a_setting_that_the_camera_lacks_is_refused_and_the_camera_closed(
    hardware: Hardware, script: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    hardware.set(**script)
    with pytest.raises(ConfigError, match=message) as caught, opened(**settings):
        pass
    assert "\n" not in str(caught.value)
    assert len(hardware.log("release")) == len(hardware.log("acquire"))


def test_the_tuning_file_is_set_when_libcamera_reads_it(hardware: Hardware, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"version": 2.0, "target": "bcm2835", "algorithms": []}')
    for _ in range(2):
        with opened(tuning=str(file)) as source:
            read(source)
    tunings = [json.loads(line["tuning"]) for line in hardware.log("look for cameras")]
    assert tunings
    assert all(tuning["target"] == "bcm2835" for tuning in tunings)
    with opened() as source:
        read(source)


def test_a_camera_without_frames_stalls_and_can_be_opened_again(
    hardware: Hardware,
) -> None:
    with opened() as source:
        read(source)
        hardware.set(silent=True)
        with contextlib.suppress(SourceStalled):
            for _ in range(10):  # the buffers may hold some frames
                read(source)
        with pytest.raises(SourceStalled, match=r"no frame for 0\.2 s"):
            read(source)
        started = time.monotonic()
    assert time.monotonic() - started < 2.0
    hardware.set(silent=False)
    with opened() as source:
        assert read(source).luma.size > 0


@pytest.mark.parametrize("fault", ["requeueing_fails", "timeless"])
def test_a_frame_that_cannot_be_used_or_released_is_a_stall(hardware: Hardware, fault: str) -> None:
    with opened() as source:
        read(source)
        hardware.set(**{fault: True})
        with pytest.raises(SourceStalled, match="opened again"):
            read_more(source)
    hardware.set(**{fault: False})
    with opened() as source:
        assert read(source).luma.size > 0


def test_a_camera_that_never_delivers_is_absent(hardware: Hardware) -> None:
    hardware.set(silent=True)
    with pytest.raises(SourceUnavailable, match="it opens, but no frame"), opened() as source:
        read(source)
    assert len(hardware.log("release")) == 1


def test_a_frame_that_comes_while_the_source_closes_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The capture may complete between its time-out and its cancellation."""
    with opened() as source:
        read(source)
        camera = source._camera
        cancel = camera.cancel_all_and_flush
        job = camera.capture_request(wait=False)
        source._job = job

        def cancel_late() -> None:
            job.get_result(timeout=5)
            cancel()

        monkeypatch.setattr(camera, "cancel_all_and_flush", cancel_late)
    request = job.get_result(timeout=0)
    assert request.request is None, "not released"


def test_start_up_frames_at_a_low_rate_are_waited_for(hardware: Hardware) -> None:
    hardware.set(startup=8)
    with opened(rate_hz=4.0) as source:
        started = time.monotonic()
        frames = [read(source) for _ in range(3)]
    assert time.monotonic() - started > 2.2, "eight start-up frames were not skipped"
    assert [frame.index for frame in frames] == [0, 1, 2]


def test_a_thousand_attempts_at_a_busy_camera_leave_no_descriptor(
    hardware: Hardware,
) -> None:
    with opened() as source:  # loads what stays open for the whole process
        read(source)
    hardware.set(busy=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with pytest.raises(SourceUnavailable, match="Device or resource busy") as caught, opened():
            pass
    assert caught.value.new_process
    # picamera2 0.3.21 keeps the manager of a camera that it could not open until the next attempt
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    hardware.set(busy=False)
    with opened() as source:
        read(source)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert threading.active_count() <= 2


def test_a_camera_that_cannot_be_configured_leaves_no_descriptor(hardware: Hardware) -> None:
    with opened() as source:  # loads what stays open for the whole process
        read(source)
    before = len(os.listdir("/proc/self/fd"))
    hardware.set(configuring_fails=True)
    counts = []
    for _ in range(50):
        with (
            pytest.raises(SourceUnavailable, match="Failed to configure camera: Invalid argument"),
            opened(),
        ):
            pass
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[0], "an attempt left more descriptors than the one before"
    hardware.set(configuring_fails=False)
    with opened() as source:
        read(source)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_usb_camera_is_not_taken_for_a_pi_camera(hardware: Hardware) -> None:
    hardware.set(cameras=["usb"])
    with pytest.raises(SourceUnavailable, match=r'source.kind = "v4l2"'), opened():
        pass
