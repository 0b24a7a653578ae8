"""Choice of the sensor mode from the modes that libcamera lists for each Pi camera."""

import pytest

from edge.config import PicameraSource
from edge.errors import ConfigError
from edge.vision.sources.picamera_setup import SensorMode, centre_crop, choose_mode, modes_of


def mode(size: str, bits: int, rate_hz: float, *crop: int) -> SensorMode:
    width, height = map(int, size.split("x"))
    return SensorMode((width, height), bits, rate_hz, (crop[0], crop[1], crop[2], crop[3]))


CAMERAS = {
    "imx219": (
        mode("640x480", 10, 206.65, 1000, 752, 1280, 960),
        mode("1640x1232", 10, 41.85, 0, 0, 3280, 2464),
        mode("1920x1080", 10, 47.57, 680, 692, 1920, 1080),
        mode("3280x2464", 10, 21.19, 0, 0, 3280, 2464),
        mode("640x480", 8, 206.65, 1000, 752, 1280, 960),
        mode("1640x1232", 8, 83.7, 0, 0, 3280, 2464),
        mode("1920x1080", 8, 47.57, 680, 692, 1920, 1080),
        mode("3280x2464", 8, 21.19, 0, 0, 3280, 2464),
    ),
    "ov5647": (
        mode("640x480", 10, 58.92, 16, 0, 2560, 1920),
        mode("1296x972", 10, 46.34, 0, 0, 2592, 1944),
        mode("1920x1080", 10, 32.81, 348, 434, 1928, 1080),
        mode("2592x1944", 10, 15.63, 0, 0, 2592, 1944),
    ),
    "imx708": (
        mode("1536x864", 10, 120.13, 768, 432, 3072, 1728),
        mode("2304x1296", 10, 56.03, 0, 0, 4608, 2592),
        mode("4608x2592", 10, 14.35, 0, 0, 4608, 2592),
    ),
    "imx477": (
        mode("1332x990", 10, 120.05, 696, 528, 2664, 1980),
        mode("2028x1080", 12, 50.03, 0, 440, 4056, 2160),
        mode("2028x1520", 12, 40.01, 0, 0, 4056, 3040),
        mode("4056x3040", 12, 10.0, 0, 0, 4056, 3040),
    ),
}


def chosen(model: str, **settings: object) -> tuple[str, int] | None:
    config = PicameraSource.model_validate({"kind": "picamera", **settings})
    found = choose_mode(CAMERAS[model], config)
    return found and (found.name, found.bit_depth)


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("imx219", {}, ("1640x1232", 10)),
        ("imx219", {"rate_hz": 60.0}, ("1640x1232", 8)),
        ("imx219", {"rate_hz": 20.0, "width": 1920, "height": 1080}, ("3280x2464", 10)),
        ("imx219", {"rate_hz": 30.0, "width": 1920, "height": 1080}, ("1920x1080", 10)),
        ("imx219", {"rate_hz": 30.0, "width": 2560, "height": 1440}, ("1640x1232", 10)),
        ("imx219", {"rate_hz": 500.0}, ("640x480", 10)),
        ("ov5647", {}, ("1296x972", 10)),
        ("imx708", {}, ("2304x1296", 10)),
        ("imx708", {"rate_hz": 100.0}, ("1536x864", 10)),
        ("imx477", {}, ("2028x1520", 12)),
        ("imx477", {"rate_hz": 50.0}, ("2028x1080", 12)),
        ("imx477", {"sensor": "1332x990"}, ("1332x990", 10)),
        ("imx219", {"sensor": "1920x1080"}, ("1920x1080", 10)),
    ],
)
def test_the_widest_view_that_sustains_the_rate_is_chosen(
    model: str, settings: dict[str, object], expected: tuple[str, int]
) -> None:
    assert chosen(model, **settings) == expected


@pytest.mark.parametrize("model", CAMERAS)
def test_the_default_picture_shows_the_full_width_of_every_camera(model: str) -> None:
    config = PicameraSource(kind="picamera")
    found = choose_mode(CAMERAS[model], config)
    assert found is not None
    assert centre_crop(found.crop, (config.width, config.height))[2] == {
        "imx219": 3280,
        "ov5647": 2592,
        "imx708": 4608,
        "imx477": 4056,
    }[model]  # fmt: skip


def test_a_mode_that_the_camera_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match=r"640x480, 1640x1232, 1920x1080, 3280x2464$"):
        chosen("imx219", sensor="1280x720")


def test_a_camera_that_lists_no_mode_is_asked_for_none() -> None:
    listed = [{"format": "MJPEG"}]
    config = PicameraSource(kind="picamera")
    assert choose_mode(modes_of(listed), config) is None
    with pytest.raises(ConfigError, match="none listed"):
        choose_mode((), PicameraSource(kind="picamera", sensor="640x480"))


@pytest.mark.parametrize(
    ("crop", "picture", "expected"),
    [
        ((0, 0, 3280, 2464), (1280, 720), (0, 309, 3280, 1845)),
        ((0, 0, 4608, 2592), (1280, 720), (0, 0, 4608, 2592)),
        ((0, 0, 4608, 2592), (640, 480), (576, 0, 3456, 2592)),
    ],
)
def test_the_picture_shows_the_middle_of_what_the_sensor_reads(
    crop: tuple[int, int, int, int], picture: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert centre_crop(crop, picture) == expected
