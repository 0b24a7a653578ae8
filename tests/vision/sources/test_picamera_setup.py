"""Choice of the sensor mode from the modes that libcamera lists for each Pi camera."""

import pytest

from edge.config import PicameraSource
from edge.errors import ConfigError
from edge.vision.sources.picamera_setup import centre_crop, choose_mode, modes_of
from tests.support.fake_libcamera import MODES
from tests.support.sensors import SENSORS

CAMERAS = {model: modes_of(modes) for model, modes in MODES.items()}


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
        ("imx708_noir", {}, ("2304x1296", 10)),
        ("imx708_noir", {"rate_hz": 100.0}, ("1536x864", 10)),
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
    assert centre_crop(found.crop, (config.width, config.height))[2] == SENSORS[model].size[0]


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
