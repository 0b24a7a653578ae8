"""Video4Linux cameras with more than 8 bits, and those whose formats cannot be decoded."""

import errno
import fcntl
from collections.abc import Callable

import numpy as np
import pytest

from edge.config import V4l2Source
from edge.errors import ConfigError, FrameRefused, SourceUnavailable
from edge.vision.sources import v4l2_formats
from edge.vision.sources.v4l2 import V4l2
from edge.vision.values import Frame
from tests.support.fake_capture import Device, picture

DEVICE = "/dev/null"  # a character device that everybody may open


def camera(**settings: object) -> V4l2:
    values = {"kind": "v4l2", "path": DEVICE, "width": 320, "height": 240, **settings}
    return V4l2(V4l2Source.model_validate(values))


def deep(device: Device, name: str, bits: int, share: Callable[[int], float] = lambda _: 1) -> None:
    """Let the camera deliver ``bits`` bits; ``share`` is the brightness of a picture, 0..1."""

    def paint(number: int, width: int, height: int) -> np.ndarray:
        levels = picture(number, width, height).astype(np.float64) / 235 * share(number)
        return np.rint(levels * (2**bits - 1)).astype(np.uint16)

    device.rates_hz = {name: 30.0}
    device.painter = paint


def read(source: V4l2, count: int) -> list[Frame]:
    return [source.read() for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "bits"),
    [("Y10 ", 10), ("Y12 ", 12), ("Y16 ", 16), ("Y16 ", 14), ("Y16 ", 12), ("Y16 ", 10)],
)
def test_every_depth_gives_black_to_white(device: Device, name: str, bits: int) -> None:
    deep(device, name, bits)
    with camera() as source:
        frames = read(source, 3)
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame in frames:
        assert frame.luma.dtype == np.uint8
        assert frame.luma.shape == (240, 320)
        assert frame.luma.max() == 255
        assert 120 < frame.luma.mean() < 150


@pytest.mark.parametrize("bits", [10, 12])
def test_dark_pictures_do_not_change_the_depth(device: Device, bits: int) -> None:
    deep(device, "Y16 ", bits, lambda number: 0.05 if number % 3 else 1)
    with camera() as source:
        means = [float(frame.luma.mean()) for frame in read(source, 12)]
    assert {round(mean / 10) for mean in means} == {14, 1}


def test_depth_is_measured_before_the_first_frame(device: Device) -> None:
    deep(device, "Y16 ", 12, lambda number: min(1, 0.1 + number / 5))  # as an exposure settles
    with camera() as source:
        frames = read(source, 4)
    assert len({round(float(frame.luma.mean())) for frame in frames}) == 1


def test_configured_depth_applies_from_the_first_picture(device: Device) -> None:
    deep(device, "Y16 ", 12, lambda _: 0.1)
    with camera(bits=12) as source:
        assert source.read().luma.max() == 25


def test_picture_of_8_bits_in_a_deep_format_is_refused(device: Device) -> None:
    deep(device, "Y10 ", 10)
    device.broken = frozenset({1})
    with camera() as source:
        source.read()
        with pytest.raises(FrameRefused, match="picture 1"):
            source.read()
        assert source.read().index == 2


def offering(monkeypatch: pytest.MonkeyPatch, capabilities: int, *formats: str) -> None:
    """Let ``ioctl`` answer as the kernel does for a device with these formats."""

    def ioctl(_: int, request: int, data: bytes) -> bytes:
        if request == 0x80685600:  # VIDIOC_QUERYCAP
            assert len(data) == 104
            numbers = (0x00060100, 0x84A00001, capabilities, 0, 0, 0)
            return bytes(80) + np.array(numbers, np.uint32).tobytes()
        assert (request, len(data)) == (0xC0405602, 64)  # VIDIOC_ENUM_FMT
        index, kind = np.frombuffer(data, np.uint32)[:2]
        if kind != 1 or index >= len(formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        code = formats[index].ljust(4).encode()
        return data[:12] + b"a format".ljust(32, b"\0") + code + bytes(16)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


@pytest.mark.parametrize("formats", [("RGGB",), ("pBAA", "BYR2"), ("H264",)])
def test_camera_without_a_usable_format_is_refused_by_its_name(
    device: Device, monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...]
) -> None:
    device.opens = False
    offering(monkeypatch, 1, *formats)
    with pytest.raises(ConfigError, match=f"only {', '.join(formats)}, .*expected") as caught:
        camera().__enter__()
    assert "\n" not in str(caught.value)
    assert device.released == 1


def test_node_for_metadata_is_named(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.opens = False
    offering(monkeypatch, 0x00800000)  # V4L2_CAP_META_CAPTURE
    with pytest.raises(SourceUnavailable, match="delivers no pictures"):
        camera().__enter__()


def test_camera_with_a_usable_format_is_busy(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.opens = False
    offering(monkeypatch, 1, "RGGB", "Y10 ")
    with pytest.raises(SourceUnavailable, match="no other program"):
        camera().__enter__()


def test_device_that_cannot_be_asked_has_no_known_formats() -> None:
    assert v4l2_formats.offered_formats(DEVICE) is None
    assert v4l2_formats.offered_formats("/dev/video97") is None
