"""The Raspberry Pi camera over a picamera2 that is as strict as the real one: opening it."""

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from edge.config import PicameraSource
from edge.errors import ConfigError, SourceUnavailable
from edge.vision.sources import picamera
from edge.vision.sources.picamera import Picamera
from tests.support.fake_libcamera import AfModeEnum, AfTriggerEnum
from tests.support.fake_picamera2 import Picamera2, Script
from tests.support.picamera_source import SMALL, opened, refused


def test_the_configuration_of_the_camera() -> None:
    script = Script()
    settings = {"rate_hz": 50.0, "exposure_us": 5000, "gain": 2.5, "buffer_count": 5}
    with opened(script, **settings):
        configuration = script.configuration
    assert configuration["colour_space"].name == "sYCC", "full range: black is 0"
    assert configuration["buffer_count"] == 5
    assert configuration["raw"] is None
    assert configuration["sensor"] == {"output_size": (2304, 1296), "bit_depth": 10}
    assert (configuration["transform"].hflip, configuration["transform"].vflip) == (0, 0)
    assert configuration["controls"] == {
        "FrameDurationLimits": (20_000, 20_000),
        "ExposureTime": 5000,
        "AnalogueGain": 2.5,
    }
    assert script.calls == ["open", "configure", "start", "stop", "close"]


@pytest.mark.parametrize(
    ("transform", "flips"),
    [("none", (0, 0)), ("hflip", (1, 0)), ("vflip", (0, 1)), ("rotate180", (1, 1))],
)
def test_transform_flips_the_picture(transform: str, flips: tuple[int, int]) -> None:
    script = Script()
    with opened(script, transform=transform):
        flip = script.configuration["transform"]
        assert (flip.hflip, flip.vflip) == flips


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
        chosen = script.configuration["controls"]
    assert chosen == {"FrameDurationLimits": (33_333, 33_333), **controls}


@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        (Script(model="imx219"), {"focus": "auto"}, "source.focus: .* the control AfMode"),
        (Script(), {"focus": 16.0}, "source.focus 16: .* from 0 to 15 dioptres"),
        (Script(flips=False), {"transform": "hflip"}, "source.transform 'hflip': .*cannot flip"),
        (Script(), {"sensor": "640x480"}, "source.sensor '640x480': .*1536x864, 2304x1296, 4608x"),
        (Script(), {"tuning": "imx708_noir.jsom"}, "source.tuning .*no such tuning file"),
        (Script(), {"tuning": __file__}, "source.tuning .*cannot be read as JSON"),
    ],
)
def test_a_setting_that_the_camera_lacks_is_refused_in_one_line(
    script: Script, settings: dict[str, object], message: str
) -> None:
    refused(ConfigError, message, script, settings)


def test_the_tuning_file_is_set_when_libcamera_lists_cameras(tmp_path: Path) -> None:
    file = tmp_path / "imx708_mine.json"
    file.write_text('{"version": 2.0, "algorithms": []}')
    script = Script()
    for _ in range(2):
        with opened(script, tuning=str(file)):
            assert script.tuning is not None
            assert json.loads(script.tuning) == {"version": 2.0, "algorithms": []}
    with opened(Script()) as source:
        assert source._camera.script.tuning is None


def test_the_copy_of_the_tuning_file_is_in_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed while it opens the camera cannot delete a file."""
    file = tmp_path / "imx708_mine.json"
    file.write_text('{"version": 2.0, "algorithms": []}')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    files: list[list[Path]] = []
    global_camera_info = Picamera2.global_camera_info

    def listed() -> list[dict[str, str]]:
        files.append(list((tmp_path / "temporary").iterdir()))
        return global_camera_info()

    monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(listed))
    before = len(os.listdir("/proc/self/fd"))
    script = Script()
    with opened(script, tuning=str(file)):
        assert json.loads(script.tuning or "") == {"version": 2.0, "algorithms": []}
    assert files == [[]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_opening_describes_the_camera() -> None:
    with opened(Script(model="imx219"), rate_hz=25.0) as source:
        assert source.details == {
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


def test_without_a_list_of_modes_libcamera_chooses_one(
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
    ("script", "settings", "message"),
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
def test_a_camera_that_is_not_found_asks_for_a_new_process(
    script: Script, settings: dict[str, object], message: str
) -> None:
    assert refused(SourceUnavailable, message, script, settings).new_process


def test_a_thousand_attempts_at_a_busy_camera_leave_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with pytest.raises(SourceUnavailable), opened(Script(busy=True)):
            pass
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_camera_that_cannot_be_configured_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def configure(self: Picamera2, config: object) -> None:
        raise RuntimeError("Failed to allocate buffers.")

    script = Script()
    monkeypatch.setattr(Picamera2, "configure", configure)
    with pytest.raises(SourceUnavailable, match="allocate buffers"), opened(script):
        pass
    assert script.calls == ["open", "close"]


def test_without_picamera2_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libcamera", None)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with (
        pytest.raises(
            ConfigError, match="apt install --no-install-recommends python3-pi"
        ) as caught,
        Picamera(PicameraSource(kind="picamera"), SMALL),
    ):
        pass
    assert "--system-site-packages" in str(caught.value)
