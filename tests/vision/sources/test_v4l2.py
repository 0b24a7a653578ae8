"""Video4Linux cameras, with a fake driver; with a real device if there is one."""

import glob
import os
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import V4l2Source
from edge.errors import ConfigError, FrameRefused, SourceStalled, SourceUnavailable
from edge.vision.sources.v4l2 import V4l2
from edge.vision.values import Luma
from tests.support.fake_capture import START_MS, Capture, Device, picture

DEVICE = "/dev/null"  # a character device that everybody may open


def camera(first_index: int = 0, **settings: object) -> V4l2:
    values = {"kind": "v4l2", "path": DEVICE, "width": 320, "height": 240, **settings}
    return V4l2(V4l2Source.model_validate(values), first_index)


def expected_luma(name: str, number: int) -> Luma:
    luma = picture(number, 320, 240)
    if name == "YUYV":  # limited range, as in Video4Linux
        return np.clip(np.rint((luma.astype(float) - 16) * 255 / 219), 0, 255).astype(np.uint8)
    return luma


@pytest.mark.parametrize("name", ["GREY", "YUYV", "MJPG", "other"])
def test_every_format_gives_the_same_luma(device: Device, name: str) -> None:
    device.rates_hz = {name: 30.0}
    with camera() as source:
        for number in range(3):
            apart = cv2.absdiff(source.read().luma, expected_luma(name, number))
            assert int(apart.max()) <= 8 if name == "MJPG" else int(apart.max()) <= 1
    assert device.released == 1


@pytest.mark.parametrize(
    ("rates_hz", "chosen"),
    [
        ({"GREY": 30.0, "YUYV": 30.0, "MJPG": 30.0}, "GREY"),
        ({"YUYV": 10.0, "MJPG": 30.0}, "MJPG"),
        ({"YUYV": 30.0, "MJPG": 30.0}, "YUYV"),
        ({"GREY": 5.0, "YUYV": 15.0, "MJPG": 10.0}, "YUYV"),
        ({"MJPG": 60.0}, "MJPG"),
    ],
)
def test_cheapest_format_that_sustains_the_rate_is_chosen(
    device: Device, rates_hz: dict[str, float], chosen: str
) -> None:
    device.rates_hz = rates_hz
    with camera() as source:
        capture: Capture = source._capture
        assert capture.format == chosen
        assert source.expected_hz == rates_hz[chosen]
        assert source.read().luma.shape == (240, 320)


def test_time_stamps_are_those_of_the_driver(device: Device) -> None:
    with camera(first_index=5) as source:
        frames = [source.read() for _ in range(3)]
    assert [f.sensor_ns for f in frames] == [round((START_MS + n * 33.3) * 1e6) for n in range(3)]
    assert {frame.clock for frame in frames} == {"monotonic"}
    assert [frame.index for frame in frames] == [5, 6, 7]


def test_without_time_stamps_the_time_of_arrival_is_used(device: Device) -> None:
    device.stamp_ms = lambda number: 0.0
    with camera() as source:
        frames = [source.read() for _ in range(3)]
    assert all(frame.sensor_ns <= frame.captured_ns for frame in frames)
    assert frames[0].sensor_ns < frames[1].sensor_ns < frames[2].sensor_ns


def test_unchanged_time_stamp_is_a_stall(device: Device) -> None:
    device.stamp_ms = lambda number: START_MS + min(number, 2)
    with camera() as source:
        for _ in range(3):
            source.read()
        with pytest.raises(SourceStalled, match="did not advance"):
            source.read()


@pytest.mark.parametrize("name", ["GREY", "MJPG"])
def test_broken_picture_is_refused_and_the_next_one_is_read(device: Device, name: str) -> None:
    device.rates_hz = {name: 30.0}
    device.broken = frozenset({1})
    with camera() as source:
        source.read()
        with pytest.raises(FrameRefused, match="picture 1"):
            source.read()
        assert source.read().index == 2


def test_timeout_is_a_stall(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", raising=False)
    device.fails_at = 1
    with camera() as source:
        source.read()
        with pytest.raises(SourceStalled, match="opened again"):
            source.read()
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "1"


def test_a_slow_camera_has_three_periods(device: Device) -> None:
    device.rates_hz = {"GREY": 1.0}
    device.fails_at = 1
    with camera(rate_hz=1.0) as source:
        assert source.read().sensor_ns < source.read().sensor_ns
    device.stamp_ms = lambda number: START_MS
    with camera(rate_hz=1.0) as source:
        capture: Capture = source._capture
        source.read()
        with pytest.raises(SourceStalled, match="did not advance"):
            source.read()
        assert capture._number == 3, "three waits after the first picture"


def test_errors_of_opening(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_file = tmp_path / "video0"
    a_file.write_text("")
    with pytest.raises(ConfigError, match="not a device"), camera(path=str(a_file)):
        pass
    with pytest.raises(SourceUnavailable, match="No such file"), camera(path="/dev/video97"):
        pass
    device.opens = False
    with pytest.raises(SourceUnavailable, match="no other program"), camera():
        pass
    assert device.released == 1
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="group 'video'"), camera():
        pass


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        (0o600, SourceUnavailable, "expected udev to give it to the group 'video'"),  # just made
        (0o660, ConfigError, "add this user to the group 'video'"),
    ],
)
def test_device_without_permission(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    error: type[Exception],
    words: str,
) -> None:
    """At boot a device belongs to root for a moment; the daemon must not exit for that."""
    path = tmp_path / "video0"
    try:
        os.mknod(path, stat.S_IFCHR | mode, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device")
    path.chmod(mode)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for a user who is not root
    with pytest.raises(error, match=words), camera(path=str(path)):
        pass


def test_device_that_is_no_camera(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceUnavailable), camera():  # /dev/null, through the real OpenCV
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not glob.glob("/dev/video*"), reason="no camera here: no /dev/video*")
def test_real_camera_delivers_new_frames() -> None:
    with camera(path=sorted(glob.glob("/dev/video*"))[0]) as source:
        frames = [source.read() for _ in range(5)]
    assert len({frame.sensor_ns for frame in frames}) == 5
